/* A detection of cycles, and Locals (heap/rc/cycle_detector.cc, heap/rc/local_slots.h), for Spin.
 * Run by //heap/rc:named_cycle_model_check.
 *
 * One object, which refers to itself and has a weak reference; merged. A thread upgrades that,
 * once, makes Locals, makes references from them, assigns an older one, ends them and drops.
 * Another one detects: makes it a suspect, counts the reference inside, condemns it, looks at the
 * slots in their order, looks at its word again, and ends that unless an upgrade was noted. What
 * must hold:
 *   - it is executed only when nobody has a reference to it from outside and no Local names it
 *     (assertion);
 *   - it is executed in the end if nobody upgraded it (assertion).
 *
 * Sequentially consistent, and a change of the word is one step, as in heap/rc/detection.pml and
 * heap/rc/local.pml.
 *
 * Seeded bugs, each of which must be found:
 *   BUG            the word is not looked at after the slots
 *   BUG_LOOK       the slots are not looked at
 *   BUG_DOWN       they are, from the newest to the oldest
 *   BUG_ASSIGN     an older Local is assigned without a reference meanwhile
 *   BUG_SUSPECT    a dropped reference leaves a suspect a suspect
 */

#define kSlots 2

byte count = 1;                /* that of its own Field */
bool suspect = false, condemned = false, executed = false;
bool condemning = false;
byte pardoned = 0;
bool slot[kSlots];           /* whether it names the object */
bool used[kSlots];            /* whether a Local has it */
byte held = 0;                 /* ghost: references from outside */
bool upgraded = false;         /* ghost */

#define Named() (slot[0] || slot[1])

inline Retain() { atomic { assert(!executed); count++; held++ } }
inline Release() {
  atomic {
    assert(!executed && count > 1);
    count--; held--;
#ifndef BUG_SUSPECT
    suspect = false
#endif
  }
}

proctype Namer() {
  byte has = 0, ops = 0, top = 0;
  if
  :: atomic {  /* Upgrade, with PardonForUpgrade */
      if
      :: !executed && (!condemned || condemning) ->
        if
        :: condemned -> pardoned++; condemned = false; suspect = false
        :: else -> skip
        fi;
        count++; held++; has = 1; upgraded = true
      :: else -> skip
      fi
    }
  :: skip
  fi;
  do
  :: ops < 8 && (has > 0 || Named()) ->
    atomic { ops++; top = (used[1] -> 2 : (used[0] -> 1 : 0)) };
    if
    :: top < kSlots -> atomic { assert(!executed); slot[top] = true; used[top] = true }
    :: top < kSlots -> used[top] = true
    :: used[0] -> atomic { slot[0] = false; used[0] = false }
    :: used[1] -> atomic { slot[1] = false; used[1] = false }
    :: has == 0 && Named() -> Retain(); has++
    :: has > 0 -> has--; Release()
    :: used[0] && !slot[0] && used[1] && Named() ->
#ifdef BUG_ASSIGN
      slot[0] = true
#else
      Retain(); slot[0] = true; Release()
#endif
    fi
  :: break
  od;
  slot[0] = false; slot[1] = false;
  do
  :: has > 0 -> has--; Release()
  :: else -> break
  od
}

proctype Detector() {
  byte at, known = 0;
  bool spared = false, ends = false;
  suspect = true;
  /* The Field is read: one reference is inside. */
  condemning = true;
  atomic {
    if
    :: suspect && count == 1 -> condemned = true
    :: else -> spared = true
    fi
  };
  do
  :: spared || ends -> break
  :: else ->
#ifndef BUG_LOOK
    at = 0;
    do
    :: at < kSlots ->
#ifdef BUG_DOWN
      atomic { spared = (spared || slot[kSlots - 1 - at]); at++ }
#else
      atomic { spared = (spared || slot[at]); at++ }
#endif
    :: else -> break
    od;
#endif
#ifndef BUG
    atomic { spared = (spared || !(condemned && suspect && count == 1)) };
#endif
    atomic {
      if
      :: !spared && pardoned == known -> ends = true; condemning = false
      :: else -> known = pardoned
      fi
    };
    /* The loop's own check of the word, before the slots. */
    atomic {
      if
      :: !ends && !(condemned && suspect && count == 1) -> spared = true
      :: else -> skip
      fi
    }
  od;
  if
  :: spared -> atomic { suspect = false; condemned = false }
  :: else ->
    atomic { assert(condemned && held == 0 && !Named()); executed = true }
  fi
}

init {
  atomic { run Namer(); run Detector() };
  _nr_pr == 1;
  assert(upgraded || executed)
}
