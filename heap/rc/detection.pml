/* Detection of cycles beside threads that count (heap/rc/cycle_detector.h), for Spin. Run by
 * //heap/rc:detection_model_check.
 *
 * Two cells whose objects have a Field each, which lead to one another at first, or one to itself.
 * A first thread may have a reference to one of them; it copies, loads, stores, moves and drops. A
 * second one has weak references, of which it upgrades one, and then may do the same. A third one
 * detects, from the moment when all counts are in the words: each has been merged. What must hold:
 *   - what is executed has no reference from outside, nor has anybody one to it (assertions);
 *   - it is executed once, and has not died otherwise (assertions);
 *   - an upgrade fails only if the object is dead, or its death is decided (assertion);
 *   - what only a ring referred to all the time has been executed in the end (assertion).
 *
 * Not shown: that what is moved out of a Field must be counted (inv.field-moves). That takes
 * objects of two Fields: heap/rc/field_moves.pml.
 *
 * A change of a word is one step, since it is one compare-and-swap, and so is a load or a store of
 * a Field; what is done under the lock of PardonForUpgrade is one. Sequentially consistent.
 *
 * Seeded bugs, each of which must be found, in the search named:
 *   BUG         a dropped reference leaves a suspect a suspect
 *   BUG_COUNT   Condemn does not compare the count
 *   BUG_PARDON  an upgrade of what is condemned tells nobody
 *   BUG_EAGER   an upgrade of what is condemned fails
 *   BUG_END   condemning ends whatever was pardoned
 *   BUG_ONCE    condemning ends whatever was spared in the last pass
 *   BUG_AGAIN   references are not counted again when something could not be condemned
 */

/* What bounds the search. Each of these holds:
 *   as it is                               BUG_COUNT, BUG_PARDON, BUG_EAGER, BUG_END, BUG_ONCE
 *   -DALONE -DkOps=3                       no weak references
 *   -DALONE -DREADERS -DkOps=6             nor stores: BUG
 *   -DkOps=0 -DkWeakOps=2                  who upgrades stores, too: BUG_AGAIN
 */
#ifndef kOps
#define kOps 2          /* what the first thread does but for dropping, */
#endif
#ifndef kWeakOps
#define kWeakOps 0      /* and the second one, which upgrades once */
#endif
#define kNone 2

byte field[2];                 /* which cell, or kNone */
short count[2];
bool suspect[2], condemned[2], dead[2], executed[2];
bool condemning = false, decided = false;
byte pardoned = 0;              /* under the lock of PardonForUpgrade, as is condemning */
byte outside[2];               /* ghost: references that no Field has */
bool untouched = true;         /* ghost: nobody had a reference from outside, ever */
bool locked = false;           /* the program's own lock */
byte ended = 0;

/* The calling thread has one more. */
inline Retain(c) { atomic { assert(!executed[c]); count[c]++; outside[c]++; has[c]++ } }

/* One that it has, and what goes with it. */
inline Release(c) {
  next = c;
  do
  :: next == kNone -> break
  :: else ->
    atomic {
      assert(!executed[next] && count[next] > 0);
      count[next]--;
#ifndef BUG
      suspect[next] = false;
#endif
      outside[next]--;
      has[next]--;
      if
      :: count[next] == 0 ->
        /* It is destroyed: its Field's reference is dropped next. */
        assert(!dead[next]);
        dead[next] = true;
        next = field[next];
        if
        :: next != kNone -> outside[next]++; has[next]++
        :: else -> skip
        fi
      :: else -> next = kNone
      fi
    }
  od
}

/* One step, under the program's own lock, as Fields that threads share need one, of a thread that
 * has a reference to x, and perhaps one to y. */
inline Mutate() {
  if
  :: has[0] > 0 -> x = 0
  :: has[1] > 0 -> x = 1
  fi;
  if
  :: has[0] > (x == 0 -> 1 : 0) -> y = 0
  :: has[1] > (x == 1 -> 1 : 0) -> y = 1
  :: y = kNone
  fi;
  atomic { !locked -> locked = true };
  if
  :: has[x] < 2 -> Retain(x)
  :: /* load */
    y = field[x];
    if
    :: y != kNone -> Retain(y)
    :: else -> skip
    fi
#ifndef READERS
  :: /* store, of a reference that it gives up, or of null */
    atomic {
      next = field[x];
      field[x] = y;
      if
      :: y != kNone -> outside[y]--; has[y]--
      :: else -> skip
      fi;
      y = next;
      if
      :: y != kNone -> outside[y]++; has[y]++
      :: else -> skip
      fi
    };
    if
    :: y != kNone -> Release(y)
    :: else -> skip
    fi
  :: field[x] != kNone -> /* move out of the Field */
    y = field[x];
    Retain(y);
    atomic { field[x] = kNone; outside[y]++; has[y]++ };
    Release(y)
#endif
  :: Release(x)
  fi;
  locked = false
}

inline DropAll() {
  do
  :: has[0] > 0 -> Release(0)
  :: has[1] > 0 -> Release(1)
  :: else -> break
  od
}

proctype Strong(byte begins_with) {
  byte has[2], x, y, next, ops = 0;
  if
  :: begins_with != kNone -> has[begins_with] = 1
  :: else -> skip
  fi;
  do
  :: ops < kOps && has[0] + has[1] > 0 -> Mutate(); ops++
  :: break
  od;
  DropAll();
  ended++
}

