/* Handshakes against polling, blocking and unblocking (heap/safepoints.h), for Spin. Run by
 * //heap:handshake_model_check.
 *
 * A requester asks every mutator for kRounds handshakes, one after the other. Under the lock it
 * raises `round`, answers for the mutators that are blocked, and asks each running one: it counts
 * one more outstanding answer and forces the mutator's slow path. A mutator's fast path looks only
 * at its limit. Its slow path restores the limit, and only then reads `round`; if that is not the
 * round it has acknowledged last, it takes the lock and acknowledges. So it does when it blocks.
 * (Detaching is blocking for good; one that attaches has acknowledged the round there is.) It may
 * also come to its slow path for another reason: its memory is used up. What must hold:
 *   - every round ends, if each mutator polls or is blocked, perhaps for ever (every run is finite,
 *     so: no invalid end state);
 *   - each mutator that is asked gives one answer to a round, and none gives an answer unasked
 *     (assertions);
 *   - a mutator that runs has acknowledged all rounds that have ended (assertion);
 *   - it has seen what the requester wrote before the request when it acknowledges (assertion).
 *
 * The model is sequentially consistent but for what release and acquire are there for. What a
 * thread has seen of the requester's two words, `written` and `round`, is its view; the lock and
 * each limit carry a view. The read of `round` is relaxed: it may find any value since the one in
 * the view.
 *
 * Seeded bugs, each of which must be found:
 *   BUG_READ_FIRST   the slow path reads the round before it restores the limit
 *   BUG_FORCE_FIRST  the requester forces the slow paths before it raises the round
 *   BUG_RELAXED      restoring the limit does not acquire
 *   BUG_UNLOCKED     a mutator acknowledges without the lock
 *   BUG_TWICE        a forced slow path acknowledges without a look at the round
 *   BUG_BLOCK        blocking does not acknowledge
 *   BUG_BLOCKED      nobody answers for a blocked mutator
 */

#define kMutators 2
#define kRounds 2
#define kBlocks 2   /* of each mutator, as */
#define kRefills 1  /* slow paths for another reason: these bound the search */

bool locked = false;
byte written = 0;       /* what a mutator must see: the last round that it was prepared for */
byte round = 0;
byte outstanding = 0;   /* answers that the requester waits for; under the lock */
byte ended = 0;         /* ghost: the last round that has ended */

bool blocked[kMutators];
bool forced[kMutators];  /* the limit */
byte acknowledged[kMutators];
bool asked[kMutators];   /* ghost: an answer is outstanding */

/* Views: what the lock's release carries, each limit's, and what each mutator has seen. */
byte lock_written = 0, lock_round = 0;
byte limit_written[kMutators], limit_round[kMutators];
byte seen_written[kMutators], seen_round[kMutators];

#define Max(a, b) (a > b -> a : b)

inline See(new_written, new_round) {
  seen_written[me] = Max(seen_written[me], new_written);
  seen_round[me] = Max(seen_round[me], new_round)
}

inline Lock() { atomic { !locked -> locked = true; See(lock_written, lock_round) } }
/* A mutator has seen nothing that the lock does not carry already. */
inline Unlock() { locked = false }

/* With the lock. */
inline Acknowledge() {
  atomic {
    if
    :: acknowledged[me] != round || insists ->
      assert(asked[me]);
      assert(seen_written[me] == round);
      asked[me] = false;
      acknowledged[me] = round;
      outstanding--
    :: else
    fi
  }
}

/* An exchange, acquire. */
inline RestoreLimit() {
  atomic {
#ifdef BUG_TWICE
    insists = forced[me];
#endif
#ifndef BUG_RELAXED
    if
    :: forced[me] -> See(limit_written[me], limit_round[me])
    :: else
    fi;
#endif
    forced[me] = false
  }
}

inline ReadRound() {
  atomic {
    found = seen_round[me];
    do
    :: found < round -> found++
    :: break
    od;
    seen_round[me] = found
  }
}

inline SlowPath() {
#ifdef BUG_READ_FIRST
  ReadRound();
  RestoreLimit();
#else
  RestoreLimit();
  ReadRound();
#endif
  if
  :: found != acknowledged[me] || insists ->
#ifdef BUG_UNLOCKED
    Acknowledge()
#else
    Lock();
    Acknowledge();
    Unlock()
#endif
  :: else
  fi;
  insists = false;
  found = 0
}

inline Block() {
  Lock();
#ifndef BUG_BLOCK
  Acknowledge();
#endif
  blocked[me] = true;
  Unlock()
}

inline Unblock() {
  Lock();
  blocked[me] = false;
  Unlock()
}

proctype Mutator(byte me) {
  byte blocks = 0, refills = 0, found = 0;
  bool insists = false;
end:
  do
  :: forced[me] -> SlowPath()
  :: refills < kRefills -> refills++; SlowPath()
  :: blocks < kBlocks ->
    blocks++;
    Block();
    if
    :: break  /* for ever */
    :: Unblock()
    fi
  :: acknowledged[me] < ended -> assert(false)
  od
}

inline RaiseRound() { round = next }

/* A store, release. */
inline ForceSlow(mutator) {
  atomic {
    forced[mutator] = true;
    limit_written[mutator] = written;
    limit_round[mutator] = round
  }
}

proctype Requester() {
  byte next = 1, mutator;
  do
  :: next > kRounds -> break
  :: else ->
    written = next;
    atomic { !locked -> locked = true };
#ifndef BUG_FORCE_FIRST
    RaiseRound();
#endif
    mutator = 0;
    do
    :: mutator == kMutators -> break
    :: mutator < kMutators && blocked[mutator] ->
#ifndef BUG_BLOCKED
      acknowledged[mutator] = next;
#endif
      mutator++
    :: mutator < kMutators && !blocked[mutator] ->
      atomic { asked[mutator] = true; outstanding++ };
      ForceSlow(mutator);
      mutator++
    od;
#ifdef BUG_FORCE_FIRST
    RaiseRound();
#endif
    atomic { lock_written = written; lock_round = round; locked = false };
    atomic { !locked && outstanding == 0 -> ended = next; next++ }
  od
}

init {
  atomic {
    run Mutator(0);
    run Mutator(1);
    run Requester()
  }
}
