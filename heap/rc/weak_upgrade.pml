/* Weak upgrade against death, and the end of a cell (heap/rc/cell.h), for Spin. Run by
 * //heap/rc:weak_upgrade_model_check.
 *
 * The owner has a reference, in its own count. A second thread has one too, in the owner's count or
 * in the shared one, or none. There is a weak reference for each of two more, or the second thread
 * makes one from its own and passes it on: then the word is zero at first. Who has a weak one
 * upgrades it, once or twice, and drops what it got, and then drops the weak one. A reference that
 * was in the owner's count goes to the owner's queue, in one step. Who sees the cell die destroys
 * the object, and then says so (Finish). What must hold:
 *   - an object is destroyed once, when nobody has a reference to it, nor the queue (assertions);
 *   - who has upgraded finds the object as it was (assertions, as long as it has it);
 *   - the cell is freed once, when no reference of either kind is left, and the object has gone
 *     (assertions); nobody touches it afterwards (assertion);
 *   - who destroys the object knows of all that others did with it, and who frees the cell of all
 *     that others did with either (assertions);
 *   - it is freed in the end (assertion).
 *
 * A change of the shared word is one step. The model is sequentially consistent but for what
 * release and acquire are there for: `carried` is what has been done that the word's release
 * sequence carries (a relaxed change continues it), and a thread `knows` what it did or acquired.
 * What passes a reference on carries what its giver knows.
 *
 * Seeded bugs, each of which must be found:
 *   BUG            Upgrade is a look and an addition
 *   BUG_ZERO       the owner takes a shared count of zero for a shared word of zero, and does not
 *                  merge
 *   BUG_FINISH     Finish is a load and a store
 *   BUG_WEAK       the last weak reference does not ask whether the object has gone
 *   BUG_QUEUE      what is taken from the queue is merged by a load and a store
 *   BUG_RELAXED    ReleaseShared does not release
 *   BUG_LOAD       the owner does not acquire the word of zero that it finds
 *   BUG_LAST       ReleaseWeak does not release
 */

#define kThreads 4
#define kOwner 0
#define kOther 1

byte owners_count = 1;
short shared_count = 0;
byte weak = 0;
bool queued = false, merged = false, gone = false;
bool in_queue = false;

byte carried = 0;         /* by the word */
byte knows[kThreads];     /* by each thread */
byte queue_carries = 0;   /* by the queue's lock */
byte hand_carries = 0;    /* by what passes the weak reference on */
bool hand = false;        /* a weak reference that waits for its next owner */

byte refs = 1;            /* ghost: references that somebody has, or the queue */
byte done = 0;            /* ghost: what threads have done with the object, and with the cell */
bool destroyed = false;   /* the object */
bool freed = false;       /* the cell */
byte ended = 0;           /* ghost */

/* What a thread has done with the object, and with the cell alone. */
#define Object(thread) (1 << (thread))
#define Cell(thread) (Object(thread) << kThreads)
#define kWithObject ((1 << kThreads) - 1)
#define kWithBoth 255

/* All of these inside of an atomic step. */
inline Acquire(what) { knows[me] = knows[me] | what }
inline Release() { carried = carried | knows[me] }
/* Something that nobody else knows of yet. */
inline Do(what) {
  assert(!freed);
  done = done | what;
  carried = carried & ~(what);
  queue_carries = queue_carries & ~(what);
  hand_carries = hand_carries & ~(what);
  knows[0] = knows[0] & ~(what);
  knows[1] = knows[1] & ~(what);
  knows[2] = knows[2] & ~(what);
  knows[3] = knows[3] & ~(what);
  knows[me] = knows[me] | what
}
inline UseObject() { atomic { assert(!destroyed); Do(Object(me)) } }
inline KnowAll(what) { assert((done & what & ~knows[me]) == 0) }

inline Free() {
  atomic { assert(!freed && refs == 0 && weak == 0 && destroyed); KnowAll(kWithBoth); freed = true }
}

inline Die() {
  atomic {
    assert(!destroyed && refs == 0);
    KnowAll(kWithObject);
    destroyed = true;
    Do(Cell(me))
  };
  /* Finish. A word of zero has no weak reference in it, and nobody else has the cell. */
  atomic { last = (!merged && shared_count == 0 && weak == 0); Acquire(carried) };
  if
  :: last -> skip
  :: else ->
#ifdef BUG_FINISH
    atomic { last = (weak == 0); Acquire(carried) };
    atomic { assert(!freed); gone = true; Release() }
#else
    atomic { assert(!freed); last = (weak == 0); gone = true; Acquire(carried); Release() }
#endif
  fi;
  if
  :: last -> Free()
  :: else -> skip
  fi
}

inline ReleaseShared() {
  atomic {
    assert(!freed);
    Acquire(carried);
#ifndef BUG_RELAXED
    Release();
#endif
    if
    :: shared_count == 0 && !merged && !queued -> queued = true; push = true
    :: else -> refs--; shared_count--; push = false; dead = (merged && shared_count == 0)
    fi
  };
  if
  :: push -> atomic { queue_carries = knows[me]; in_queue = true }
  :: dead -> Die()
  :: else -> skip
  fi
}

