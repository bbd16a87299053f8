/* The end of a concurrent trace, by handshakes, for Spin. Run by
 * //heap:trace_termination_model_check. The code: ConcurrentCycle::ForwardRoots and TraceToTheEnd
 * (heap/concurrent_cycle.cc), Safepoints::Handshake, MutatorForwarder, SharedGreys. Why it holds:
 * docs/design/concurrent.md#the-end-of-the-trace.
 *
 * An object is white, black or grey. A grey one is on the collector's worklist, on the shared list
 * (SharedGreys), or with a mutator: in its private chain (MutatorForwarder), or in its hand. Every
 * object has one field; at the flip they form a chain, all white. A Persistent holds the head.
 *
 * The flip has just ended. Both mutators are blocked, and each owes a root (a Local): the collector
 * forwards it (ForwardRootsOfBlocked), or the mutator does when it has unblocked, before anything
 * else. The collector then forwards the Persistent, and repeats:
 *   1. Drain: it scans what is on its list, and takes what is shared, until both are empty. Its
 *      helpers have gone by then; how they agree on that is background/termination.pml.
 *   2. Handshake: under the lock, each running mutator is asked, each blocked one answered for.
 *   3. Every answer is in. Under the same lock what was said is forgotten, for the next handshake.
 *   4. If none said that something was found grey, and no read of a weak reference has saved
 *      anything since 2 began (WeakReads), the trace has ended.
 * (Between 1 and 2, TraceToTheEnd looks at the shared list once more, to save a handshake. The end
 * does not depend on that look, and the model has none.)
 *
 * A mutator loads from the objects that it holds, which greys what it finds; stores that elsewhere,
 * and clears the fields it came from; hands its chain over; takes an object from the shared list
 * and scans it (an assist); reads a weak reference, which greys the object in the middle of the
 * chain even if nothing else leads there any more. It answers, under the lock and with an
 * empty chain, at a safepoint, when it blocks and when it detaches: whether it has greyed anything,
 * or taken anything from the shared list, since it last answered. If it detaches, that counts even
 * if it is not asked (Safepoints::Detach). One of the two detaches and attaches again.
 *
 * inv.trace-ends: when the trace has ended, no object is grey, and every object that the program
 * can reach is black (assertions in CheckEnd).
 *
 * Seeded bugs, each of which must be found:
 *   BUG_KEEP           a mutator answers without handing over
 *   BUG_BLOCK_KEEP     it blocks without handing over
 *   BUG_BLOCK_CLEAN    blocking, or being blocked, answers that nothing was found
 *   BUG_DETACH_CLEAN   detaching does, if asked
 *   BUG_FORGET         detaching counts only if asked
 *   BUG_CLEAR_LATE     what was said is forgotten where the next handshake begins, not in step 3
 *   BUG_GREYING        a load that greys is not told of
 *   BUG_ASSIST         taking from the shared list is not told of
 *   BUG_NOT_DRAINED    step 2 begins with something left on the collector's list
 *   BUG_NOT_TAKEN      step 1 does not look at the shared list
 *   BUG_OWED_LEFT      the collector does not forward the roots of blocked mutators
 *   BUG_OWED_LATE      a mutator that has unblocked may answer before it forwards its root
 *   BUG_OWED_CLEAN     a mutator that forwards its root does not tell of that
 *   BUG_WEAK_UNTOLD    reads of weak references do not tell WeakReads that they save
 *   BUG_WEAK_LATE      step 2 forgets what they have told where it ends, not before it begins
 * And one that shows that the trace does end:
 *   PROBE_END          fails when the trace has ended
 */

#define kObjects 3
#define kNone kObjects
#define kMutators 2
#define kComesAndGoes 1  /* the mutator that detaches and attaches */

/* Where an object is. From kShared on it is grey. */
#define kWhite 0
#define kBlack 1
#define kShared 2
#define kCollectors 3
#define kPrivate 4                       /* + mutator */
#define kHand (kPrivate + kMutators)     /* + mutator: it assists */

#define kRunning 0
#define kBlocked 1
#define kDetached 2

byte place[kObjects] = kWhite;
byte field[kObjects];
byte state[kMutators] = kBlocked;
byte held[kMutators];            /* a bit for each object that it holds */
bool owes[kMutators] = true;     /* Mutator::roots_owed_ */
bool found[kMutators];           /* MutatorForwarder::found_grey_ */
bool asked[kMutators];           /* its acknowledgement is due */
bool found_grey;                 /* Safepoints::found_grey_ */
bool saved;                      /* WeakReads::saved_ */
bool ended = false;

/* What a mutator owes: the head of the chain, which others reach too, and its last object. */
#define OwedRoot(mutator) (mutator -> kObjects - 1 : 0)

