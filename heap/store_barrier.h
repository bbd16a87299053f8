// The store barrier: what a mutator's store of a reference does where a heap has generations: it
// logs the edge when the holder is old and the value young. Design: docs/design/generations.md

#ifndef EBB_HEAP_STORE_BARRIER_H_
#define EBB_HEAP_STORE_BARRIER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "heap/load_barrier.h"

// 0: stores have no barrier, and a heap no generations. For a whole program, to measure what
// barriers cost (bench/README.md).
#ifndef EBB_STORE_BARRIER
#define EBB_STORE_BARRIER 1
#endif

namespace ebb::internal {

inline constexpr bool kHasStoreBarrier = EBB_STORE_BARRIER != 0;

// What a thread's stores need not log. Changed by the thread itself only, at its safepoints.
//
// inv.store-filter: a store of a young reference into an object that is not young does not pass.
struct StoreFilter {
  // A nursery is aligned to its size, so that one mask tells who is in it.
  uintptr_t mask = 0;
  uintptr_t young_value = 1;
  uintptr_t young_holder = 1;
  // Remembers an edge that does not pass.
  void (*log)(uintptr_t edge) = nullptr;
  // The same for `count` edges, one after the other in one object.
  void (*log_range)(uintptr_t begin, size_t count) = nullptr;

  bool Passes(uintptr_t edge, uintptr_t value) const {
    return (value & mask) != young_value || (edge & mask) == young_holder;
  }
};
// No heap of the thread has generations: everything passes.
inline constexpr StoreFilter kAllStoresPass = {};
// Several have: nothing does.
constexpr StoreFilter NoStorePasses(void (*log)(uintptr_t edge),
                                    void (*log_range)(uintptr_t begin, size_t count)) {
  return {0, 0, 1, log, log_range};
}

// In the static TLS block, as is load_filter.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local StoreFilter store_filter;

// Remembers the edge, which holds a reference to a young object or may do so. Apart, so that a
// store is short where it is inlined; of the edge it needs the address only.
[[gnu::noinline]] EBB_PRESERVE_MOST void LogEdge(uintptr_t edge);
// The same for a range of edges.
void LogRange(uintptr_t begin, size_t count);

// What follows the store of `value` at `edge`, before the thread's next safepoint.
inline void AfterStore(const std::atomic<uintptr_t>& edge, uintptr_t value) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(&edge);
  if (kHasStoreBarrier && !store_filter.Passes(address, value)) [[unlikely]]
    LogEdge(address);
}

// What follows the stores of a range of `count` edges in one object, likewise: the holder is looked
// at once. The edges are read again, since few holders are old.
inline void AfterStores(const std::atomic<uintptr_t>& first, size_t count) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(&first);
  if (!kHasStoreBarrier || store_filter.log_range == nullptr) return;
  if ((address & store_filter.mask) != store_filter.young_holder) LogRange(address, count);
}

}  // namespace ebb::internal

#endif  // EBB_HEAP_STORE_BARRIER_H_