inline Upgrade() {
#ifdef BUG
  got = !(merged && shared_count == 0);
  if
  :: got -> atomic { assert(!freed); shared_count++; refs++; Acquire(carried) }
  :: else -> skip
  fi
#else
  atomic {
    assert(!freed);
    got = !(merged && shared_count == 0);
    if
    :: got -> shared_count++; refs++; Acquire(carried)
    :: else -> skip
    fi
  }
#endif
}

inline ReleaseWeak() {
  atomic {
    assert(!freed);
#ifdef BUG_WEAK
    last = (weak == 1);
#else
    last = (weak == 1 && gone);
#endif
    weak--;
    Acquire(carried);
#ifndef BUG_LAST
    Release()
#endif
  };
  if
  :: last -> Free()
  :: else -> skip
  fi
}

inline End() {
  atomic {
    ended++;
    if
    :: ended == kThreads -> assert(freed)
    :: else -> skip
    fi
  }
}

/* The owner's count has become zero. */
inline MergeZero() {
  atomic {
    assert(!freed);
    zero = (shared_count == 0 && !queued && !merged);
#ifndef BUG_ZERO
    zero = (zero && weak == 0);
#endif
#ifndef BUG_LOAD
    Acquire(carried)
#endif
  };
  if
  :: zero -> Die()
  :: else ->
    atomic {
      assert(!freed);
      merged = true; dead = (shared_count == 0);
      Acquire(carried); Release()
    };
    if
    :: dead -> Die()
    :: else -> skip
    fi
  fi
}

inline MergeQueued() {
  atomic { in_queue = false; Acquire(queue_carries) };
#ifdef BUG_QUEUE
  seen_count = shared_count;
#endif
  atomic {
    assert(!freed);
    Acquire(carried); Release();
#ifdef BUG_QUEUE
    shared_count = seen_count;
#endif
    shared_count = shared_count + owners_count - 1;
    owners_count = 0; refs--;
    queued = false; merged = true; dead = (shared_count == 0)
  };
  if
  :: dead -> Die()
  :: else -> skip
  fi
}

/* Its thread leaves when its own reference is gone, and its queue is empty; others drop theirs
 * before they end. */
proctype Owner() {
  byte me = kOwner;
  bool last = false, dead = false, push = false, zero = false, has_one = true;
  short seen_count = 0;
  do
  :: in_queue -> MergeQueued()
  :: has_one ->
    UseObject();
    has_one = false;
    if
    :: owners_count > 0 ->
      atomic { owners_count--; refs-- };
      if
      :: owners_count == 0 -> MergeZero()
      :: else -> skip
      fi
    :: else -> ReleaseShared()
    fi
  :: !has_one && ended == kThreads - 1 && !in_queue -> break
  od;
  End()
}

proctype Other(bool has_one, makes_weak) {
  byte me = kOther;
  bool last = false, dead = false, push = false;
  if
  :: has_one ->
    UseObject();
    if
    :: makes_weak ->
      /* RetainWeak, relaxed. */
      atomic { assert(!freed); weak++ };
      if
      :: atomic { hand_carries = knows[me]; hand = true };
        ReleaseShared()
      :: ReleaseShared();
        atomic { hand_carries = knows[me]; hand = true }
      fi
    :: else -> ReleaseShared()
    fi
  :: else -> skip
  fi;
  End()
}

proctype Watcher(byte me; bool has_weak, takes_weak) {
  bool last = false, dead = false, push = false, got = false;
  byte times = 0;
  if
  :: takes_weak -> atomic { hand -> hand = false; Acquire(hand_carries); hand_carries = 0 }
  :: else -> skip
  fi;
  if
  :: has_weak || takes_weak ->
    do
    :: times < 2 ->
      Upgrade();
      if
      :: got -> UseObject(); ReleaseShared()
      :: else -> skip
      fi;
      times++
    :: break
    od;
    atomic { Do(Cell(me)) };
    ReleaseWeak()
  :: else -> skip
  fi;
  End()
}

init {
  atomic {
    if
    :: weak = 2; run Other(false, false); run Watcher(2, true, false); run Watcher(3, true, false)
    :: weak = 2; refs = 2; shared_count = 1;
      run Other(true, false); run Watcher(2, true, false); run Watcher(3, true, false)
    :: weak = 2; refs = 2; owners_count = 2;
      run Other(true, false); run Watcher(2, true, false); run Watcher(3, true, false)
    :: weak = 1; refs = 2; owners_count = 2;
      run Other(true, true); run Watcher(2, true, false); run Watcher(3, false, true)
    :: refs = 2; owners_count = 2;
      run Other(true, true); run Watcher(2, false, true); run Watcher(3, false, false)
    :: refs = 2; shared_count = 1;
      run Other(true, true); run Watcher(2, false, true); run Watcher(3, false, false)
    fi;
    run Owner()
  }
}
