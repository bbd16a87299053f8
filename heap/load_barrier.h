// The load barrier: what a mutator's load of a reference does while a concurrent cycle forwards.
// Field, Persistent and reference arrays load through it. Design:
// docs/design/concurrent.md#the-load-barrier

#ifndef EBB_HEAP_LOAD_BARRIER_H_
#define EBB_HEAP_LOAD_BARRIER_H_

#include <atomic>
#include <cstdint>

// 0: loads have no barrier, and a heap no concurrent cycles. For a whole program, to measure what
// barriers cost (bench/README.md).
#ifndef EBB_LOAD_BARRIER
#define EBB_LOAD_BARRIER 1
#endif

namespace ebb::internal {

inline constexpr bool kHasLoadBarrier = EBB_LOAD_BARRIER != 0;

// What forwards for a thread, while its barrier is armed: its mutators, whichever heap the
// reference is of.
class LoadBarrier {
 public:
  // `bits` was loaded from `slot` and may lead into from-space. The reference to use in its place;
  // the slot is healed, unless it holds something else by now.
  virtual uintptr_t Forward(std::atomic<uintptr_t>& slot, uintptr_t bits) = 0;
  // The same for a weak reference: 0 if a cycle has found that nothing else leads to the object.
  virtual uintptr_t ForwardWeak(std::atomic<uintptr_t>& slot, uintptr_t bits) = 0;

 protected:
  ~LoadBarrier() = default;
};

// A thread's load filter, and whether its barrier is armed. Changed by the thread itself only, at
// its safepoints, so that no load needs an order for it.
//
// inv.load-filter: a reference into from-space, or to an object that may have to be marked, does
// not pass. What passes is used as it is; what does not is looked at.
struct LoadFilter {
  uintptr_t mask = 0;
  uintptr_t good = 0;
  LoadBarrier* barrier = nullptr;  // null: not armed

  bool Passes(uintptr_t bits) const { return (bits & mask) == good; }
};
// Not armed: everything passes.
inline constexpr LoadFilter kAllPass = {};
// Nothing does.
constexpr LoadFilter NonePasses(LoadBarrier& barrier) { return {0, 1, &barrier}; }

// In the static TLS block: one instruction reads each word.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local LoadFilter load_filter;

// A call that leaves almost all registers alone, where the compiler has such calls: a function that
// loads references need not save what it holds in registers for a call that is hardly ever
// made.
#if defined(__clang__) && defined(__x86_64__)
#define EBB_PRESERVE_MOST [[clang::preserve_most]]
#else
#define EBB_PRESERVE_MOST
#endif

// What the armed barrier makes of `bits`; apart, so that a load is short where it is inlined.
[[gnu::noinline]] EBB_PRESERVE_MOST uintptr_t ForwardLoaded(std::atomic<uintptr_t>& slot,
                                                            uintptr_t bits);

// Acquire: pairs with the release of who stored the reference, or of who forwarded it there; the
// payload is the body of the object.
inline uintptr_t LoadReference(std::atomic<uintptr_t>& slot) {
  const uintptr_t bits = slot.load(std::memory_order_acquire);
  // Nearly as likely as not: so compilers put what follows in line. Out of line, with two jumps
  // more, an armed look-up in a tree takes 1.3 times as long as one without a barrier; in line 1.1
  // times.
  if (kHasLoadBarrier &&
      __builtin_expect_with_probability(load_filter.barrier != nullptr, 0, 0.6)) {
    if (!load_filter.Passes(bits)) [[unlikely]]
      return ForwardLoaded(slot, bits);
  }
  return bits;
}

// The same of a weak reference.
inline uintptr_t LoadWeakReference(std::atomic<uintptr_t>& slot) {
  const uintptr_t bits = slot.load(std::memory_order_acquire);  // as above
  if (kHasLoadBarrier && load_filter.barrier != nullptr && !load_filter.Passes(bits)) {
    return load_filter.barrier->ForwardWeak(slot, bits);
  }
  return bits;
}

}  // namespace ebb::internal

#endif  // EBB_HEAP_LOAD_BARRIER_H_
