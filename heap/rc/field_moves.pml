/* inv.field-moves (docs/design/detection.md, "Why it is right"), for Spin. Run by
 * //heap/rc:field_moves_model_check.
 *
 * Two cells whose objects have two Fields each, which lead to either of the two, or nowhere. A
 * thread that may have a reference to one of them, and reaches the other by Fields alone, moves
 * references from Field to Field, out of Fields and into them, and drops. Another one detects: it
 * reads one Field at a time, counts what it finds, and condemns what has no other references. What
 * must hold:
 *   - what is executed has no reference from outside, nor does anybody get to it any more
 *     (assertions);
 *   - what nobody has had a reference to all the time has been executed in the end (assertion).
 *
 * Each cell has been merged, so a count is one word; a change of it is one step, and so is a load
 * or a store of a Field. Sequentially consistent. Not shown: weak references, and several threads
 * that change Fields (heap/rc/detection.pml).
 *
 * Seeded bugs, each of which must be found:
 *   BUG          a move from Field to Field takes the reference along, and counts nothing
 *   BUG_SWAP     so does an exchange of two Fields
 *   BUG_SUSPECT  a move copies and drops, but what is dropped stays a suspect
 */

#ifndef kOps
#define kOps 2          /* of the thread */
#endif
#define kNone 2
#define F(c, i) field[2 * (c) + (i)]

byte field[4];
byte count[2];
bool suspect[2], condemned[2], dead[2], executed[2];
byte outside[2];               /* references that no Field has: the thread's, each of them */
bool untouched;                /* ghost: nobody had a reference from outside, ever */
byte ended = 0;

/* Whether the thread gets to c: it has a reference, or one to an object with a Field that has. */
#define Leads(c) (F(1 - (c), 0) == c || F(1 - (c), 1) == c)  /* the other one, to this */
#define Reaches(c) (outside[c] > 0 || (outside[1 - (c)] > 0 && Leads(c)))

inline Retain(c) { atomic { assert(!executed[c]); count[c]++; outside[c]++ } }

/* One that the thread has, and what goes with it. The Fields of what dies stay as they are, but
 * what they have is the thread's, to be dropped. */
inline Release(c) {
  drop[c]++;
  do
  :: drop[0] + drop[1] > 0 ->
    atomic {
      at = (drop[0] > 0 -> 0 : 1);
      assert(!executed[at] && count[at] > 0);
      drop[at]--;
      count[at]--;
      outside[at]--;
#ifndef BUG_SUSPECT
      suspect[at] = false;
#endif
      if
      :: count[at] == 0 ->
        assert(!dead[at]);
        dead[at] = true;
        Drop(F(at, 0));
        Drop(F(at, 1))
      :: else -> skip
      fi
    }
  :: else -> break
  od
}
inline Drop(c) {
  if
  :: c != kNone -> drop[c]++; outside[c]++
  :: else -> skip
  fi
}

/* What was there is the thread's. */
inline Exchange(f) {
  atomic {
    before = field[f];
    field[f] = y;
    if
    :: y != kNone -> outside[y]--
    :: else -> skip
    fi;
    if
    :: before != kNone -> outside[before]++
    :: else -> skip
    fi
  };
  if
  :: before != kNone -> Release(before)
  :: else -> skip
  fi
}
/* A Ptr, y, from the Field a, which is null then: a copy and a drop. */
inline MoveOut() {
#ifdef BUG
  atomic { field[a] = kNone; outside[y]++ }
#else
  Retain(y);
  atomic { field[a] = kNone; outside[y]++ };
  Release(y)
#endif
}

inline PickField(f) {
  if
  :: Reaches(0) -> f = 0
  :: Reaches(0) -> f = 1
  :: Reaches(1) -> f = 2
  :: Reaches(1) -> f = 3
  fi
}

