// ThreadBarriers: what the load and store barriers of a thread call when a reference or an edge
// does not pass their filters, and the filters. Design: docs/design/concurrent.md#the-load-barrier,
// docs/design/generations.md#the-store-barrier

#ifndef EBB_HEAP_THREAD_BARRIERS_H_
#define EBB_HEAP_THREAD_BARRIERS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "heap/load_barrier.h"
#include "heap/store_barrier.h"

namespace ebb {
class Mutator;
}  // namespace ebb

namespace ebb::internal {

// Of the calling thread, whichever its heaps. Stateless: one serves all threads.
class ThreadBarriers final : public LoadBarrier {
 public:
  // After any of the thread's mutators has begun or ceased to run, or been armed or disarmed: what
  // is to pass from here on. O(mutators of the thread).
  static void Update();

  uintptr_t Forward(std::atomic<uintptr_t>& slot, uintptr_t bits) override;
  uintptr_t ForwardWeak(std::atomic<uintptr_t>& slot, uintptr_t bits) override;

 private:
  static void LogEdge(uintptr_t edge);
  static void LogRange(uintptr_t begin, size_t count);
  static StoreFilter FilterForStores();
  LoadFilter FilterForLoads();
  // The mutator whose heap the reference is of, if its barrier is armed.
  static const Mutator* ArmedFor(uintptr_t bits);
  static bool IsArmed(const Mutator& mutator);
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_THREAD_BARRIERS_H_
