/* The protocol of Cell's counts (heap/rc/cell.h, heap/rc/owner_queues.h), for Spin. Run by
 * //heap/rc:biased_counts_model_check.
 *
 * One cell and three threads. The first owns it and leaves in the end; the second never owns
 * anything; the third takes the first one's index over. Each copies, hands on, upgrades a weak
 * reference and drops, as chance will have it, and in the end drops all that it has. What must hold:
 *   - inv.one-death: the cell dies once, when no reference is left (assertions);
 *   - inv.queue-holds: not while the queue has it (assertion);
 *   - a reference is pushed to the queue of an index that there is (assertion: inv.owner-holds);
 *   - nothing is forgotten: when all have ended, the cell is dead (assertion).
 *
 * A change of the shared word is one step, since it is one compare-and-swap; the owner's index, the
 * owner's count and the queue are read and written in steps of their own. Sequentially consistent.
 *
 * Seeded bugs, each of which must be found:
 *   BUG         the reference that goes to the queue is counted down as well
 *   BUG_OWNER   a dropping thread looks for the owner after it has changed the word
 *   BUG_MERGE   the owner takes a word that it has loaded for the one that it merges
 *   BUG_EXIT    a thread leaves without a last look at its queue
 *   BUG_PUSH    a pushing thread looks for the queue's thread before it takes the lock
 *   BUG_DRAIN   what is taken from the queue is not counted down
 */

#define kNone 0
#define kIndex 1        /* of the first thread, then of the third */
#define kOwnsNothing 2  /* of a thread without an index */
#ifndef kOps
#define kOps 2          /* bounds the search: what each thread does before it drops all */
#endif

byte owner = kIndex;
byte owners_count = 1;
short shared_count = 0;
bool queued = false, merged = false;

bool has_thread = true;  /* of kIndex; under the queue's lock, as is in_queue */
bool in_queue = false;
byte lock = 0;
bool weak;              /* whether each thread has a weak reference: then the word is not zero */

byte refs[3];            /* ghost: held by each thread */
byte hand = 0;           /* references on their way from one thread to another */
byte deaths = 0;         /* ghost */
byte ended = 0;         /* ghost */

#define kHeld (refs[0] + refs[1] + refs[2] + hand)

inline Die() {
  atomic {
    assert(deaths == 0);
    assert(kHeld == 0);
    assert(!in_queue);
    deaths++
  }
}

inline Retain() {
  if
  :: owner == index -> owners_count++
  :: else -> shared_count++
  fi;
  refs[me]++
}

/* The owner's count is zero. */
inline MergeZero() {
  owner = kNone;
  atomic { seen_count = shared_count; seen_zero = (shared_count == 0 && !queued && !merged && !weak) };
  if
  :: seen_zero -> Die()
  :: else ->
#ifdef BUG_MERGE
    merged = true;
    if
    :: seen_count == 0 -> Die()
    :: else -> skip
    fi
#else
    atomic { merged = true; seen_count = shared_count };
    if
    :: seen_count == 0 -> Die()
    :: else -> skip
    fi
#endif
  fi
}

/* Of the queue of kIndex: by its thread, or under the lock when it has none. */
inline MergeQueued() {
  taken = 0;
  if
  :: owner == kIndex -> taken = owners_count; owner = kNone
  :: else -> skip
  fi;
  atomic {
#ifdef BUG_DRAIN
    shared_count = shared_count + taken;
#else
    shared_count = shared_count + taken - 1;
#endif
    queued = false;
    merged = true;
    seen_count = shared_count
  };
  if
  :: seen_count == 0 -> Die()
  :: else -> skip
  fi
}

inline Push() {
  assert(to == kIndex);
#ifdef BUG_PUSH
  seen_zero = has_thread;
  atomic { lock == 0 -> lock = 1 };
  if
  :: seen_zero -> in_queue = true; lock = 0
#else
  atomic { lock == 0 -> lock = 1 };
  if
  :: has_thread -> in_queue = true; lock = 0
#endif
  :: else -> MergeQueued(); lock = 0
  fi
}

inline ReleaseShared() {
  to = owner;
  atomic {
    dead = false; push = false;
    if
    :: shared_count == 0 && !merged && !queued ->
      queued = true; push = true;
#ifdef BUG
      shared_count--
#endif
    :: else -> shared_count--; dead = (merged && shared_count == 0)
    fi
  };
#ifdef BUG_OWNER
  to = owner;
#endif
  if
  :: push -> Push()
  :: dead -> Die()
  :: else -> skip
  fi
}

inline Release() {
  refs[me]--;
  if
  :: owner == index ->
    owners_count--;
    if
    :: owners_count == 0 -> MergeZero()
    :: else -> skip
    fi
  :: else -> ReleaseShared()
  fi
}

inline Upgrade() {
  atomic {
    if
    :: !merged && index == kIndex && owner == kIndex -> owners_count++; refs[me]++
    :: merged && shared_count == 0 -> skip
    :: else -> shared_count++; refs[me]++
    fi
  }
}

inline Drain() {
  atomic { lock == 0 -> lock = 1 };
  drained = in_queue; in_queue = false;
  lock = 0;
  if
  :: drained -> MergeQueued()
  :: else -> skip
  fi
}

/* What is of no use any more is no reason to tell states apart. */
inline Forget() {
  to = 0; taken = 0; seen_count = 0; seen_zero = false; dead = false; push = false;
  drained = false
}

inline Act() {
  if
  :: refs[me] > 0 -> Retain()
  :: refs[me] > 0 -> atomic { refs[me]--; hand++ }
  :: atomic { hand > 0 -> hand--; refs[me]++ }
  :: refs[me] > 0 -> Release()
  :: weak -> Upgrade()
  :: index == kIndex -> Drain()
  :: true -> skip
  fi
}

inline Leave() {
  do
  :: Drain();
     atomic { lock == 0 -> lock = 1 };
     if
#ifdef BUG_EXIT
     :: true ->
#else
     :: !in_queue ->
#endif
       has_thread = false; index = kOwnsNothing; lock = 0; break
     :: else -> lock = 0
     fi
  od
}

inline DropAll() {
  do
  :: refs[me] > 0 -> Release(); d_step { Forget() }
  :: else ->
    if
    :: atomic { hand > 0 -> hand--; refs[me]++ }
    :: hand == 0 -> break
    fi
  od
}

#define LOCALS byte index, ops = 0, to, taken; short seen_count; bool seen_zero, dead, push, drained

inline End() {
  atomic {
    ended++;
    if
    :: ended == 3 -> assert(kHeld == 0 && deaths == 1)
    :: else -> skip
    fi
  }
}

inline ActSome() {
  do
  :: ops < kOps -> Act(); d_step { ops++; Forget() }
  :: break
  od
}

proctype First() {
  byte me = 0;
  LOCALS;
  index = kIndex;
  ActSome();
  if
  :: DropAll(); Leave()
  :: Leave()
  fi;
  DropAll();
  End()
}

proctype Second() {
  byte me = 1;
  LOCALS;
  index = kOwnsNothing;
  ActSome();
  DropAll();
  End()
}

proctype Third() {
  byte me = 2;
  LOCALS;
  index = kOwnsNothing;
  if
  :: atomic { lock == 0 && !has_thread -> has_thread = true; index = kIndex };
     ActSome();
     DropAll();
     Leave()
  :: skip
  fi;
  DropAll();
  End()
}

init {
  atomic {
    if
    :: weak = true
    :: weak = false
    fi;
    refs[0] = 1;
    run First();
    run Second();
    run Third()
  }
}
