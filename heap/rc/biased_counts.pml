/* The protocol of Cell's counts (heap/rc/cell.h, heap/rc/owner_queues.h), for Spin. Run by
 * //heap/rc:biased_counts_model_check.
 *
 * One cell and three threads. The first owns it and leaves in the end; the second has an index of
 * its own, but not this cell; the third may take the first one's index over, and leaves too. Each
 * copies, hands on, upgrades a weak reference, makes the object immortal, asks for the only
 * reference as Resize does, and drops, as chance will have it, and in the end drops all that it
 * has. What must hold:
 *   - the counts are exact: the owner's and the shared one are the references that threads and the
 *     queue have (always, until the object is immortal);
 *   - inv.owner-holds: an owner that is not merging has a count of at least one (always);
 *   - inv.one-death, inv.queue-holds: the cell dies once, and when it has, nobody has a reference,
 *     nor has the queue (always); an immortal one does not die (always);
 *   - IsHeldOnce is true of the only reference that there is (assertion);
 *   - the owner's count is for the thread that has the index, or, when there is none, for who holds
 *     the queue's lock (assertion);
 *   - nobody looks for the owner of a dead cell: a list's link is there (assertion);
 *   - a reference is pushed to the queue of an index that there is (assertion);
 *   - nothing is forgotten: when all have ended, the cell is dead or immortal (assertion).
 *
 * A change of the shared word is one step, since it is one compare-and-swap; the owner's index, the
 * owner's count and the queue are read and written in steps of their own. What is only done under
 * the queue's lock, to what only the lock guards, is one step. Sequentially consistent.
 *
 * Seeded bugs, each of which must be found:
 *   BUG           the reference that goes to the queue is counted down as well
 *   BUG_OWNER     a dropping thread looks for the owner after it has changed the word
 *   BUG_MERGE     the owner takes a count of zero that it has loaded for death, and does not merge
 *   BUG_EXIT      a thread leaves without a last look at its queue
 *   BUG_PUSH      a pushing thread looks for the queue's thread before it takes the lock
 *   BUG_ENTER     a thread takes an index over without the queue's lock
 *   BUG_LINK      Upgrade looks at the word, and then for the owner: it may find a dead cell's link
 *   BUG_DRAIN     what is taken from the queue is not counted down
 *   BUG_IMMORTAL  the owner's index says immortal before the word does
 *   BUG_ONCE      IsHeldOnce takes a cell without an owner for merged
 *   BUG_ASK       what RetainForQueue gives the queue is not counted
 */

#define kNone 0
#define kIndex 1        /* of the first thread, then of the third */
#define kImmortal 2
#define kOther 3        /* of the second thread */
#define kOwnsNothing 4  /* of a thread without an index */
#define kLink 5         /* a dead cell is in a list: part of an address, which may equal an index */
#define kNobody 255
#ifndef kOps
#define kOps 2          /* bounds the search: what threads do but for taking and dropping */
#endif

byte owner = kIndex;
byte owners_count;
short shared_count = 0;
bool queued = false, merged = false, for_good = false;
bool weak;              /* whether threads have weak references: then the word is not zero */
bool immortal;          /* whether threads may make the object immortal */
bool no_memory;         /* whether there may be none for the queue */

bool index_free = false;
byte lock = kNobody;     /* the queue's: who holds it */
bool has_thread = true;  /* under the lock, as is in_queue */
bool in_queue = false;

byte refs[3];           /* ghost: held by each thread */
byte hand = 0;          /* references on their way from one thread to another */
bool on_queue = false;  /* ghost: a reference is the queue's, or on its way there */
bool merging = false;   /* ghost: the owner's count is zero, and its thread is about to merge */
byte index_of = 0;      /* ghost: the thread that has kIndex */
bool dead = false;      /* ghost */
byte ops = 0;           /* of kOps */
byte ended = 0;         /* ghost */

#define kHeld (refs[0] + refs[1] + refs[2] + hand)
#define kExact (for_good || owner == kImmortal || owners_count + shared_count == kHeld + on_queue)
#define kOwnerHolds (owner != kIndex || merging || owners_count > 0)
#define kDeathIsEnd (!dead || (kHeld == 0 && !on_queue && !for_good))

/* Inside of an atomic step. */
inline Die() { assert(!dead); dead = true; owner = kLink }
inline Touch() { assert(index_of == me || (index_of == kNobody && lock == me && !has_thread)) }

