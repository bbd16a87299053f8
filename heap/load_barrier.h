// The load barrier: what a mutator's load of a reference does while a concurrent cycle forwards.
// Field, Persistent and reference arrays load through it. Design:
// docs/design/concurrent.md#the-load-barrier

#ifndef EBB_HEAP_LOAD_BARRIER_H_
#define EBB_HEAP_LOAD_BARRIER_H_

#include <atomic>
#include <cstdint>

namespace ebb::internal {

// What forwards for a thread, while its barrier is armed: its mutators, whichever heap the
// reference is of.
class LoadBarrier {
 public:
  // `bits` was loaded from `slot` and may lead into from-space. The reference to use in its place;
  // the slot is healed, unless it holds something else by now.
  virtual uintptr_t ForwardLoaded(std::atomic<uintptr_t>& slot, uintptr_t bits) = 0;

 protected:
  ~LoadBarrier() = default;
};

// Null: not armed. Changed by the thread itself only, at its safepoints, so that no load needs an
// order for it. In the static TLS block: one instruction reads it.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local LoadBarrier* armed_load_barrier;

// armed_load_barrier's answer; apart, so that a load is short where it is inlined.
[[gnu::cold]] uintptr_t ForwardLoaded(std::atomic<uintptr_t>& slot, uintptr_t bits);

// Acquire: pairs with the release of who stored the reference, or of who forwarded it there; the
// payload is the body of the object.
inline uintptr_t LoadReference(std::atomic<uintptr_t>& slot) {
  const uintptr_t bits = slot.load(std::memory_order_acquire);
  if (armed_load_barrier != nullptr) [[unlikely]]
    return ForwardLoaded(slot, bits);
  return bits;
}

}  // namespace ebb::internal

#endif  // EBB_HEAP_LOAD_BARRIER_H_
