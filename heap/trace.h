// Trace: the forwarding of all that roots lead to, by several workers, and what these share.
// Design: docs/design/tracing.md

#ifndef EBB_HEAP_TRACE_H_
#define EBB_HEAP_TRACE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "background/termination.h"
#include "background/worker_pool.h"
#include "heap/block_owners.h"
#include "heap/spaces.h"
#include "platform/bytes.h"

namespace ebb::internal {

class Tracer;

struct TraceCounts {
  int64_t evacuated_objects = 0;
  int64_t evacuated_bytes = 0;
  int64_t retained_objects = 0;  // evacuations that found no memory
  int64_t overflows = 0;         // objects that no worklist had room for

  TraceCounts& operator+=(const TraceCounts& other) {
    evacuated_objects += other.evacuated_objects;
    evacuated_bytes += other.evacuated_bytes;
    retained_objects += other.retained_objects;
    overflows += other.overflows;
    return *this;
  }
};

// Kept from cycle to cycle; used while mutators are stopped.
class Trace {
 public:
  struct Options {
    int workers = 1;
    int64_t fail_evacuation = 0;    // as StressOptions
    int64_t worklist_capacity = 0;  // as StressOptions
  };
  Trace(Spaces& spaces, background::WorkerPool& pool, const Options& options);
  ~Trace();

  // Forwards every root and everything reachable from them. `visit_roots(i, forward)` calls
  // `forward(slot)` for each root of share i of `root_shares`; shares are visited by several
  // threads. The calling thread begins alone and recruits helpers when the work is worth it.
  using ForwardSlot = absl::FunctionRef<void(std::atomic<uintptr_t>& slot)>;
  using VisitRoots = absl::FunctionRef<void(size_t share, ForwardSlot forward)>;
  TraceCounts Run(size_t root_shares, VisitRoots visit_roots);

  // Of the workers' tables.
  platform::Bytes memory() const;

 private:
  friend class Tracer;

  void ForwardRoots(Tracer& tracer, VisitRoots visit_roots);
  bool MayRecruit() const;
  // From here on several workers may forward.
  void Recruit();
  bool AnyDequeHasWork() const;
  void RescanInPlace(Tracer& tracer);

  Spaces& spaces_;
  background::WorkerPool& pool_;
  const Options options_;
  std::vector<std::unique_ptr<Tracer>> tracers_;
  BlockOwners owners_;
  background::Termination termination_;
  size_t root_shares_ = 0;
  // Relaxed throughout: hands out shares of the roots, whose contents the pause has ordered.
  std::atomic<size_t> next_root_share_ = 0;
  // Set when an object without a from-space original could not be queued (see Tracer::PushSlow).
  // Relaxed: read when the helpers have been joined.
  std::atomic<bool> rescan_ = false;
  // Counts evacuations for Options::fail_evacuation only. Relaxed: nothing is published.
  std::atomic<int64_t> evacuations_ = 0;
  background::WorkerPool::Job* job_ = nullptr;  // of the Run in progress
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_TRACE_H_