inline LoadOwner(seen) { atomic { assert(!dead); seen = owner } }
inline AddOne() { assert(!dead); shared_count++; refs[me]++ }

inline MakeImmortal() {
#ifdef BUG_IMMORTAL
  owner = kImmortal;
  atomic { assert(!dead); for_good = true }
#else
  atomic { assert(!dead); for_good = true };
  owner = kImmortal
#endif
}

/* Any other index than the thread's own stays another: one look is as good as two. */
inline Retain() {
  LoadOwner(to);
  if
  :: to == index -> atomic { Touch(); owners_count++; refs[me]++ }
  :: to == kImmortal -> refs[me]++
  :: else -> atomic { AddOne() }
  fi
}

/* The owner's count is zero. */
inline MergeZero() {
  owner = kNone;
  atomic {
    zero = (shared_count == 0);
    if
    :: zero && !queued && !merged && !for_good && !weak -> Die(); done = true
    :: else -> done = false
    fi
  };
  if
  :: done -> skip
#ifdef BUG_MERGE
  :: !done && zero -> atomic { Die() }
  :: !done && !zero ->
#else
  :: else ->
#endif
    atomic {
      assert(!dead);
      if
      :: for_good -> again = true
      :: else ->
        merged = true;
        if
        :: shared_count == 0 -> Die()
        :: else -> skip
        fi
      fi
    };
    if
    :: again -> MakeImmortal()
    :: else -> skip
    fi
  fi;
  merging = false
}

/* Of the queue of kIndex: by its thread, or under the lock when it has none. */
inline MergeQueued() {
  LoadOwner(to);
  if
  :: to == kIndex ->
    atomic { Touch(); taken = owners_count };
    owner = kNone
  :: else -> taken = 0
  fi;
  atomic {
    assert(!dead);
    if
    :: for_good -> again = true
    :: else ->
      /* The owner's count means nothing any more. */
      owners_count = owners_count - taken;
#ifdef BUG_DRAIN
      shared_count = shared_count + taken;
#else
      shared_count = shared_count + taken - 1;
#endif
      on_queue = false; queued = false; merged = true;
      if
      :: shared_count == 0 -> Die()
      :: else -> skip
      fi
    fi
  };
  if
  :: again -> MakeImmortal()
  :: else -> skip
  fi
}

inline Push() {
  assert(to == kIndex);
#ifdef BUG_PUSH
  done = has_thread;
  atomic { lock == kNobody -> lock = me };
  if
  :: done -> in_queue = true
#else
  atomic { lock == kNobody -> lock = me };
  if
  :: has_thread -> in_queue = true
  :: has_thread && no_memory -> MakeImmortal()
#endif
  :: else -> MergeQueued()
  fi;
  lock = kNobody
}

inline ReleaseShared() {
  if
  :: to == kImmortal -> refs[me]--
  :: else ->
    atomic {
      assert(!dead);
      refs[me]--;
      if
      :: for_good -> skip
      :: !for_good && shared_count == 0 && !merged && !queued ->
        queued = true; on_queue = true; push = true;
#ifdef BUG
        shared_count--
#endif
      :: else ->
        shared_count--;
        if
        :: merged && shared_count == 0 -> Die()
        :: else -> skip
        fi
      fi
    };
#ifdef BUG_OWNER
    to = owner;
#endif
    if
    :: push -> Push()
    :: else -> skip
    fi
  fi
}

inline Release() {
  LoadOwner(to);
  if
  :: to == index ->
    atomic { Touch(); owners_count--; refs[me]--; merging = (owners_count == 0) };
    if
    :: owners_count == 0 ->
      LoadOwner(to);
      if
      :: to == index -> MergeZero()
      :: else -> assert(to == kImmortal); merging = false
      fi
    :: else -> skip
    fi
  :: else -> ReleaseShared()
  fi
}

/* Whether the owner's index is this thread's, or, in a dead cell, looks like it. */
inline LoadIsOwner(mine) {
  atomic {
    mine = (owner == index);
    if
    :: owner == kLink && index != kOwnsNothing -> mine = true
    :: true -> skip
    fi
  }
}

/* By who holds a weak reference. The word is looked at after the owner: a list's link comes after
 * the merge. */
