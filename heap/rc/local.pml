/* Locals, and the death of what they name (heap/rc/local_slots.h, heap/rc/cell.h), for Spin. Run by
 * //heap/rc:local_model_check.
 *
 * One object, merged, with a reference of a judge's and one of a namer's. The judge drops its own;
 * whoever takes the count to zero puts the cell in its list, where it waits, and judges it: begins,
 * looks at the namer's slots in their order, and ends. The namer makes Locals, each in the slot
 * above those in use, from its reference or from another Local; ends them in any order; assigns an
 * older one; makes a reference from one, or from a weak reference; drops that. A third thread
 * upgrades a weak reference, once, and drops what it gets. What must hold:
 *   - the object is destroyed only when nobody has a reference to it and no Local names it
 *     (assertion);
 *   - it is in one list at most, and destroyed once (assertions);
 *   - in the end it is destroyed (assertion);
 *   - if the judge asks before it drops its reference, as Resize does, it learns of a moment when
 *     that is the only one, and no Local names the object (assertion).
 *
 * A change of the word is one step. The model is sequentially consistent: that who sees a slot
 * cleared sees what the higher ones named by then is what its release is there for.
 *
 * Seeded bugs, each of which must be found:
 *   BUG            a reference made from a Local leaves the cell quiet
 *   BUG_UPGRADE    as BUG, by an upgrade
 *   BUG_DOWN       the slots are looked at from the newest to the oldest
 *   BUG_ASSIGN     an older Local is assigned without a reference meanwhile
 *   BUG_TWICE      what waits is put in a list again when it dies again
 *   BUG_EARLY      the slots are looked at before the judgement begins
 *   BUG_ONCE       Resize looks at the slots, and then at the count
 */

#define kSlots 3

byte count = 2;            /* the shared count; merged */
bool waiting = false, quiet = false;
bool fresh = false;        /* ghost: nobody has judged it since it died */
bool slot[kSlots];       /* whether it names the object */
bool used[kSlots];        /* whether a Local has it */

byte lists = 0;            /* ghost: in how many the cell is */
bool destroyed = false;
byte held = 0;             /* ghost: references of the namer's and the upgrader's */
byte ended = 0;

#define Named() (slot[0] || slot[1] || slot[2])

/* Consumes a reference; `mine`: the cell is in this thread's list from here on. */
inline Release(mine) {
  atomic {
    assert(!destroyed && count > 0);
    count--;
    if
#ifdef BUG_TWICE
    :: count == 0 ->
      waiting = true; quiet = true; fresh = true; mine = true; lists++; assert(lists == 1)
#else
    :: count == 0 && !waiting ->
      waiting = true; quiet = true; fresh = true; mine = true; lists++; assert(lists == 1)
#endif
    :: else -> skip
    fi
  }
}

/* One round, by who has the cell in its list. */
inline Judge(mine) {
#ifdef BUG_EARLY
  Look();
#endif
  atomic {
    if
    :: fresh -> fresh = false  /* it is quiet, or has been given a reference */
    :: !fresh && count > 0 -> waiting = false; quiet = false; mine = false; lists--
    :: else -> quiet = true
    fi
  };
  if
  :: mine ->
#ifndef BUG_EARLY
    Look();
#endif
    if
    :: !named ->
      atomic {
        if
        :: count > 0 -> waiting = false; quiet = false; mine = false; lists--
        :: count == 0 && quiet ->
          assert(!destroyed && held == 0 && !Named());
          waiting = false; quiet = false; destroyed = true; mine = false; lists--
        :: else -> skip
        fi
      }
    :: else -> skip
    fi
  :: else -> skip
  fi;
  named = false; at = 0
}

inline Look() {
  named = false; at = 0;
  do
  :: at < kSlots ->
#ifdef BUG_DOWN
    atomic { named = (named || slot[kSlots - 1 - at]); at++ }
#else
    atomic { named = (named || slot[at]); at++ }
#endif
  :: else -> break
  od
}

/* Judges what it is left with until that is gone. */
inline Finish(mine) {
  do
  :: mine -> Judge(mine)
  :: !mine -> break
  od;
  ended++
}

/* Cell::IsHeldOnce. */
inline AskWhetherHeldOnce(once) {
  atomic { once = (count == 1); quiet = (quiet || once) };
  if
  :: once ->
    Look();
    atomic {
#ifdef BUG_ONCE
      once = (!named && count == 1);
#else
      once = (!named && count == 1 && quiet);
#endif
      quiet = false;
      assert(!once || (held == 0 && !Named()))
    };
    named = false; at = 0; once = false
  :: else -> skip
  fi
}

proctype Judges() {
  bool mine = false, named = false, once = false;
  byte at = 0;
  if
  :: AskWhetherHeldOnce(once)
  :: skip
  fi;
  Release(mine);
  Finish(mine)
}

/* By a thread that may have neither reference nor Local. */
inline Upgrade(got) {
  atomic {
    got = (count > 0 || waiting);
    if
    :: got -> count++; held++;
#ifndef BUG_UPGRADE
      quiet = false
#endif
    :: else -> skip
    fi
  }
}

/* RetainNamed. */
inline Retain() {
  atomic {
    assert(!destroyed);
    count++; held++;
#ifndef BUG
    quiet = false
#endif
  }
}

proctype Namer() {
  bool mine = false, got = false, named = false;
  byte at = 0, has = 1, ops = 0, top = 0;
  atomic { held++ };
  do
  :: ops < 7 ->
    atomic { ops++; top = (used[2] -> 3 : (used[1] -> 2 : (used[0] -> 1 : 0))) };
    if
    /* A Local, from a reference or another Local. */
    :: top < kSlots && (has > 0 || Named()) ->
      atomic { assert(!destroyed); slot[top] = true; used[top] = true }
    /* One that names nothing. */
    :: top < kSlots -> used[top] = true
    /* The end of one. */
    :: used[0] -> atomic { slot[0] = false; used[0] = false }
    :: used[1] -> atomic { slot[1] = false; used[1] = false }
    :: used[2] -> atomic { slot[2] = false; used[2] = false }
    /* A reference from one. */
    :: has == 0 && Named() -> Retain(); has++
    :: has == 0 -> Upgrade(got); if :: got -> has++ :: else -> skip fi
    /* Its drop. */
    :: has > 0 -> atomic { has--; held-- }; Release(mine)
    /* An older one is assigned from a newer one. */
    :: used[0] && !slot[0] && top > 1 && Named() ->
#ifdef BUG_ASSIGN
      slot[0] = true
#else
      Retain();
      slot[0] = true;
      atomic { held-- };
      Release(mine)
#endif
    :: mine -> Judge(mine)
    fi
  :: break
  od;
  slot[0] = false; slot[1] = false; slot[2] = false;
  do
  :: has > 0 -> atomic { has--; held-- }; Release(mine)
  :: else -> break
  od;
  Finish(mine)
}

proctype Upgrader() {
  bool mine = false, got = false, named = false;
  byte at = 0;
  Upgrade(got);
  if
  :: got -> atomic { assert(!destroyed); held-- }; Release(mine)
  :: else -> skip
  fi;
  Finish(mine)
}

init {
  atomic { run Judges(); run Namer(); run Upgrader() };
  ended == 3;
  assert(destroyed && lists == 0)
}
