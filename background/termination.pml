/* The protocol of Termination (background/termination.h), for Spin. Run by
 * //background:termination_model_check.
 *
 * Workers, the last of which enters late, share work by stealing. Each unit of work may create
 * another one, as long as the budget lasts. What must hold:
 *   - inv.work-has-active-owner: once the work is finished there is none left, and nobody is or
 *     becomes active again (assertions);
 *   - everybody is told (no invalid end state, no worker waits for ever while nothing changes).
 *
 * Seeded bugs, each of which must be found:
 *   BUG          a worker becomes active again without looking whether another one is
 *   BUG_ENTER    a late worker enters without looking
 *   BUG_IDLE     a worker goes idle without having found its own container empty
 *   BUG_STEAL    an idle worker steals before it is active
 */

#define kWorkers 3
#define kLate (kWorkers - 1)
#define kBudget 2

byte active_workers = kWorkers - 1;
byte work[kWorkers];
byte budget = kBudget;
bool finished = false;  /* ghost: some worker was told so */
byte unhandled = 1;     /* ghost: units of work in containers or in hands */

#define WORK (work[0] + work[1] + work[2])

inline Told() {
  atomic {
    finished = true;
    assert(active_workers == 0);
    assert(unhandled == 0)
  }
}

/* Handles one unit of work, which only an active worker does. */
inline Handle(me) {
  if
  :: atomic { budget > 0 -> budget--; work[me]++; unhandled++ }
  :: skip
  fi;
  atomic { unhandled--; assert(!finished) }
}

proctype Worker(byte me) {
  bool got, changed;
  byte victim;

  if
  :: me == kLate ->
    atomic {
#ifdef BUG_ENTER
      active_workers++; changed = true
#else
      if
      :: active_workers > 0 -> active_workers++; changed = true
      :: else -> changed = false
      fi
#endif
    };
    if
    :: changed -> assert(!finished)
    :: else -> Told(); goto end
    fi
  :: else
  fi;

  do
  :: true ->
    /* Active: take, else try to steal from each, else go idle. */
    got = false;
    victim = 0;
    do
    :: got || victim == kWorkers -> break
    :: else ->
      atomic {
        if
        :: work[(me + victim) % kWorkers] > 0 ->
          work[(me + victim) % kWorkers]--;
          got = true
#ifndef BUG_IDLE
        :: else
#else
        :: true
#endif
        fi
      };
      victim++
    od;
    if
    :: got -> Handle(me)
    :: else ->
      atomic { active_workers--; changed = (active_workers == 0) };
      if
      :: changed -> Told(); goto end
      :: else
      fi;
      /* Idle. Looks until it sees work or the end. What it saw may be gone when it acts on it. */
      if
      :: active_workers == 0 -> Told(); goto end
      :: WORK > 0 ->
#ifdef BUG_STEAL
        got = false;
        atomic {
          victim = 0;
          do
          :: victim < kWorkers && work[victim] > 0 -> work[victim]--; got = true; break
          :: victim < kWorkers && work[victim] == 0 -> victim++
          :: victim == kWorkers -> break
          od
        };
#endif
        atomic {
#ifdef BUG
          active_workers++; changed = true
#else
          if
          :: active_workers > 0 -> active_workers++; changed = true
          :: else -> changed = false
          fi
#endif
        };
        if
        :: changed -> assert(!finished)
        :: else -> Told(); goto end
        fi;
#ifdef BUG_STEAL
        if
        :: got -> Handle(me)
        :: else
        fi
#endif
      fi
    fi
  od;
end:
  skip
}

init {
  atomic {
    work[0] = 1;
    run Worker(0);
    run Worker(1);
    run Worker(2)
  };
  _nr_pr == 1;
  assert(unhandled == 0)
}
