// ChaseLevDeque: a work-stealing deque. One thread (the owner) pushes and takes at one end, any
// thread steals at the other. Used for the grey objects of a tracing worker.
// Design: docs/design/background.md#work-stealing-deque; model: background/chase_lev_deque.pml

#ifndef EBB_BACKGROUND_CHASE_LEV_DEQUE_H_
#define EBB_BACKGROUND_CHASE_LEV_DEQUE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/base/optimization.h"
#include "platform/bytes.h"

namespace ebb::background {

// After D. Chase and Y. Lev, "Dynamic circular work-stealing deque" (SPAA 2005), with the C11
// memory orders of N. M. Le, A. Pop, A. Cohen and F. Zappa Nardelli, "Correct and efficient
// work-stealing for weak memory models" (PPoPP 2013), whose fences are orders on locations here,
// since ThreadSanitizer does not model fences.
//
// "Owner" is a role: one thread at a time, handed over by anything that orders one thread after
// the other. All operations are O(1) (Push amortised) and lock-free; Steal never waits.
//
// Protocol. Elements have indices; those in [top_, bottom_) are in the deque, element i in slot
// i mod capacity of array_. bottom_ is the owner's; top_ grows by compare-and-swap and never falls.
//   Push   writes slot bottom_, then raises bottom_.
//   Take   lowers bottom_, then reads top_. Two or more elements were there: the last one is its
//          own. Exactly one: it competes with the thieves for it by the swap on top_, and puts
//          bottom_ back. None: it puts bottom_ back.
//   Steal  reads top_, then bottom_; if an element is there, reads its slot, and has it if its swap
//          raises top_.
//   Grow   copies the elements to an array of twice the size. Thieves may go on reading the old
//          one, so it is kept: until ResetWhenQuiescent or destruction.
//
// The orders, with what the paper has in their place:
//  (a) Every store to bottom_ is at least a release, every thief's load of it an acquire: a thief
//      that sees a bottom_ above i sees slot i, the array it is in, and what the pushing thread
//      wrote before. The paper has a release fence in Push; such a fence also covers later relaxed
//      stores to bottom_, those of Take. Without it they must be releases themselves, all the more
//      as C++20 no longer counts a thread's own later stores to a release sequence.
//  (b) Take's store to bottom_ and its load of top_, Steal's loads of top_ and bottom_: all four
//      sequentially consistent (the paper: two seq_cst fences, between the accesses of each pair).
//      Say Take gets element b without a swap, having read top_ < b, and a thief gets it too, so it
//      read top_ == b. Then Take's read of top_ precedes the thief's in the single total order S
//      (it read an older value), so in S: Take's store of b to bottom_, its load of top_, the
//      thief's load of top_, the thief's load of bottom_. The last must see b or a later store,
//      so it found no element b, or one that was pushed anew. Contradiction.
//  (c) The swaps on top_ are seq_cst as in the paper. Which of two swaps gets an element needs no
//      order at all; the release half pairs with (d). S orders the loads of (b) without them;
//      acq_rel would do under C++20, but costs the same on x86 and AArch64, and C++11 needs the
//      paper's.
//  (d) MakeRoom loads top_ with acquire: it pairs with the release in the swap of a successful
//      Steal, whose read of the slot therefore happens before Push overwrites that slot. A thief
//      that reads a slot overwritten since loses its swap: top_ has moved on, and never returns.
//  (e) array_ is stored with release and loaded by thieves with acquire (the paper: consume): they
//      may see an array newer than the bottom_ they read, and must see its slots and size.
//  (f) Slots are relaxed: (a), (d) and (e) order them. The owner reads its own bottom_ and array_
//      relaxed: it reads its own stores.
//
// inv.deque-exactly-once: each element pushed is returned by Take or Steal exactly once, or is
// still in the deque.
class ChaseLevDeque {
 public:
  // Has room for `initial_capacity` elements (rounded up to a power of two) and never for more than
  // `max_capacity` (rounded down to one, which also bounds the former). If memory for the first
  // array cannot be had, starts without and tries again when needed.
  explicit ChaseLevDeque(size_t initial_capacity, size_t max_capacity);
  ~ChaseLevDeque();
  ChaseLevDeque(const ChaseLevDeque&) = delete;
  ChaseLevDeque& operator=(const ChaseLevDeque&) = delete;

  // Owner only. False when full and it cannot grow, because of `max_capacity` or because there is
  // no memory: then nothing has changed. What was written before is seen by whoever gets `element`.
  bool Push(uint64_t element) {
    const int64_t bottom = bottom_.load(std::memory_order_relaxed);  // (f)
    if (bottom >= push_limit_ && !MakeRoom(bottom)) [[unlikely]] {
      return false;
    }
    array_.load(std::memory_order_relaxed)->Put(bottom, element);  // (f)
    bottom_.store(bottom + 1, std::memory_order_release);          // (a)
    return true;
  }

