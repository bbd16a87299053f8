/* Jobs that share the helpers of a WorkerPool (background/worker_pool.h), for Spin. Run by
 * //background:worker_pool_model_check.
 *
 * Two owners run two jobs each, one after the other in the same place, with two helpers between
 * them. What must hold:
 *   - inv.pool-one-job: a helper is nobody else's until it is given back (assertions);
 *   - inv.job-untouched: a helper touches only a job whose Join has not returned (assertions), and
 *     by then all of the job's helpers have worked;
 *   - every Join returns (no invalid end state).
 *
 * Seeded bugs, each of which must be found:
 *   BUG          Join returns when all are counted out, and does not wait for the token
 *   BUG_COUNT    Join is not counted
 *   BUG_RETURN   Join gives its helpers back before they are counted out
 */

#define kOwners 2
#define kHelpers 2
#define kJobs 2

byte running[kOwners];     /* Job::running_ */
bool joiner[kOwners];      /* the token of Job::joiner_ */
bool token[kHelpers];      /* of Helper::parker */
byte job[kHelpers];        /* Helper::job: whose */
bool idle[kHelpers] = true;

bool there[kOwners];       /* ghost: the job is, from construction until Join has returned */
byte working[kOwners];     /* ghost: helpers that have not yet done the job's work */

#ifdef BUG_COUNT
#define kForJoin 0
#else
#define kForJoin 1
#endif

inline GiveBack() {
  atomic {
    h = 0;
    do
    :: h < kHelpers ->
      if
      :: crew[h] -> crew[h] = false; idle[h] = true
      :: else
      fi;
      h++
    :: else -> break
    od
  }
}

proctype Owner(byte me) {
  byte jobs = 0, h, recruited;
  bool crew[kHelpers];

  do
  :: jobs < kJobs ->
    jobs++;
    atomic { running[me] = kForJoin; joiner[me] = false; there[me] = true; recruited = 0 }
    /* Recruit: none, some, or all that are idle. */
    h = 0;
    do
    :: h < kHelpers ->
      if
      :: atomic { idle[h] -> idle[h] = false; crew[h] = true };
        atomic { assert(!token[h]); job[h] = me; working[me]++; recruited++ };
        running[me]++;
        token[h] = true
      :: skip
      fi;
      h++
    :: else -> break
    od;
    /* Join. */
    if
    :: recruited == 0
    :: else ->
#ifdef BUG_RETURN
      GiveBack();
#endif
#if defined(BUG)
      running[me]--;
      running[me] == 0;
#elif defined(BUG_COUNT)
      atomic { joiner[me] -> joiner[me] = false };
#else
      if
      :: atomic { running[me] == 1 -> running[me] = 0 }
      :: atomic { running[me] > 1 -> running[me]-- };
        atomic { joiner[me] -> joiner[me] = false }
      fi;
#endif
    fi;
    atomic { assert(working[me] == 0); there[me] = false };
    GiveBack()
  :: else -> break
  od
}

proctype Helper(byte me) {
  byte whose;
  bool last;

end:
  do
  :: atomic { token[me] -> token[me] = false };
    whose = job[me];
    atomic { assert(there[whose] && working[whose] > 0); working[whose]-- };
    atomic {
      assert(there[whose]);
      running[whose]--;
      last = running[whose] == 0
    };
    if
    :: last -> atomic { assert(there[whose]); joiner[whose] = true }
    :: else
    fi;
    last = false
  od
}

init {
  atomic {
    run Owner(0);
    run Owner(1);
    run Helper(0);
    run Helper(1)
  }
}
