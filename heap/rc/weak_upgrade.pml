/* Weak upgrade against death, and the end of a cell (heap/rc/cell.h), for Spin. Run by
 * //heap/rc:weak_upgrade_model_check.
 *
 * The owner has the first reference, and another thread may have a second one in the shared count;
 * two threads have weak references. Each of those upgrades once or twice and drops what it got, and
 * then drops its weak reference. Who sees the cell die destroys the object, and then says so
 * (Finish). What must hold:
 *   - an object is destroyed once, when nobody has a reference to it (assertions);
 *   - who has upgraded finds the object as it was (assertion);
 *   - the cell is freed once, when no reference of either kind is left (assertions), and nobody
 *     touches it afterwards (assertion);
 *   - it is freed in the end (assertion).
 *
 * A change of the shared word is one step. Sequentially consistent.
 *
 * Seeded bugs, each of which must be found:
 *   BUG           Upgrade is a look and an addition
 *   BUG_ZERO      the owner takes a shared count of zero for a shared word of zero, and does not merge
 *   BUG_FINISH    Finish is a load and a store
 *   BUG_WEAK      the last weak reference does not ask whether the object has gone
 */

byte owners_count = 1;
short shared_count = 0;
byte weak = 2;
bool merged = false, gone = false;

byte refs = 1;           /* ghost: references that somebody holds */
bool destroyed = false;  /* the object */
bool freed = false;      /* the cell */
byte ended = 0;          /* ghost */

inline Free() {
  atomic { assert(!freed && refs == 0 && weak == 0 && destroyed); freed = true }
}

inline Die() {
  atomic { assert(!destroyed && refs == 0 && !freed); destroyed = true };
#ifdef BUG_FINISH
  last = (weak == 0);
  gone = true;
#else
  atomic { last = (weak == 0); gone = true };
#endif
  if
  :: last -> Free()
  :: else -> skip
  fi
}

inline ReleaseShared() {
  refs--;
  atomic { assert(!freed); shared_count--; dead = (merged && shared_count == 0) };
  if
  :: dead -> Die()
  :: else -> skip
  fi
}

inline Upgrade() {
#ifdef BUG
  got = !(merged && shared_count == 0);
  if
  :: got -> shared_count++
  :: else -> skip
  fi;
  if
  :: got -> refs++
  :: else -> skip
  fi
#else
  atomic {
    assert(!freed);
    got = !(merged && shared_count == 0);
    if
    :: got -> shared_count++; refs++
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
    weak--
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
    :: ended == 4 -> assert(freed)
    :: else -> skip
    fi
  }
}

proctype Owner() {
  bool last, dead;
  short seen_count;
  refs--;
  owners_count--;
#ifdef BUG_ZERO
  if
  :: shared_count == 0 -> Die(); goto end
  :: else -> skip
  fi;
#else
  /* A word of zero has no weak reference in it. */
  atomic { dead = (shared_count == 0 && weak == 0 && !merged) };
  if
  :: dead -> atomic { assert(!destroyed && refs == 0); destroyed = true }; Free(); goto end
  :: else -> skip
  fi;
#endif
  atomic { merged = true; seen_count = shared_count };
  if
  :: seen_count == 0 -> Die()
  :: else -> skip
  fi;
end:
  End()
}

/* Its reference is counted by the shared word. */
proctype Other(bool has_one) {
  bool last, dead;
  if
  :: has_one -> ReleaseShared()
  :: else -> skip
  fi;
  End()
}

proctype Watcher() {
  bool last, dead, got;
  byte times = 0;
  do
  :: times < 2 ->
     Upgrade();
     if
     :: got -> assert(!destroyed); ReleaseShared()
     :: else -> skip
     fi;
     times++
  :: break
  od;
  ReleaseWeak();
  End()
}

init {
  atomic {
    if
    :: run Other(false)
    :: shared_count = 1; refs = 2; run Other(true)
    fi;
    run Owner();
    run Watcher();
    run Watcher()
  }
}
