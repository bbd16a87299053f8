/* The protocol of ChaseLevDeque (background/chase_lev_deque.h), for Spin. Run by
 * //background:chase_lev_deque_model_check.
 *
 * The owner pushes kElements elements, takes at any time, and at last takes until the deque is
 * empty. Two thieves steal at any time. The array has two slots, so slots are overwritten, and it
 * may be replaced once by one of four, while thieves go on reading the old one. What must hold:
 *   - inv.deque-exactly-once (assertions at each receipt and at the end).
 *
 * The model is sequentially consistent: it checks the steps and their order, and that those two
 * orders that the class makes sequentially consistent (b) are needed. The other orders rest on the
 * argument in the header and on ThreadSanitizer.
 *
 * Seeded bugs, each of which must be found:
 *   BUG            Take reads top before it lowers bottom (a store that is delayed past the load)
 *   BUG_STEAL      Steal reads bottom before top
 *   BUG_NO_SWAP    Take does not compete for the last element
 *   BUG_OVERWRITE  Push believes that there is one more slot than there is
 */

#define kElements 3
#define kSmall 2
#define kLarge 4

byte small[kSmall];
byte large[kLarge];
bool grown = false;
short top = 0;
short bottom = 0;
byte received[kElements + 1];

inline Receive(element) {
  atomic {
    assert(element != 0);  /* elements are 1..kElements: a slot that was never written */
    received[element]++;
    assert(received[element] == 1)
  }
}

#define SLOT(is_large, i) (is_large -> large[(i) % kLarge] : small[(i) % kSmall])

#ifdef BUG_OVERWRITE
#define CAPACITY ((grown -> kLarge : kSmall) + 1)
#else
#define CAPACITY (grown -> kLarge : kSmall)
#endif

proctype Owner() {
  byte next = 1;
  short b, t;
  byte element;
  bool last = false;
  byte i;
  do
  :: next <= kElements ->  /* Push; top_seen_ is as good as new */
    t = top;
    if
    :: bottom - t < CAPACITY ->
      if
      :: grown -> large[bottom % kLarge] = next
      :: else -> small[bottom % kSmall] = next
      fi;
      bottom = bottom + 1;
      next++
    :: bottom - t >= CAPACITY && !grown ->  /* MakeRoom; thieves may raise top meanwhile */
      i = t;
      do
      :: i < bottom -> large[i % kLarge] = small[i % kSmall]; i++
      :: else -> break
      od;
      grown = true
    :: bottom - t >= CAPACITY  /* refused */
    fi
  :: bottom > 0 ->  /* Take; not before the first Push, to keep indices from being negative */
    b = bottom - 1;
#ifdef BUG
    t = top;
    bottom = b;
#else
    bottom = b;
    t = top;
#endif
    if
    :: t > b ->
      bottom = b + 1;
      if
      :: next > kElements -> break
      :: else
      fi
    :: t <= b ->
      element = SLOT(grown, b);
      if
      :: t < b -> Receive(element)
      :: else ->
#ifdef BUG_NO_SWAP
        top = t + 1;
        Receive(element);
#else
        atomic {
          if
          :: top == t -> top = t + 1; last = true
          :: else -> last = false
          fi
        };
        if
        :: last -> Receive(element)
        :: else
        fi;
#endif
        bottom = b + 1
      fi
    fi
  od
}

proctype Thief() {
  short b, t;
  byte element;
  bool is_large, won;
  do
  ::
#ifdef BUG_STEAL
    b = bottom;
    t = top;
#else
    t = top;
    b = bottom;
#endif
    if
    :: t < b ->
      is_large = grown;
      element = SLOT(is_large, t);
      atomic {
        if
        :: top == t -> top = t + 1; won = true
        :: else -> won = false
        fi
      };
      if
      :: won -> Receive(element)
      :: else
      fi
    :: else
    fi
  :: break
  od
}

init {
  atomic {
    run Owner();
    run Thief();
    run Thief()
  };
  _nr_pr == 1;
  byte i = 1;
  do
  :: i <= kElements -> assert(received[i] == 1); i++
  :: else -> break
  od
}
