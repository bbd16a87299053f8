/* The protocol of ForwardingWord (copyspace/forwarding_word.h), for Spin. Run by
 * //copyspace:forwarding_word_model_check.
 *
 * Forwarders race for one object, which an earlier cycle may have left retained: each claims and
 * then commits, aborts and tries again, or retains, as chance will have it. A reader waits until
 * the object is settled and then reads the copy. What must hold:
 *   - inv.one-copy: at most one commit, and never both a commit and a retention (assertions);
 *   - only the claimer's stores end a claim (assertion);
 *   - all who saw "forwarded" read a copied body (assertion);
 *   - an object that is settled stays so, and everybody gets to the end (assertion, end states).
 *
 * The model is sequentially consistent but for what Commit's release is there for: `published` is
 * what the word carries, and a body may be read only if its publication was acquired.
 *
 * Seeded bugs, each of which must be found:
 *   BUG             the claim is a load and a store instead of a compare-and-swap
 *   BUG_EARLY       Commit publishes before the body is copied
 *   BUG_RELAXED     Commit does not release
 *   BUG_STALE       a word retained in the current cycle is taken for claimable
 */

#define kType 0
#define kBusy 1
#define kForwarded 2
#define kRetainedNow 3      /* in this cycle's parity */
#define kRetainedBefore 4   /* in the other parity */

#define kNobody 255
#define kForwarders 2

byte word = kType;
bool published = false;       /* what the word's release carries: the body was copied before */
byte claimer = kNobody;       /* ghost */
byte copies = 0;              /* ghost: commits */
byte retentions = 0;          /* ghost */
bool copied = false;          /* the copy's body is written */
byte aborts = 0;              /* bounds the search: at most this many are allowed */

#define Claimable(seen) (seen == kType || seen == kRetainedBefore)

inline TryClaim(seen, won) {
#ifdef BUG
  won = (word == seen);
  if
  :: won -> word = kBusy; claimer = me
  :: else -> seen = word
  fi
#else
  atomic {
    if
    :: word == seen -> word = kBusy; won = true; assert(claimer == kNobody); claimer = me
    :: else -> seen = word; won = false
    fi
  }
#endif
}

inline Store(value, releases) {
  atomic {
    assert(claimer == me);
    claimer = kNobody;
    published = (releases && copied);
    word = value
  }
}

inline Commit() {
#ifdef BUG_EARLY
  atomic { copies++; assert(copies == 1 && retentions == 0) };
  Store(kForwarded, true);
  copied = true
#else
  copied = true;
  atomic { copies++; assert(copies == 1 && retentions == 0) };
#ifdef BUG_RELAXED
  Store(kForwarded, false)
#else
  Store(kForwarded, true)
#endif
#endif
}

inline ReadCopy() { assert(published) }

proctype Forwarder(byte me) {
  byte seen;
  bool won;
  seen = word;
  do
  :: seen == kForwarded -> ReadCopy(); break
#ifdef BUG_STALE
  :: Claimable(seen) || seen == kRetainedNow ->
#else
  :: seen == kRetainedNow -> break
  :: Claimable(seen) ->
#endif
    TryClaim(seen, won);
    if
    :: !won
    :: won ->
      if
      :: Commit(); seen = kForwarded
      :: aborts < 2 -> aborts++; Store(seen, false); seen = word
      :: atomic { retentions++; assert(retentions == 1 && copies == 0) };
         Store(kRetainedNow, true); break
      fi
    fi
  :: seen == kBusy -> word != kBusy; seen = word   /* AwaitSettled */
  od
}

proctype Reader() {
  word != kBusy && !Claimable(word);
  if
  :: word == kForwarded -> ReadCopy()
  :: word == kRetainedNow
  fi;
  /* Settled for good: nobody may ever claim it again. */
  do
  :: word != kForwarded && word != kRetainedNow -> assert(false)
  :: timeout -> break
  od
}

init {
  atomic {
    if
    :: word = kType
    :: word = kRetainedBefore
    fi;
    byte i;
    for (i : 1 .. kForwarders) { run Forwarder(i) }
    run Reader()
  }
}
