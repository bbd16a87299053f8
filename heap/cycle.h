// Cycle: one collection, from flip to release. When to collect is decided elsewhere
// (heap/heap_core.cc). Design: docs/design/tracing.md

#ifndef EBB_HEAP_CYCLE_H_
#define EBB_HEAP_CYCLE_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "background/worker_pool.h"
#include "copyspace/mutators_stopped.h"
#include "heap/balance.h"
#include "heap/death_watch.h"
#include "heap/generations.h"
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

// After the trace, before the sweep: the weak reference in `slot` names where its object is now, or
// nothing. Also beside running mutators.
void ClearUnlessAlive(const Spaces& spaces, std::atomic<uintptr_t>& slot);

// Kept from cycle to cycle; used by the thread that holds the pause.
class Cycle {
 public:
  // `generations`: null if the heap has none.
  Cycle(Spaces& spaces, RootTable& roots, RootTable& weak_roots, DeathWatches& watches,
        Balance& balance, Generations* generations, background::WorkerPool& pool,
        const Options& options);
  ~Cycle();

  // The parallel collector: everything in one pause. The only error is the system's, under
  // StressOptions::protect_from_space; then nothing has been done.
  absl::StatusOr<CycleResult> Run(const Safepoints::Pause& pause) {
    return RunOne(pause, /*in_part=*/false);
  }
  // Where evacuations have failed: cycles that evacuate in part, until nothing is retained or two
  // have found no garbage; sixteen at most. What lives can then be moved as a whole again, however
  // it was scattered.
  absl::StatusOr<CycleResult> Compact(const Safepoints::Pause& pause);
  // A minor cycle, for a heap that has generations. `beside_cycle`: as of Generations::Collect.
  MinorCounts RunMinor(const Safepoints::Pause& pause, bool beside_cycle);
  // Closes all mutators' allocators and checks the whole heap, and its balance.
  absl::Status Verify(const Safepoints::Pause& pause);

  // Whether evacuations have failed in the last cycle, or in the last minor one.
  bool has_retained() const;

  Trace& trace() { return trace_; }
  // Memory of the collector's own tables, which the ledger is debited for.
  platform::Bytes memory() const { return debited_; }

 private:
  friend class ConcurrentCycle;  // which has the same phases, and some more

  absl::StatusOr<CycleResult> RunOne(const Safepoints::Pause& pause, bool in_part);

  // The phases, in order.
  absl::Status AllowAccessToReserve(const copyspace::MutatorsStopped& stopped);
  void CloseAllocators(const std::vector<Mutator*>& mutators);
  // Whether the nursery is empty from here on; so it is without generations.
  bool EmptyNursery(const Safepoints::Pause& pause, bool in_part = false);
  void Flip(const copyspace::MutatorsStopped& stopped);
  TraceCounts ForwardAll(const std::vector<Mutator*>& mutators);
  void ClearWeakRoots();
  // Also beside running mutators.
  void TellDeathWatches();
  void Sweep(const copyspace::MutatorsStopped& stopped);
  // What the cycle has freed is known: mutators' part of its evacuation is counted by themselves.
  void NoteFreed(const TraceCounts& counts);
  void SpoilFromSpace(const copyspace::MutatorsStopped& stopped);

  void VerifyOrStop(const Safepoints::Pause& pause, const char* when);
  void DebitTables();

  Spaces& spaces_;
  RootTable& roots_;
  RootTable& weak_roots_;
  DeathWatches& watches_;
  Balance& balance_;
  Generations* const generations_;
  const StressOptions stress_;
  Trace trace_;
  platform::Bytes debited_;
  platform::Bytes in_copies_;  // at the last flip
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_CYCLE_H_