/* `got`: whether c was upgraded. */
inline Upgrade(c) {
  do
  :: atomic {
      if
      :: dead[c] || executed[c] -> got = false; break
      :: condemned[c] && !executed[c] ->
#ifdef BUG_EAGER
        got = false; assert(decided); break
#endif
#ifdef BUG_PARDON
        count[c]++; outside[c]++; has[c]++; got = true; break
#endif
        skip
      :: !condemned[c] && !dead[c] && !executed[c] ->
        count[c]++; outside[c]++; has[c]++; untouched = false; got = true; break
      fi
    };
    atomic { /* the lock of PardonForUpgrade */
      if
      :: condemning -> pardoned++; condemned[c] = false; suspect[c] = false
      :: !condemning && condemned[c] -> got = false; assert(decided); break
      :: else -> skip
      fi
    }
  od
}

proctype WeakHolder() {
  byte has[2], x, y, next, ops = 0;
  bool got;
  if
  :: Upgrade(0)
  :: Upgrade(1)
  :: got = false
  fi;
  do
  :: got && ops < kWeakOps && has[0] + has[1] > 0 -> Mutate(); ops++
  :: break
  od;
  DropAll();
  ended++
}

bool found[2];                 /* not known to be alive */
short inside[2];               /* references that were found in Fields */

inline Alive(c) {
  alive = c;
  do
  :: alive == kNone || !found[alive] -> break
  :: else ->
    atomic { found[alive] = false; suspect[alive] = false; condemned[alive] = false };
    alive = field[alive]
  od
}

/* Fails: it is not condemned, or not any more. */
inline CondemnOne(c) {
  if
  :: found[c] ->
    atomic {
      failed = false;
      if
#ifdef BUG_COUNT
      :: suspect[c] && !dead[c] -> condemned[c] = true
#else
      :: suspect[c] && !dead[c] && count[c] > 0 && count[c] == inside[c] -> condemned[c] = true
#endif
      :: else -> failed = true
      fi
    };
    if
    :: failed -> Alive(c); all = false
    :: else -> skip
    fi
  :: else -> skip
  fi
}
inline CheckOne(c) {
  if
  :: found[c] ->
    failed = !(condemned[c] && suspect[c] && !dead[c] && count[c] > 0 &&
               count[c] == inside[c]);
    if
    :: failed -> Alive(c); all = false
    :: else -> skip
    fi
  :: else -> skip
  fi
}

inline CountFieldOf(c) {
  if
  :: found[c] ->
    alive = field[c];
    if
    :: alive != kNone && found[alive] -> inside[alive]++
    :: else -> skip
    fi
  :: else -> skip
  fi
}
inline CountInside() {
  atomic { inside[0] = 0; inside[1] = 0 };
  CountFieldOf(0);
  CountFieldOf(1)
}

inline ExecuteOne(c) {
  if
  :: found[c] ->
    atomic {
      assert(condemned[c] && !dead[c] && !executed[c]);
      assert(outside[c] == 0);
      executed[c] = true
    }
  :: else -> skip
  fi
}

proctype Detector() {
  byte alive, known = 0;
  bool failed, ends, all = true;
  atomic { found[0] = true; found[1] = true };
  suspect[0] = true;
  suspect[1] = true;
  CountInside();
  atomic { condemning = true; pardoned = 0 };
  CondemnOne(0);
  CondemnOne(1);
  do
  :: atomic {
      ends = all;
      if
#ifdef BUG_ONCE
      :: !all && pardoned == known -> condemning = false; decided = true; ends = true
#endif
#ifdef BUG_END
      :: all -> condemning = false; decided = true
#else
      :: all && pardoned == known -> condemning = false; decided = true
#endif
      :: all && pardoned != known -> known = pardoned; ends = false
      :: else -> skip
      fi
    };
    if
    :: ends -> break
    :: else -> skip
    fi;
#ifndef BUG_AGAIN
    CountInside();
#endif
    all = true;
    CheckOne(0);
    CheckOne(1)
  od;
  ExecuteOne(0);
  ExecuteOne(1);
  ended++
}

init {
  byte begins_with;
  atomic {
    if
    :: field[0] = 1; field[1] = 0; count[0] = 1; count[1] = 1
    :: field[0] = 0; field[1] = 0; count[0] = 2; dead[1] = false; count[1] = 0
    fi;
    if
    :: count[1] > 0 -> begins_with = 1
    :: begins_with = 0
    :: begins_with = kNone
    fi;
    if
    :: begins_with != kNone -> count[begins_with]++; outside[begins_with]++; untouched = false
    :: begins_with == kNone && count[1] == 0 ->
      /* Then somebody else has that one for good. */
      count[1] = 1; outside[1] = 1; untouched = false
    :: else -> skip
    fi;
    if
    :: count[1] == 0 -> count[1] = 1; outside[1] = 1  /* the same */
    :: else -> skip
    fi;
    run Strong(begins_with);
#ifdef ALONE
    ended++;
#else
    run WeakHolder();
#endif
    run Detector()
  };
  ended == 3;
  assert(!untouched || (executed[0] && executed[1]))
}
