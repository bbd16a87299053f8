/* The protocol of Parker (platform/park.h), for Spin. Run by //platform:park_model_check.
 *
 * Each producer writes its payload and calls Unpark, kRounds times; the consumer calls Park or
 * ParkFor until it has seen every payload. What must hold:
 *   - inv.park-no-lost-token: the consumer gets there (no invalid end state);
 *   - the word never says kParked outside Park and ParkFor (assertion);
 *   - no more tokens are taken than were given (assertion).
 *
 * The model is sequentially consistent but for what release and acquire are there for: `carried`
 * is what the word's release sequence carries, and the consumer has `seen` a payload only once an
 * acquire took it from there.
 *
 * Seeded bugs, each of which must be found:
 *   BUG            the kernel does not compare the word before the thread sleeps
 *   BUG_NO_SWAP    Unpark returns early when it finds a token
 *   BUG_STORE      a ParkFor that times out stores kEmpty instead of swapping it in
 */

#define kParked (-1)
#define kEmpty 0
#define kToken 1

#define kProducers 2
#define kRounds 2

short state = kEmpty;
bool asleep = false;
byte carried[kProducers];  /* rounds of each producer that the word's release sequence carries */
byte seen[kProducers];     /* rounds of each producer that the consumer has seen */
byte given = 0;            /* ghost: calls of Unpark */
byte taken = 0;            /* ghost: tokens taken */

/* The consumer's read-modify-write with acquire order took a token. */
inline Take() {
  seen[0] = carried[0];
  seen[1] = carried[1];
  taken++;
  assert(taken <= given)
}

inline FutexWait() {
  atomic {
#ifdef BUG
    asleep = true
#else
    if
    :: state == kParked -> asleep = true
    :: else
    fi
#endif
  };
  if
  :: !asleep
  :: may_wake_early && asleep -> asleep = false  /* time-out */
  fi
}

inline TakeTokenOrAnnounce(took) {
  atomic {
    if
    :: state == kToken -> state = kEmpty; Take(); took = true
    :: else -> assert(state == kEmpty); state = kParked; took = false
    fi
  }
}

inline TakeTokenAfterSleep(took) {
  atomic {
    if
    :: state == kToken -> state = kEmpty; Take(); took = true
    :: else -> took = false
    fi
  }
}

/* Gives up after its first sleep, or sleeps again: time-outs are arbitrary. */
inline WithdrawAnnouncement() {
#ifdef BUG_STORE
  state = kEmpty
#else
  atomic {
    if
    :: state == kToken -> state = kEmpty; Take()
    :: else -> state = kEmpty
    fi
  }
#endif
}

inline Unpark(me, round) {
  atomic { given++ };
#ifdef BUG_NO_SWAP
  if
  :: state == kToken -> goto done
  :: else
  fi;
#endif
  atomic {  /* exchange, release */
    old = state;
    state = kToken;
    carried[me] = round
  };
  if
  :: old == kParked -> asleep = false  /* futex wake */
  :: else
  fi;
done:
  skip
}

proctype Producer(byte me) {
  byte round = 1;
  short old;
  do
  :: round > kRounds -> break
  :: else -> Unpark(me, round); round++
  od
}

proctype Consumer() {
  bool took;
  bool may_wake_early;
  do
  :: seen[0] == kRounds && seen[1] == kRounds -> break
  :: else ->
    assert(state != kParked);
    if
    :: may_wake_early = false  /* Park */
    :: may_wake_early = true   /* ParkFor */
    fi;
    TakeTokenOrAnnounce(took);
    do
    :: took -> break
    :: !took -> FutexWait(); TakeTokenAfterSleep(took);
      if
      :: !took && may_wake_early -> WithdrawAnnouncement(); break
      :: !took
      :: took
      fi
    od
  od
}

init {
  atomic {
    run Producer(0);
    run Producer(1);
    run Consumer()
  }
}