/* The object that the weak reference names. */
#define kNamed 1

#define In(where) (place[0] == where || place[1] == where || place[2] == where)
#define Holds(object) (held[me] & (1 << object))

/* The mutator's own thread runs, owes no root, and does not assist. */
#define Acts (!ended && state[me] == kRunning && !owes[me] && !In(kHand + me))
#ifdef BUG_OWED_LATE
#define AtSafepoint (!ended && state[me] == kRunning && !In(kHand + me))
#else
#define AtSafepoint Acts
#endif
#define HasNothing (!In(kPrivate + me))

/* What the bugs change. */
#ifdef BUG_KEEP
#define HasHandedOver true
#else
#define HasHandedOver HasNothing
#endif
#ifdef BUG_BLOCK_KEEP
#define HasHandedOverToBlock true
#else
#define HasHandedOverToBlock HasNothing
#endif
#ifdef BUG_GREYING
#define kToldOfLoads false
#else
#define kToldOfLoads true
#endif
#ifdef BUG_ASSIST
#define kToldOfTaking false
#else
#define kToldOfTaking true
#endif
#ifdef BUG_OWED_CLEAN
#define kToldOfRoots false
#else
#define kToldOfRoots true
#endif
#ifdef BUG_WEAK_UNTOLD
#define kToldOfWeak false
#else
#define kToldOfWeak true
#endif
#ifdef BUG_NOT_DRAINED
#define ListDone true
#else
#define ListDone (!In(kCollectors))
#endif

/* By the mutator's doing. `told`: it will say so. */
inline Grey(object, told) {
  if
  :: place[object] == kWhite -> place[object] = kPrivate + me; found[me] = found[me] || told
  :: else
  fi
}

/* By the collector. */
inline GreyForCollector(object) {
  if
  :: place[object] == kWhite -> place[object] = kCollectors
  :: else
  fi
}

/* Safepoints::AcknowledgeLocked. */
inline Answer(mutator, found_anything) {
  if
  :: asked[mutator] ->
    asked[mutator] = false; found_grey = found_grey || (found_anything); found[mutator] = false
  :: else
  fi
}

inline AnswerBlocked(mutator) {
#ifdef BUG_BLOCK_CLEAN
  Answer(mutator, false)
#else
  Answer(mutator, found[mutator])
#endif
}

inline HandOver(object) {
  if
  :: place[object] == kPrivate + me -> place[object] = kShared
  :: else
  fi
}

/* What a mutator may do. Nothing is stored that leads to the head, which is reachable anyhow. */
#define LOAD(from)                                                                       \
  atomic {                                                                               \
    Acts && Holds(from) && field[from] != kNone && !Holds(field[from]) ->                \
    held[me] = held[me] | (1 << field[from]); Grey(field[from], kToldOfLoads)            \
  }
#define STORE(to, what)                                                                  \
  atomic { Acts && Holds(to) && Holds(what) && field[to] != what -> field[to] = what }
#define CLEAR(at)                                                                        \
  atomic { Acts && Holds(at) && field[at] != kNone -> field[at] = kNone }
#define TAKE(object)                                                                     \
  atomic {                                                                               \
    Acts && place[object] == kShared ->                                                  \
    place[object] = kHand + me; found[me] = found[me] || kToldOfTaking                   \
  }
#define ASSIST(object)                                                                   \
  atomic {                                                                               \
    !ended && place[object] == kHand + me ->                                             \
    if                                                                                   \
    :: field[object] != kNone -> Grey(field[object], kToldOfLoads)                       \
    :: else                                                                              \
    fi;                                                                                  \
    place[object] = kBlack                                                               \
  }

