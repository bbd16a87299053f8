// HeapCore: how an allocation finds room: it keeps a cycle's pace, waits, collects, and asks the
// exhaustion handler. Design: docs/design/heap.md#allocation, docs/design/concurrent.md#memory

#include <algorithm>
#include <string>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "heap/heap_core.h"
#include "heap/mutator.h"
#include "platform/clock.h"

namespace ebb::internal {

using platform::Bytes;

namespace {

constexpr char kTooManyCycles[] =
    "one cycle after the other made little room, and the program did hardly anything else";
// Of the limit: for less than that outside of the heap no cycle is run.
constexpr int64_t kLeastExternalShare = 16;
// Workers that are asked for work share some of it much sooner.
constexpr absl::Duration kUntilNextAssist = absl::Microseconds(200);

}  // namespace

// Where a nursery is in use, only minor cycles take what the pacer watches over. An allocator's
// region and the next one are of the same space: that changes in pauses, which close it.
absl::Status HeapCore::Refill(Mutator& mutator, size_t bytes) {
  const bool young = generations_ != nullptr && generations_->nursery_in_use();
  copyspace::CopySpace& space = young ? spaces_->nursery() : spaces_->copy();
  if (generations_ != nullptr && !generations_->TakeRegion()) {
    return absl::ResourceExhaustedError("a minor cycle is due");
  }
  if (!mutator.allocator_.Refill(space, copyspace::AcquirePurpose::kMutator, bytes)) {
    const absl::Status status = space.last_failure();
    return status.ok() ? absl::ResourceExhaustedError("no block is free") : status;
  }
  AddAllocated(mutator.allocator_.TakeAllocated());
  // In a pause of its own a thread does not assist.
  if (!young && !safepoints_.requested()) Pace(mutator);
  return absl::OkStatus();
}

void HeapCore::Pace(Mutator& mutator) {
  if (external_.fresh() > Bytes(0)) LookAtExternal();
  if (collector_ == nullptr) return;
  const Pacer::Advice advice = pacer_->Advise(trace().scanned_in_place());
  if (advice.begin_cycle) collector_->Request();
  if (advice.assist > Bytes(0)) Assist(mutator, advice.assist);
}

bool HeapCore::Assist(Mutator& self, Bytes most) {
  if (!trace().SeekWork()) return false;
  self.forwarder_->NoteAssist();
  return trace().Assist(most, platform::MonotonicNanos() + Pacer::kLongestAssistNanos);
}

// Whether the request has an effect or a cycle is under way, there is a NoteRoom to come: that of a
// cycle's end comes when the next can be requested.
void HeapCore::Stall(Mutator& self, int64_t seen, Bytes limit, Bytes wanted) {
  const int64_t begin = platform::MonotonicNanos();
  const bool has_flipped = pacer_->cycle_runs();
  const Bytes room = pacer_->room();
  collector_->Request();
  if (limit_->RaiseRatherThanWait(wanted, limit)) return;
  // Towards the end of a trace some of what was kept for evacuation may become room.
  for (bool noted = false; !noted && pacer_->room() <= room;) {
    noted = AssistOrAwaitRoom(self, seen);
  }
  const int64_t nanos = platform::MonotonicNanos() - begin;
  LOG_IF(WARNING, absl::Nanoseconds(nanos) > options_.safepoint_warning)
      << "an allocation waited " << absl::Nanoseconds(nanos) << " for a concurrent cycle to "
      << (has_flipped ? "end: the program allocates faster than it evacuates; raise max_bytes, or "
                        "concurrent_workers"
                      : "flip: see time_to_safepoint_ns, and collector_niceness");
  NoteStall(nanos, has_flipped);
}

bool HeapCore::AssistOrAwaitRoom(Mutator& self, int64_t seen) {
  const absl::Duration wait =
      Assist(self, Pacer::kMostAssistance) ? absl::ZeroDuration() : kUntilNextAssist;
  // Blocked, also between two turns of assistance: pauses and handshakes are not kept waiting.
  Mutator::ParkThread(/*except=*/nullptr);
  const bool noted = pacer_->AwaitRoom(seen, wait);
  Mutator::UnparkThread();
  return noted;
}

void HeapCore::NoteStall(int64_t nanos, bool has_flipped) {
  absl::MutexLock lock(&stats_mu_);
  totals_.stall_ns.Record(nanos);
  ++(has_flipped ? totals_.stalls_for_end : totals_.stalls_for_flip);
}

absl::Status HeapCore::ReportExternal(int64_t bytes) {
  absl::Status status = external_.Report(bytes);
  if (status.ok() && external_.look_due()) LookAtExternal();
  return status;
}

// By a thread that may be none of the heap's, or be blocked: it asks, and others do the work. While
// there is a collector thread, mutators need to be kept only if it comes too late.
void HeapCore::LookAtExternal() {
  const Bytes least = spaces_->ledger().limit() / kLeastExternalShare;
  const ExternalMemory::Due due = external_.Look(spaces_->copy().room().for_mutators, least);
  if (due == ExternalMemory::Due::kNothing) return;
  if (collector_ != nullptr) {
    collector_->Request();
    if (due != ExternalMemory::Due::kMutators) return;
  }
  external_.WantMutators();
  safepoints_.ForceSlow();
}

// A cycle that has flipped does not free what was dropped since: so the next one is waited for, but
// only its beginning, from which on what is reported is fresh again.
void HeapCore::CollectForExternal(Mutator& self) {
  if (!external_.mutators_wanted()) return;
  if (EnsureCollector()) {
    const int64_t begin = platform::MonotonicNanos();
    const bool has_flipped = pacer_->cycle_runs();
    while (external_.mutators_wanted()) {
      const int64_t seen = pacer_->room_noted();
      collector_->Request();
      AssistOrAwaitRoom(self, seen);
    }
    return NoteStall(platform::MonotonicNanos() - begin, has_flipped);
  }
  const Turn turn(*this);
  {
    const Safepoints::Pause pause(safepoints_, &self);
    // Another thread may have collected while this one waited for its own pause. One that the
    // system does not let begin is made up for later.
    if (external_.mutators_wanted()) RunCycle(pause, &Cycle::Run).IgnoreError();
  }
  ReleaseGarbage();
}

// As in CollectAndRetry, the attempt is made inside the pause. Whether a whole cycle is due, and
// its assistance, come before that: they are none of the pause's work.
absl::StatusOr<uintptr_t> HeapCore::TryWithMinorCycle(Mutator& self, Attempt attempt) {
  constexpr int kTriesOutside = 8;
  absl::StatusOr<uintptr_t> result = attempt();
  for (int tries = 0; !result.ok() && tries < kTriesOutside; ++tries) {
    Pace(self);
    const int64_t begun = generations_->minor_cycles();
    bool run_on = false;
    {
      const Safepoints::Pause pause(safepoints_, &self);
      run_on = !pause.parked_others();
      // Another thread may have collected while this one waited for its own pause.
      if (run_on && generations_->minor_cycles() != begun) result = attempt();
      if (!result.ok()) {
        RunMinor(pause);
        if (run_on) result = attempt();
      }
    }
    if (result.ok() || run_on) return result;
    result = attempt();
  }
  return result;
}

// The attempt is made inside the pause, so that others cannot take what the cycle freed first: when
// it fails, once more with large objects' memory given back. A thread that is attached to several
// heaps may be parked at the pause's end, where fresh memory would be lost: it only tries outside,
// some more times. With concurrent cycles all that comes last, after the cycle under way
// and a whole one: the first does not free what died after its flip. A minor cycle follows, which
// may promote now, and where evacuations have failed Cycle::Compact.
absl::StatusOr<uintptr_t> HeapCore::CollectAndRetry(Mutator& self, Bytes wanted, Attempt try_again,
                                                    Attempt attempt) {
  constexpr int kTriesOutside = 8;
  absl::StatusOr<uintptr_t> result;
  if (EnsureCollector()) {
    const int64_t enough = pacer_->ends_of_a_whole_cycle();
    for (bool waited_enough = false; !waited_enough;) {
      const int64_t seen = pacer_->room_noted();
      const Bytes limit = spaces_->ledger().limit();
      waited_enough = pacer_->cycles_ended() >= enough;
      if (result = try_again(); result.ok()) return result;
      if (!waited_enough) Stall(self, seen, limit, wanted);
    }
  }
  const Turn turn(*this);
  if (collector_ != nullptr) {
    // Who had the turn before may have freed enough.
    if (result = try_again(); result.ok()) return result;
  }
  for (int tries = 0; tries < kTriesOutside; ++tries) {
    // Relaxed: a count, see its declaration.
    const int64_t begun = cycles_.load(std::memory_order_relaxed);
    bool run_on = false;
    {
      const Safepoints::Pause pause(safepoints_, &self);
      run_on = !pause.parked_others();
      // Another thread may have collected while this one waited for its own pause.
      if (run_on && cycles_.load(std::memory_order_relaxed) != begun) result = attempt();
      if (!result.ok()) {
        if (absl::Status status = RunCycle(pause, &Cycle::Run); !status.ok()) return status;
        if (run_on) result = attempt();
        if (run_on && !result.ok()) {
          // Given back outside of the pause, it would be others' who try again all the time. What
          // the system refuses is tried again there, and counted.
          spaces_->ReleaseSwept().IgnoreError();
          result = attempt();
        }
        if (run_on && !result.ok() && generations_ != nullptr) {
          // What found no room in the copy space may have some now.
          RunMinor(pause);
          result = attempt();
        }
        if (run_on && !result.ok() && cycle_->has_retained()) {
          if (absl::Status status = RunCycle(pause, &Cycle::Compact); !status.ok()) return status;
          result = attempt();
        }
      }
    }
    ReleaseGarbage();
    if (result.ok()) return result;
    if (result = attempt(); result.ok() || run_on) return result;
  }
  return result;
}

// Before the handler is asked, a limit that only the policy has set gives way. What `attempt` has
// made is never given up: its memory has no header yet.
absl::StatusOr<uintptr_t> HeapCore::Allocate(Mutator& self, size_t bytes, bool moves,
                                             Attempt attempt) {
  const auto try_again = [&] {
    return generations_ != nullptr && moves ? TryWithMinorCycle(self, attempt) : attempt();
  };
  absl::StatusOr<uintptr_t> result = try_again();
  if (result.ok()) return result;
  // What moves needs room in both halves.
  const Bytes size(static_cast<int64_t>(bytes));
  const Bytes wanted = size.count() > options_.large_object_bytes ? size : 2 * size;
  for (int asked = 0;; ++asked) {
    std::string why = kTooManyCycles;
    if (!limit_->CollectsTooMuch(wanted)) {
      result = CollectAndRetry(self, wanted, try_again, attempt);
      for (Bytes limit = spaces_->ledger().limit(); !result.ok() && limit_->Raise(wanted, limit);) {
        limit = spaces_->ledger().limit();
        result = try_again();
      }
      if (result.ok()) {
        // Relaxed: a count, see its declaration.
        limit_->NoteDry(cycles_.load(std::memory_order_relaxed), allocated_bytes());
        return result;
      }
      why = result.status().message();
    }
    // Relaxed: a count, see its declaration.
    exhaustions_.fetch_add(1, std::memory_order_relaxed);
    if (asked == Options::kMostExhaustionCalls || !AskHandler(self, bytes, asked)) {
      return Exhausted(bytes, why);
    }
    result = try_again();
    if (result.ok()) return result;
  }
}

bool HeapCore::AskHandler(Mutator& self, size_t bytes, int times_asked) {
  if (!options_.on_exhaustion) return false;
  const NoSafepoint no_allocation_by_the_handler(self);
  const HeapStats now = stats();
  switch (options_.on_exhaustion({.requested = static_cast<int64_t>(bytes),
                                  .live = now.live_bytes,
                                  .heap_bytes = now.heap_bytes,
                                  .max_bytes = now.max_bytes,
                                  .attempt = times_asked})) {
    case ExhaustionAction::kRetry:
      return true;
    case ExhaustionAction::kGrow: {
      // Room for the object in both halves, or an eighth, whichever is more.
      const int64_t more = std::max<int64_t>(2 * static_cast<int64_t>(bytes), now.max_bytes / 8);
      // It is the memory limit that is in the way.
      if (limit_->most() < Bytes(now.max_bytes)) return false;
      const int64_t grown =
          std::min(now.max_bytes + RoundUp(Bytes(more), copyspace::kBlockSize).count(),
                   options_.reserve_bytes);
      return grown > now.max_bytes && SetMaxBytes(grown).ok();
    }
    case ExhaustionAction::kFail:
      return false;
  }
  return false;
}

absl::Status HeapCore::Exhausted(size_t bytes, absl::string_view why) const {
  const HeapStats now = stats();
  std::string remedy =
      absl::StrCat("raise Options::max_bytes (now ", now.max_bytes,
                   "; Heap::SetMaxBytes while it runs, up to Options::reserve_bytes)");
  if (!spaces_->copy().last_failure().ok()) {
    remedy = "it was the system that refused memory, not Options::max_bytes";
  } else if (limit_->most() < Bytes(now.max_bytes)) {
    remedy = absl::StrCat("raise the memory limit of this process's control group (now ",
                          system_.MemoryLimit(), ", of which the heap may use ",
                          options_.memory_limit_share, " (Options::memory_limit_share), less ",
                          external_.bytes(), " of external memory)");
  }
  return absl::ResourceExhaustedError(absl::StrCat(
      "an object of ", Bytes(static_cast<int64_t>(bytes)),
      " finds no room: ", Bytes(now.live_bytes), " were live after the last cycle, ",
      Bytes(now.heap_bytes), " of ", Bytes(now.limit_bytes),
      " are in use (a copying heap needs about twice what is live); ", why, "; ", remedy));
}

}  // namespace ebb::internal
