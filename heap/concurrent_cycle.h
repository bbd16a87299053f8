// ConcurrentCycle: one collection beside the program. Only its flip is a pause. Run by the heap's
// collector thread (heap/job_thread.h). Design: docs/design/concurrent.md

#ifndef EBB_HEAP_CONCURRENT_CYCLE_H_
#define EBB_HEAP_CONCURRENT_CYCLE_H_

#include <cstdint>
#include <optional>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "heap/cycle.h"
#include "heap/pacer.h"
#include "heap/safepoints.h"
#include "heap/spaces.h"
#include "heap/trace.h"

namespace ebb::internal {

// Used by the thread whose turn it is to run a cycle.
class ConcurrentCycle {
 public:
  // Called with the length of each pause, in nanoseconds.
  using NotePause = absl::FunctionRef<void(int64_t nanos)>;

  // `parts` is the heap's other cycle: they share the trace and the phases that need a pause.
  ConcurrentCycle(Cycle& parts, Safepoints& safepoints, Pacer& pacer)
      : parts_(parts),
        safepoints_(safepoints),
        pacer_(pacer),
        spaces_(parts.spaces_),
        trace_(parts.trace_) {}

  // The phases, in order. Errors as of Cycle::Run; then nothing has been done.
  absl::StatusOr<CycleResult> Run(NotePause note_pause);

 private:
  // A cycle that cannot leave the nursery empty is run as a whole in this pause: then its result.
  absl::StatusOr<std::optional<CycleResult>> Flip(NotePause note_pause);
  void ForwardRoots();
  void TraceToTheEnd();
  bool MustFinishInPause() const;
  TraceCounts FinishInPause(NotePause note_pause);
  TraceCounts FinishBesideMutators();
  void CheckAndSpoil(NotePause note_pause);

  Cycle& parts_;
  Safepoints& safepoints_;
  Pacer& pacer_;
  Spaces& spaces_;
  Trace& trace_;
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_CONCURRENT_CYCLE_H_