inline Upgrade() {
#ifdef BUG_LINK
  atomic { done = (!merged && !for_good) };
  if
  :: done -> LoadIsOwner(done)
  :: else -> skip
  fi;
#else
  LoadIsOwner(done);
  atomic { done = (done && !merged && !for_good) };
#endif
  if
  :: done -> atomic { Touch(); owners_count++; refs[me]++ }
  :: else ->
    atomic {
      if
      :: for_good -> refs[me]++
      :: !for_good && merged && shared_count == 0 -> skip
      :: else -> AddOne()
      fi
    }
  fi
}

inline Drain() {
  atomic { lock == kNobody -> done = in_queue; in_queue = false };
  if
  :: done -> MergeQueued()
  :: else -> skip
  fi
}

/* As Resize makes sure that there is no other reference: what the word says, and no other thread
 * changes of the rest. */
inline IsHeldOnce() {
  atomic {
    assert(!dead);
    if
    :: for_good || weak -> done = false
#ifdef BUG_ONCE
    :: !for_good && !weak && owner == kNone -> done = (shared_count == 1)
#else
    :: !for_good && !weak && merged -> done = (shared_count == 1)
#endif
    :: !for_good && !weak && !merged && owner == index ->
      Touch();
      done = (owners_count + shared_count == 1)
    :: else -> done = false
    fi;
    assert(!done || (kHeld == 1 && !on_queue))
  }
}

/* RetainForQueue, and what comes of it. */
inline Ask() {
  LoadOwner(to);
  if
  :: to == kIndex && to != index ->
    atomic {
      assert(!dead);
      if
      :: for_good || merged || queued -> skip
      :: else ->
        queued = true; on_queue = true; push = true;
#ifndef BUG_ASK
        shared_count++
#endif
      fi
    };
    if
    :: push -> Push()
    :: else -> skip
    fi
  :: else -> skip
  fi
}

inline Resize() {
  IsHeldOnce();
  if
  :: done -> skip
  :: else -> Ask(); IsHeldOnce()
  fi
}

/* What is of no use any more is no reason to tell states apart. */
inline Forget() {
  d_step { to = 0; taken = 0; zero = false; done = false; again = false; push = false }
}

inline Enter() {
  atomic { index_free -> index_free = false };
  atomic {
#ifndef BUG_ENTER
    lock == kNobody ->
#endif
    has_thread = true; index = kIndex; index_of = me
  }
}

#define kMayAct (ops < kOps && refs[me] > 0)

proctype Thread(byte me; bool enters) {
  byte index = kOwnsNothing, to = 0, taken = 0;
  bool zero = false, done = false, again = false, push = false;
  if
  :: me == 0 -> index = kIndex
  :: me == 1 -> index = kOther
  :: else -> skip
  fi;
  do
  :: kMayAct -> ops++; Retain(); Forget()
  :: atomic { kMayAct -> ops++; refs[me]--; hand++ }
  :: atomic { hand > 0 -> hand--; refs[me]++ }
  :: ops < kOps && weak -> ops++; Upgrade(); Forget()
  :: kMayAct && immortal -> ops++; MakeImmortal()
  :: kMayAct -> ops++; Resize(); Forget()
  :: refs[me] > 0 -> Release(); Forget()
  :: in_queue && index == kIndex -> Drain(); Forget()
  :: enters && index_free -> Enter(); enters = false
  :: atomic {
      /* Leave, after a last look under the lock. */
#ifdef BUG_EXIT
      index == kIndex && lock == kNobody ->
#else
      index == kIndex && lock == kNobody && !in_queue ->
#endif
      has_thread = false; index = kOwnsNothing; index_of = kNobody
    };
    index_free = true
  :: atomic {
      index != kIndex && refs[me] == 0 && hand == 0 ->
      ended++;
      if
      :: ended == 3 -> assert(kHeld == 0 && dead != for_good)
      :: else -> skip
      fi;
      break
    }
  od
}

/* Costs no state: it waits until something is wrong. */
proctype Watch() {
end:
  !kExact || !kOwnerHolds || !kDeathIsEnd;
  assert(kExact);
  assert(kOwnerHolds);
  assert(kDeathIsEnd)
}

init {
  atomic {
    if
    :: weak = true
    :: immortal = true; no_memory = true
#ifdef kBoth
    :: weak = true; immortal = true; no_memory = true
#endif
    :: skip
    fi;
    if
    :: refs[0] = 1; refs[1] = 1; owners_count = 2
    :: refs[0] = 1; owners_count = 1
    fi;
    run Thread(0, false);
    run Thread(1, false);
    run Thread(2, true);
    run Watch()
  }
}
