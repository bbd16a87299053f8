// Cycle: one collection, from flip to release. When to collect is decided elsewhere
// (heap/heap_core.cc). Design: docs/design/tracing.md

#ifndef EBB_HEAP_CYCLE_H_
#define EBB_HEAP_CYCLE_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "background/worker_pool.h"
#include "copyspace/mutators_stopped.h"
#include "heap/options.h"
#include "heap/root_table.h"
#include "heap/safepoints.h"
#include "heap/spaces.h"
#include "heap/trace.h"

namespace ebb::internal {

struct CycleResult {
  TraceCounts trace;
  int64_t live_bytes = 0;
};

// Kept from cycle to cycle; used by the thread that holds the pause.
class Cycle {
 public:
  Cycle(Spaces& spaces, RootTable& roots, background::WorkerPool& pool, const Options& options);
  ~Cycle();

  // The parallel collector: everything in one pause. The only error is the system's, under
  // StressOptions::protect_from_space; then nothing has been done.
  absl::StatusOr<CycleResult> Run(const Safepoints::Pause& pause);
  // Closes all mutators' allocators and checks the whole heap.
  absl::Status Verify(const Safepoints::Pause& pause);

  Trace& trace() { return trace_; }
  // Memory of the collector's own tables, which the ledger is debited for.
  platform::Bytes memory() const { return debited_; }

 private:
  friend class ConcurrentCycle;  // which has the same phases, and some more

  // The phases, in order.
  absl::Status AllowAccessToReserve(const copyspace::MutatorsStopped& stopped);
  void CloseAllocators(const std::vector<Mutator*>& mutators);
  void Flip(const copyspace::MutatorsStopped& stopped);
  TraceCounts ForwardAll(const std::vector<Mutator*>& mutators);
  void MakeRetainedRegionsParsable();
  void Sweep(const copyspace::MutatorsStopped& stopped);
  void SpoilFromSpace(const copyspace::MutatorsStopped& stopped);

  void VerifyOrStop(const Safepoints::Pause& pause, const char* when);
  void DebitTables();

  Spaces& spaces_;
  RootTable& roots_;
  const StressOptions stress_;
  Trace trace_;
  platform::Bytes debited_;
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_CYCLE_H_
