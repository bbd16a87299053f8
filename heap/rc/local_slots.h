// LocalSlots: what a thread's rc::Locals name. Design: docs/design/deferral.md

#ifndef EBB_HEAP_RC_LOCAL_SLOTS_H_
#define EBB_HEAP_RC_LOCAL_SLOTS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace ebb::rc::internal {

class Cell;

// One thread pushes and pops; any thread reads.
//
// inv.upwards: what a thread's Locals name, and have been made from one another or from Fields of
// what they name, moves to higher slots only, or is given a reference on its way down
// (rc::Local::Assign). So who reads the slots in their order finds some part of what the thread
// holds on to, if the thread held on to it all the while.
class LocalSlots {
 public:
  using Slot = std::atomic<Cell*>;
  static constexpr size_t kSlots = 256;

  constexpr LocalSlots() = default;
  // That of threads that have none: nobody pushes to it.
  static LocalSlots& None();
  LocalSlots(const LocalSlots&) = delete;
  LocalSlots& operator=(const LocalSlots&) = delete;

  // A slot above all that are in use, which names `cell`; null if they all are.
  Slot* Push(Cell* cell) {
    Slot* slot = top_.load(std::memory_order_relaxed);  // the thread's own
    if (slot >= end()) [[unlikely]] {
      slot = PopFree(slot);  // another thread may have abandoned some
      if (slot >= end()) return nullptr;
    }
    Set(*slot, cell);
    top_.store(slot + 1, std::memory_order_release);  // as in Set
    return slot;
  }
  void Pop(Slot* slot) {
    if (!IsNewest(slot)) [[unlikely]]
      return Abandon(*slot);  // a newer one's scope has not ended
    Set(*slot, nullptr);
    // Relaxed: the thread's own.
    if ((slot - 1)->load(std::memory_order_relaxed) == Free()) [[unlikely]]
      slot = PopFree(slot);
    top_.store(slot, std::memory_order_release);  // as in Set
  }
  // Release: pairs with the acquires in ForEach. Who reads that the slot names something no more
  // reads of the higher ones what they named by then.
  static void Set(Slot& slot, Cell* cell) { slot.store(cell, std::memory_order_release); }
  // By another thread, which has ended a Local that is not its own: the thread may use the slot
  // again when it comes by.
  static void Abandon(Slot& slot) { Set(slot, Free()); }
  // Whether no slot above this one is in use. By the thread itself.
  bool IsNewest(const Slot* slot) const {
    return slot + 1 == top_.load(std::memory_order_relaxed);  // the thread's own
  }

  // Calls f(cell) for what the slots name, in their order; inv.upwards. Any thread.
  template <typename F>
  void ForEach(F f) const {
    // Acquire, both: as in Set. The top is read again each time: it may have grown.
    for (const Slot* slot = &slots_[1]; slot < top_.load(std::memory_order_acquire); ++slot) {
      Cell* const cell = slot->load(std::memory_order_acquire);
      if (cell != nullptr && cell != Free()) f(cell);
    }
  }

  // What is named and is_gone(cell) is named no more. Whether there was any. By the thread itself.
  template <typename F>
  bool Forget(F is_gone) {
    bool any = false;
    // Relaxed, both: the thread's own.
    for (Slot* slot = base_; slot < top_.load(std::memory_order_relaxed); ++slot) {
      Cell* const cell = slot->load(std::memory_order_relaxed);
      if (cell == nullptr || cell == Free() || !is_gone(*cell)) continue;
      Set(*slot, nullptr);
      any = true;
    }
    return any;
  }
  // The thread has no Owner any more, or is not there in a forked child. A Local that outlives it
  // will write to its slot: that is not used again, nor is it the newest one.
  void Leave() {
    Slot* const top = top_.load(std::memory_order_relaxed);  // the thread's own
    if (top == base_) return;
    base_ = top + 1;
    top_.store(base_, std::memory_order_release);  // as in Set
  }

 private:
  // What a slot below others in use has when it is not in use itself.
  static Cell* Free() { return reinterpret_cast<Cell*>(uintptr_t{1}); }
  constexpr Slot* end() { return slots_.data() + 1 + kSlots; }
  // The lowest slot from which on all are free, down from `slot`.
  [[gnu::noinline]] Slot* PopFree(Slot* slot) {
    // Relaxed: the thread's own.
    while (slot > base_ && (slot - 1)->load(std::memory_order_relaxed) == Free()) {
      Set(*--slot, nullptr);
    }
    return slot;
  }

  // The first is no slot; nor is the last, which Leave may skip.
  std::array<Slot, 1 + kSlots + 1> slots_ = {};
  Slot* base_ = &slots_[1];
  std::atomic<Slot*> top_ = &slots_[1];
};

inline LocalSlots& LocalSlots::None() {
  static constinit LocalSlots none;
  return none;
}

// The calling thread's; null if it has none. In the static TLS block: two instructions read it. Set
// by OwnerQueues.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local LocalSlots* this_threads_slots;

}  // namespace ebb::rc::internal

#endif  // EBB_HEAP_RC_LOCAL_SLOTS_H_