proctype Mutator(byte me) {
end:
  do
  :: LOAD(0)
  :: LOAD(1)
  :: LOAD(2)
  :: STORE(0, 1)
  :: STORE(0, 2)
  :: STORE(1, 2)
  :: STORE(2, 1)
  :: CLEAR(0)
  :: CLEAR(1)
  :: CLEAR(2)
  /* WeakReads::Read: step 4 waits for it. */
  :: atomic {
      Acts && !Holds(kNamed) ->
      if
      :: place[kNamed] == kWhite -> saved = saved || kToldOfWeak
      :: else
      fi;
      held[me] = held[me] | (1 << kNamed); Grey(kNamed, kToldOfLoads)
    }
  :: TAKE(0)
  :: TAKE(1)
  :: TAKE(2)
  :: ASSIST(0)
  :: ASSIST(1)
  :: ASSIST(2)
  :: atomic { Acts && !HasNothing -> HandOver(0); HandOver(1); HandOver(2) }
  /* A safepoint. */
  :: atomic { AtSafepoint && asked[me] && HasHandedOver -> Answer(me, found[me]) }
  :: atomic { Acts && HasHandedOverToBlock -> AnswerBlocked(me); state[me] = kBlocked }
  :: atomic { !ended && state[me] == kBlocked -> state[me] = kRunning }
  /* ForwardOwedRoots: the collector may ask between the unblocking and this. */
  :: atomic {
      !ended && state[me] == kRunning && owes[me] ->
      owes[me] = false; Grey(OwedRoot(me), kToldOfRoots)
    }
  :: atomic {
      me == kComesAndGoes && Acts && HasNothing ->
#ifdef BUG_DETACH_CLEAN
      if
      :: asked[me] -> found[me] = false
      :: else
      fi;
#endif
#ifndef BUG_FORGET
      found_grey = found_grey || found[me];
#endif
      Answer(me, found[me]);
      state[me] = kDetached; held[me] = 0; found[me] = false
    }
  /* Not asked by a handshake that is on, and owes nothing. It reads the Persistent. */
  :: atomic {
      !ended && state[me] == kDetached -> state[me] = kRunning; held[me] = 1; Grey(0, kToldOfLoads)
    }
  od
}

inline ForwardRoots() {
#ifndef BUG_OWED_LEFT
  do
  :: atomic {
      state[0] == kBlocked && owes[0] -> owes[0] = false; GreyForCollector(OwedRoot(0))
    }
  :: atomic {
      state[1] == kBlocked && owes[1] -> owes[1] = false; GreyForCollector(OwedRoot(1))
    }
  :: !(state[0] == kBlocked && owes[0]) && !(state[1] == kBlocked && owes[1]) -> break
  od;
#endif
  atomic { GreyForCollector(0) }
}

inline TakeShared(object) {
  if
  :: place[object] == kShared -> place[object] = kCollectors
  :: else
  fi
}

#define SCAN(object)                                                                     \
  atomic {                                                                               \
    place[object] == kCollectors ->                                                      \
    if                                                                                   \
    :: field[object] != kNone -> GreyForCollector(field[object])                         \
    :: else                                                                              \
    fi;                                                                                  \
    place[object] = kBlack                                                               \
  }

inline Drain() {
  do
  :: SCAN(0)
  :: SCAN(1)
  :: SCAN(2)
#ifdef BUG_NOT_TAKEN
  :: atomic { ListDone -> break }
#else
  :: atomic { In(kShared) -> TakeShared(0); TakeShared(1); TakeShared(2) }
  :: atomic { ListDone && !In(kShared) -> break }
#endif
  od
}

inline Ask(mutator) {
  if
  :: state[mutator] == kRunning -> asked[mutator] = true
  :: state[mutator] == kBlocked -> asked[mutator] = true; AnswerBlocked(mutator)
  :: else
  fi
}

inline CheckReachableFrom(root) {
  object = root;
  steps = 0;
  do
  :: object == kNone || steps > kObjects -> break
  :: else -> assert(place[object] == kBlack); object = field[object]; steps++
  od
}

inline CheckEnd() {
  d_step {
    object = 0;
    do
    :: object == kObjects -> break
    :: else -> assert(place[object] < kShared); object++
    od;
    CheckReachableFrom(0);
    root = 0;
    do
    :: root == kObjects -> break
    :: else ->
      if
      :: (held[0] | held[1]) & (1 << root) -> CheckReachableFrom(root)
      :: else
      fi;
      root++
    od;
    root = 0; object = 0; steps = 0;
#ifdef PROBE_END
    assert(false)
#endif
  }
}

proctype Collector() {
  byte object = 0, root = 0, steps = 0;
  bool none_found;
  ForwardRoots();
  do
  :: true ->
    Drain();
#ifndef BUG_WEAK_LATE
    saved = false;
#endif
    atomic {
#ifdef BUG_CLEAR_LATE
      found_grey = false;
#endif
      Ask(0); Ask(1)
    };
    atomic {
      !asked[0] && !asked[1] ->
      none_found = !found_grey;
#ifndef BUG_CLEAR_LATE
      found_grey = false
#endif
    };
#ifdef BUG_WEAK_LATE
    saved = false;
#endif
    atomic {
      if
      :: none_found && !saved -> ended = true; CheckEnd(); break
      :: else
      fi
    }
  od
}

init {
  d_step {
    byte i;
    for (i : 0 .. kObjects - 1) { field[i] = i + 1 }
    held[0] = 1 << OwedRoot(0); held[1] = 1 << OwedRoot(1);
    i = 0
  };
  atomic {
    run Mutator(0);
    run Mutator(1);
    run Collector()
  }
}
