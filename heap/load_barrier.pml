/* The protocol of an edge while a concurrent cycle runs, for Spin. Run by
 * //heap:load_barrier_model_check.
 *
 * The edge is a field of a grey object. It holds the from-space name of an object, kX; the object's
 * copy is kXCopy. A worker scans the edge; mutators load it through the barrier, store into it, and
 * compare and exchange it. They also hold the object by other ways (a root, another field), so they
 * may name it before anybody has healed this edge. What must hold:
 *   - inv.one-copy: one commit or one retention (assertions);
 *   - inv.tospace: no mutator uses kX, nor gets it from a CompareExchange, unless the object is
 *     retained (assertions);
 *   - the edge is an atomic variable that holds objects, not names: healing does not change which
 *     object it holds, so no store or CompareExchange is overwritten by a heal (assertion after
 *     every write), and a CompareExchange fails only when the edge holds another object than the
 *     expected one (assertion);
 *   - who uses the copy sees its body (assertion);
 *   - at the end the edge does not hold kX, unless the object is retained (assertion); a mutator
 *     that is disarmed once the edge has been scanned needs no barrier (inv.tospace again).
 *
 * The model is sequentially consistent but for what release and acquire are there for: the word and
 * the edge each carry the copy's body or do not, and a thread `knows` the body once it has written
 * it, or acquired it from there.
 *
 * Seeded bugs, each of which must be found:
 *   BUG_HEAL_STORE   the barrier heals by a store
 *   BUG_SCAN_STORE   the worker forwards the edge by a store
 *   BUG_SCAN_WEAK    the worker's compare-and-swap may fail for no reason
 *   BUG_NO_HEAL      CompareExchange does not heal first
 *   BUG_UNFORWARDED  the barrier heals, but returns what it had found
 *   BUG_RELAXED      healing does not release
 *   BUG_DISARM       a mutator is disarmed before the edge has been scanned
 */

/* What an edge can hold. Y and Z are black: allocated in this cycle. */
#define kX 0
#define kXCopy 1
#define kY 2
#define kZ 3
/* Which object that names. */
#define Object(name) (name == kXCopy -> kX : name)

/* The object's forwarding word. */
#define kType 0
#define kBusy 1
#define kForwarded 2
#define kRetained 3

byte word = kType;
bool word_carries = false;  /* the word's release carries the copy's body */
byte evacuations = 0;       /* ghost: commits and retentions */

byte edge = kX;
bool edge_carries = false;  /* the edge's release carries the copy's body; only read for kXCopy */
byte value = kX;            /* ghost: the object that the edge holds, by its stores */

bool scanned = false;       /* the worker has done its edge */

#define MayUse(name) (name != kX || word == kRetained)

inline Acquire(carries) { knows = knows || carries }

/* Claims the object, or waits until it is settled. `result` is the name to use from then on. */
inline Forward(result) {
  do
  :: atomic { word == kForwarded -> Acquire(word_carries); result = kXCopy; break }
  :: atomic { word == kRetained -> result = kX; break }
  :: atomic { word == kType -> word = kBusy };
    if
    :: knows = true;  /* copies the body */
      atomic { evacuations++; assert(evacuations == 1); word = kForwarded; word_carries = true }
    :: atomic { evacuations++; assert(evacuations == 1); word = kRetained }
    fi
  :: word == kBusy -> word != kBusy
  od
}

inline Write(name, releases) {
  edge = name;
  edge_carries = (releases && knows);
  assert(Object(edge) == value)
}

/* Compare-and-swap from kX: what else the edge holds is newer, and not in from-space. */
inline Swap(name, releases) {
  atomic {
    if
    :: edge == kX -> Write(name, releases)
    :: else
    fi
  }
}

inline Heal(name) {
#if defined(BUG_HEAL_STORE)
  atomic { Write(name, true) }
#elif defined(BUG_RELAXED)
  Swap(name, false)
#else
  Swap(name, true)
#endif
}

inline Load(result) {
  atomic { result = edge; Acquire(edge_carries && edge == kXCopy) };
  if
  :: armed && result == kX ->
    Forward(name_to_use);
    Heal(name_to_use);
#ifndef BUG_UNFORWARDED
    result = name_to_use
#endif
  :: else
  fi
}

inline Use(name) {
  atomic {
    assert(MayUse(name));
    assert(name != kXCopy || knows)
  }
}

/* A safepoint: disarms the mutator if it is time, and chance will have it. */
inline Safepoint() {
  if
#ifdef BUG_DISARM
  :: armed = false
#else
  :: atomic { scanned -> armed = false }
#endif
  :: true
  fi
}

proctype Worker() {
  byte seen;
  bool knows = false;
  atomic { seen = edge; Acquire(edge_carries && edge == kXCopy) };
  if
  :: seen == kX -> Forward(seen);
#if defined(BUG_SCAN_STORE)
    atomic { Write(seen, true) }
#elif defined(BUG_SCAN_WEAK)
    if
    :: Swap(seen, true)
    :: true
    fi
#else
    Swap(seen, true)
#endif
  :: else
  fi;
  scanned = true
}

proctype Loader() {
  byte name, name_to_use;
  byte loads = 0;
  bool knows = false;
  bool armed = true;
  do
  :: loads == 2 -> break
  :: else ->
    Safepoint();
    Load(name);
    Use(name);
    loads++
  od
}

/* Stores Y, or the object itself, which it has from elsewhere. */
proctype Storer() {
  byte name;
  byte stores = 0;
  bool knows = false;
  do
  :: stores == 2 -> break
  :: else ->
    if
    :: name = kY
    :: Forward(name)
    fi;
    atomic { value = Object(name); Write(name, true) };
    stores++
  od
}

/* Expects what it loads from the edge, or the object, which it has from elsewhere. */
proctype Exchanger() {
  byte expected, healed, name_to_use;
  bool knows = false;
  bool armed = true;
  if
  :: Load(expected)
  :: Forward(expected)
  fi;
  Safepoint();
#ifndef BUG_NO_HEAL
  Load(healed);
#endif
  atomic {
    if
    :: edge == expected -> assert(value == Object(expected)); value = kZ; Write(kZ, true)
    :: else -> assert(value != Object(expected)); assert(MayUse(edge))
    fi
  }
}

init {
  atomic {
    run Worker();
    run Loader();
    run Storer();
    run Exchanger()
  };
  _nr_pr == 1;
  assert(MayUse(edge))
}