  // Owner only: the element pushed last. Nothing means that the deque is empty, which it stays
  // until the next Push.
  std::optional<uint64_t> Take() {
    const int64_t bottom = bottom_.load(std::memory_order_relaxed) - 1;  // (f)
    bottom_.store(bottom, std::memory_order_seq_cst);                    // (b)
    int64_t top = top_.load(std::memory_order_seq_cst);                  // (b)
    if (top > bottom) {
      bottom_.store(bottom + 1, std::memory_order_release);  // (a)
      return std::nullopt;
    }
    const uint64_t element = array_.load(std::memory_order_relaxed)->Get(bottom);  // (f)
    if (top < bottom) return element;
    // The last element. A failed swap publishes and reads nothing.
    const bool won = top_.compare_exchange_strong(top, top + 1, std::memory_order_seq_cst,  // (c)
                                                  std::memory_order_relaxed);
    bottom_.store(bottom + 1, std::memory_order_release);  // (a)
    if (!won) return std::nullopt;
    return element;
  }

  // Any thread: the element pushed first. Nothing when the deque is empty or another thread took
  // that element at the same time; EmptyHint tells which is likely.
  std::optional<uint64_t> Steal() {
    int64_t top = top_.load(std::memory_order_seq_cst);              // (b)
    const int64_t bottom = bottom_.load(std::memory_order_seq_cst);  // (a), (b)
    if (top >= bottom) return std::nullopt;
    const uint64_t element = array_.load(std::memory_order_acquire)->Get(top);  // (e)
    // A failed swap publishes and reads nothing.
    if (!top_.compare_exchange_strong(top, top + 1, std::memory_order_seq_cst,  // (c)
                                      std::memory_order_relaxed)) {
      return std::nullopt;
    }
    return element;
  }

  // Any thread. What was true a moment ago; exact when no one else uses the deque.
  size_t SizeHint() const {
    // Relaxed: a hint publishes nothing; elements come from Take and Steal only.
    const int64_t bottom = bottom_.load(std::memory_order_relaxed);
    const int64_t top = top_.load(std::memory_order_relaxed);
    return bottom > top ? static_cast<size_t>(bottom - top) : 0;
  }
  bool EmptyHint() const { return SizeHint() == 0; }

  // Any thread. Memory of the array and of those it replaced, which are kept for thieves: less than
  // twice the largest array.
  platform::Bytes memory() const {
    return array_.load(std::memory_order_acquire)->memory_with_older();  // (e)
  }

  // Frees all arrays but the first. The deque must be empty and no other thread may use it.
  void ResetWhenQuiescent();

 private:
  // A power of two of slots, which follow the object in memory. Immutable but for the slots.
  class Array {
   public:
    // With no slots. Never read or written.
    constexpr Array() = default;
    // Null when there is no memory.
    static Array* New(int64_t capacity, Array* older);
    static void Delete(Array* array);

    int64_t capacity() const { return capacity_; }
    Array* older() const { return older_; }
    platform::Bytes memory_with_older() const { return memory_with_older_; }

    uint64_t Get(int64_t index) { return slot(index).load(std::memory_order_relaxed); }  // (f)
    void Put(int64_t index, uint64_t element) {
      slot(index).store(element, std::memory_order_relaxed);  // (f)
    }

   private:
    std::atomic<uint64_t>* slots() { return reinterpret_cast<std::atomic<uint64_t>*>(this + 1); }
    std::atomic<uint64_t>& slot(int64_t index) { return slots()[index & (capacity_ - 1)]; }

    int64_t capacity_ = 0;
    Array* older_ = nullptr;  // the array that this one replaced
    platform::Bytes memory_with_older_;
  };

  // Makes push_limit_ exceed `bottom`, growing if need be; false when that cannot be.
  bool MakeRoom(int64_t bottom);

  // Stands for "no array"; shared by all deques.
  static Array no_array_;

  const int64_t max_capacity_;
  const int64_t initial_capacity_;

  // Thieves write top_ and the owner bottom_, so they are in cache lines of their own.
  alignas(ABSL_CACHELINE_SIZE) std::atomic<int64_t> top_{0};
  alignas(ABSL_CACHELINE_SIZE) std::atomic<int64_t> bottom_{0};
  std::atomic<Array*> array_{&no_array_};
  // Owner only: a top_ seen earlier plus the capacity (as in section 2 of Chase and Lev). top_ only
  // grows, so slots below it are free; Push need not touch the thieves' cache line.
  int64_t push_limit_ = 0;
};

}  // namespace ebb::background

#endif  // EBB_BACKGROUND_CHASE_LEV_DEQUE_H_