inline Mutate() {
  if
  :: /* store what the thread has, or null */
    atomic {
      PickField(b);
      if
      :: outside[0] > 0 -> y = 0; Retain(0)
      :: outside[1] > 0 -> y = 1; Retain(1)
      :: y = kNone
      fi
    };
    Exchange(b)
  :: outside[0] > 0 -> Release(0)
  :: outside[1] > 0 -> Release(1)
  :: atomic { PickField(a); PickField(b); y = field[a] };
    if
    :: y == kNone -> skip
    :: y != kNone -> /* load */
      Retain(y)
    :: y != kNone -> /* move out of it, and into a Ptr */
      MoveOut()
    :: y != kNone && a != b -> /* move from Field to Field */
      MoveOut();
      Exchange(b)
#ifdef BUG_SWAP
    :: y != kNone && a != b && field[b] != kNone ->
      before = field[b];
      atomic { field[a] = before; outside[y]++ };
      atomic { field[b] = y; outside[y]-- }
#endif
    fi
  fi;
  atomic { a = 0; b = 0; y = kNone; before = kNone; at = 0 }
}

proctype Mutator() {
  byte a, b, y = kNone, before = kNone, at, ops = 0;
  byte drop[2];
  do
  :: ops < kOps && outside[0] + outside[1] > 0 -> Mutate(); ops++
  :: break /* and it keeps what it has */
  od;
  ended++
}

bool found[2];                 /* not known to be alive */
byte inside[2];                /* references that were found in Fields */

/* c, and what it leads to, is neither found nor a suspect any more. */
inline Spare(c) {
  atomic { found[c] = false; suspect[c] = false; condemned[c] = false };
  target = F(c, 0);
  if
  :: target == 1 - c && found[target] -> SpareAlone(target)
  :: else -> skip
  fi;
  target = F(c, 1);
  if
  :: target == 1 - c && found[target] -> SpareAlone(target)
  :: else -> skip
  fi
}
inline SpareAlone(c) { atomic { found[c] = false; suspect[c] = false; condemned[c] = false } }

inline CountField(f) {
  target = field[f];
  if
  :: target != kNone && found[target] -> inside[target]++
  :: else -> skip
  fi
}
inline CountFieldsOf(c) {
  if
  :: found[c] -> CountField(2 * c); CountField(2 * c + 1)
  :: else -> skip
  fi
}
inline CountInside() {
  atomic { inside[0] = 0; inside[1] = 0 };
  CountFieldsOf(0);
  CountFieldsOf(1)
}

/* Fails: it is not condemned, or not any more. */
inline Look(c, was_condemned) {
  if
  :: found[c] ->
    atomic {
      failed = !(suspect[c] && !dead[c] && count[c] > 0 && count[c] == inside[c]) ||
               condemned[c] != was_condemned;
      condemned[c] = condemned[c] || !failed
    };
    if
    :: failed -> Spare(c); all = false
    :: else -> skip
    fi
  :: else -> skip
  fi
}

inline Execute(c) {
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
  byte target;
  bool failed, all = true;
  atomic { found[0] = true; found[1] = true };
  suspect[0] = true;
  suspect[1] = true;
  CountInside();
  Look(0, false);
  Look(1, false);
  do
  :: all -> break
  :: else ->
    CountInside();
    all = true;
    Look(0, true);
    Look(1, true)
  od;
  /* What is found has no reference but from what is found: none gets to it. */
  Execute(0);
  Execute(1);
  assert(!(executed[0] && Reaches(0)) && !(executed[1] && Reaches(1)));
  ended++
}

init {
  atomic {
    /* A ring, and perhaps one Field more. */
    field[0] = 1;
    field[1] = kNone;
    field[2] = 0;
    if
    :: field[3] = kNone
    :: field[3] = 0; count[0]++
    :: field[3] = 1; count[1]++
    fi;
    count[0]++;
    count[1]++;
    if
    :: count[0]++; outside[0]++
    :: count[1]++; outside[1]++
    :: untouched = true
    fi;
    run Mutator();
    run Detector()
  };
  ended == 2;
  assert(!untouched || (executed[0] && executed[1]))
}
