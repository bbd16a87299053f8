#include "heap/concurrent_cycle.h"

#include <atomic>

#include "heap/region_walk.h"
#include "heap/root_table.h"
#include "platform/clock.h"

namespace ebb::internal {

namespace {

// A pause that tells how long it was, from the request to its end.
class TimedPause {
 public:
  TimedPause(Safepoints& safepoints, ConcurrentCycle::NotePause note)
      : pause_(safepoints, /*self=*/nullptr), note_(note) {}
  ~TimedPause() { note_(platform::MonotonicNanos() - pause_.requested_at()); }
  TimedPause(const TimedPause&) = delete;
  TimedPause& operator=(const TimedPause&) = delete;

  const Safepoints::Pause& operator*() const { return pause_; }
  const Safepoints::Pause* operator->() const { return &pause_; }

 private:
  const Safepoints::Pause pause_;
  const ConcurrentCycle::NotePause note_;
};

}  // namespace

absl::StatusOr<CycleResult> ConcurrentCycle::Run(NotePause note_pause) {
  CycleResult result;
  // Pause: what was active becomes from-space, and every load barrier is armed.
  absl::StatusOr<std::optional<CycleResult>> whole = Flip(note_pause);
  if (!whole.ok()) return whole.status();
  if (whole->has_value()) return **whole;
  // Roots: those of running mutators are forwarded by themselves.
  ForwardRoots();
  // Every object that a root leads to is copied or marked, and scanned.
  TraceToTheEnd();
  if (MustFinishInPause()) {
    // Something went wrong on the way: no memory for a copy, or no room for a grey object.
    result.trace = FinishInPause(note_pause);
  } else {
    // No from-space reference is left: barriers are disarmed, and what is not marked is garbage.
    result.trace = FinishBesideMutators();
  }
  parts_.NoteFreed(result.trace);
  result.live_bytes = spaces_.object_bytes().count();
  parts_.DebitTables();
  CheckAndSpoil(note_pause);
  return result;
}

absl::StatusOr<std::optional<CycleResult>> ConcurrentCycle::Flip(NotePause note_pause) {
  const TimedPause pause(safepoints_, note_pause);
  if (absl::Status status = parts_.AllowAccessToReserve(pause->stopped()); !status.ok()) {
    return status;
  }
  if (parts_.stress_.verify) parts_.VerifyOrStop(*pause, "before a cycle");
  parts_.CloseAllocators(pause->mutators());
  // The last cycle has ended, and every allocator is closed: the one moment, as cycles end beside
  // mutators that allocate.
  parts_.balance_.CheckAtCycle(pause->stopped());
  const bool nursery_is_empty = parts_.EmptyNursery(*pause);
  pacer_.NoteFlip(pause->stopped());
  if (!nursery_is_empty) return parts_.Run(*pause);
  const platform::Bytes in_copies = spaces_.copy().allocated_bytes();
  parts_.Flip(pause->stopped());
  trace_.BeginFreezing(/*may_freeze=*/true, pause->stopped());
  const auto mutators = static_cast<int64_t>(pause->mutators().size());
  pacer_.BeginCycle(in_copies, mutators + trace_.threads_beside_mutators(), pause->stopped());
  trace_.weak_reads().Begin(pause->stopped());
  trace_.BeginBesideMutators();
  safepoints_.ArmBarriers(*pause);
  return std::nullopt;
}

void ConcurrentCycle::ForwardRoots() {
  const auto forward = [this](std::atomic<uintptr_t>& slot) { trace_.ForwardRoot(slot); };
  safepoints_.ForwardRootsOfBlocked(forward);
  parts_.roots_.ForwardBesideMutators(forward);
}

// inv.trace-ends: when a handshake finds that no mutator has found anything grey since the one
// before, and nothing was grey anywhere else when it began, nothing will ever be grey again; but
// for what weak references name, which is not saved any more when their reads have ended too.
void ConcurrentCycle::TraceToTheEnd() {
  do {
    trace_.Drain();
    // Not yet the end, but what is still to be found is mostly little.
    pacer_.NoteDrained();
    trace_.weak_reads().BeginRound();
  } while (!trace_.idle() || !safepoints_.Handshake() ||
           !(MustFinishInPause() || trace_.weak_reads().TryEnd()));
}

bool ConcurrentCycle::MustFinishInPause() const {
  return trace_.must_rescan() || !spaces_.copy().CanFinishConcurrently();
}

TraceCounts ConcurrentCycle::FinishInPause(NotePause note_pause) {
  const TimedPause pause(safepoints_, note_pause);
  trace_.DrainInPause();
  parts_.ClearWeakRoots();
  // Before the sweep, because a barrier that is armed marks what it meets.
  safepoints_.DisarmBarriers(*pause);
  parts_.CloseAllocators(pause->mutators());
  const TraceCounts counts = trace_.Finish();
  MakeRetainedRegionsParsable(spaces_.copy());
  parts_.Sweep(pause->stopped());
  return counts;
}

TraceCounts ConcurrentCycle::FinishBesideMutators() {
  // What the trace has worked with is room for mutators, who may have little.
  const TraceCounts counts = trace_.Finish();
  // While barriers are armed: they see to it that nobody reads a reference that is to be cleared.
  parts_.weak_roots_.ForwardBesideMutators(
      [this](std::atomic<uintptr_t>& slot) { ClearUnlessAlive(spaces_, slot); });
  parts_.TellDeathWatches();
  // Before the sweep: see FinishInPause.
  safepoints_.DisarmBarriers();
  spaces_.copy().FinishCycleConcurrently();
  spaces_.pinned().Sweep();
  spaces_.large().Sweep();
  return counts;
}

// Under stress only, and therefore in a pause of its own.
void ConcurrentCycle::CheckAndSpoil(NotePause note_pause) {
  const StressOptions& stress = parts_.stress_;
  if (!stress.verify && !stress.poison && !stress.protect_from_space) return;
  const TimedPause pause(safepoints_, note_pause);
  if (stress.verify) parts_.VerifyOrStop(*pause, "after a cycle");
  parts_.SpoilFromSpace(pause->stopped());
}

}  // namespace ebb::internal
