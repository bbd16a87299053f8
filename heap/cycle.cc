#include "heap/cycle.h"

#include <algorithm>

#include "absl/log/check.h"
#include "absl/log/log.h"
#include "heap/mutator.h"
#include "heap/region_walk.h"
#include "heap/verifier.h"

namespace ebb::internal {

using copyspace::MutatorsStopped;

namespace {

// Mutators that may assist at a time. A small heap has no memory for their worklists to spare.
int Assistants(const Options& options) {
  constexpr int64_t kHeapBytesPerAssistant = int64_t{4} << 20;
  if (!IsConcurrent(options.collector)) return 0;
  const int64_t useful = options.max_bytes / kHeapBytesPerAssistant;
  return static_cast<int>(std::min<int64_t>(useful, options.workers));
}

}  // namespace

void ClearUnlessAlive(const Spaces& spaces, std::atomic<uintptr_t>& slot) {
  // Acquire and release: as MutatorForwarder::ForwardLoaded. A failure means that a mutator has
  // stored something newer, which is alive.
  uintptr_t bits = slot.load(std::memory_order_acquire);
  if (bits == 0) return;
  const uintptr_t now = spaces.SurvivorOf(bits);
  if (now == bits) return;
  // As above.
  slot.compare_exchange_strong(bits, now, std::memory_order_release, std::memory_order_relaxed);
}

Cycle::Cycle(Spaces& spaces, RootTable& roots, RootTable& weak_roots, DeathWatches& watches,
             Balance& balance, Generations* generations, background::WorkerPool& pool,
             const Options& options)
    : spaces_(spaces),
      roots_(roots),
      weak_roots_(weak_roots),
      watches_(watches),
      balance_(balance),
      generations_(generations),
      stress_(options.stress),
      trace_(spaces, pool,
             {.workers = options.workers,
              .concurrent_workers = options.concurrent_workers,
              .assistants = Assistants(options),
              .fail_evacuation = options.stress.fail_evacuation,
              .worklist_capacity = options.stress.worklist_capacity}) {
  DebitTables();
}

Cycle::~Cycle() { spaces_.ledger().Credit(debited_); }

absl::StatusOr<CycleResult> Cycle::RunOne(const Safepoints::Pause& pause, bool in_part) {
  CycleResult result;
  const MutatorsStopped& stopped = pause.stopped();
  // The last cycle may have forbidden access to what this one copies to.
  if (absl::Status status = AllowAccessToReserve(stopped); !status.ok()) return status;
  if (stress_.verify) VerifyOrStop(pause, "before a cycle");

  // Objects end where the allocators stood: from here on all accounts are exact.
  CloseAllocators(pause.mutators());
  // What is young becomes old, as far as there is room. The rest are roots of this cycle.
  const bool nursery_is_empty = EmptyNursery(pause, in_part);
  if (!nursery_is_empty) generations_->ForgetEdges();
  // What was active becomes from-space, and nothing is marked.
  Flip(stopped);
  if (in_part) spaces_.copy().EvacuateInPart(stopped);
  // Copies go where no cycle moves them, if that is wanted.
  trace_.BeginFreezing(/*may_freeze=*/!in_part, stopped);
  if (!nursery_is_empty && trace_.rules().freezer() != nullptr) {
    trace_.freezer().NoteLeft(spaces_.nursery().allocated_bytes().size());
  }
  // Every object that a root leads to is copied or marked, and every reference to it forwarded.
  trace_.rules().SetInPart(in_part);
  result.trace = ForwardAll(pause.mutators());
  trace_.rules().SetInPart(false);
  // A weak reference to what was not reached is null from here on.
  ClearWeakRoots();
  // Objects that could not be copied stay, among the remains of those that could.
  if (in_part || result.trace.evacuation.retained_objects > 0) {
    MakeRetainedRegionsParsable(spaces_.copy());
  }
  // What was not reached is garbage; its memory is released after the pause.
  Sweep(stopped);
  NoteFreed(result.trace);
  balance_.CheckAtCycle(stopped);
  if (generations_ != nullptr) generations_->RememberEdgesToWhatIsLeft();

  result.live_bytes = spaces_.object_bytes().count();
  DebitTables();
  if (stress_.verify) VerifyOrStop(pause, "after a cycle");
  SpoilFromSpace(stopped);
  return result;
}

absl::StatusOr<CycleResult> Cycle::Compact(const Safepoints::Pause& pause) {
  constexpr int kMostCycles = 16;  // the room about doubles with each
  constexpr int kMostInVain = 2;   // that have found no garbage: nearly all that there is lives
  absl::StatusOr<CycleResult> result = absl::InternalError("nothing was retained");
  EvacuationCounts sum;
  platform::Bytes least = spaces_.copy().allocated_bytes();
  int in_vain = 0;
  for (int i = 0; i < kMostCycles && in_vain < kMostInVain && has_retained(); ++i) {
    result = RunOne(pause, /*in_part=*/true);
    if (!result.ok()) return result;
    const platform::Bytes now = spaces_.copy().allocated_bytes();
    in_vain = now < least ? 0 : in_vain + 1;
    least = std::min(least, now);
    sum += result->trace.evacuation;
    result->trace.evacuation = sum;
  }
  return result;
}

void Cycle::CloseAllocators(const std::vector<Mutator*>& mutators) {
  for (Mutator* mutator : mutators) mutator->CloseAllocator();
}

absl::Status Cycle::AllowAccessToReserve(const MutatorsStopped& stopped) {
  if (!stress_.protect_from_space) return absl::OkStatus();
  return spaces_.copy().ProtectReserve(platform::Access::kReadWrite, stopped);
}

bool Cycle::EmptyNursery(const Safepoints::Pause& pause, bool in_part) {
  return generations_ == nullptr ||
         generations_->EmptyNursery(pause.mutators(), in_part, pause.stopped());
}

bool Cycle::has_retained() const {
  return spaces_.copy().has_retained() ||
         (generations_ != nullptr && generations_->has_retained());
}

void Cycle::Flip(const MutatorsStopped& stopped) {
  spaces_.pinned().ClearMarks(stopped);
  spaces_.large().ClearMarks(stopped);
  in_copies_ = spaces_.copy().allocated_bytes();
  spaces_.copy().Flip(stopped);
  if (generations_ != nullptr) generations_->NoteFlip(stopped);
}

MinorCounts Cycle::RunMinor(const Safepoints::Pause& pause, bool beside_cycle) {
  if (stress_.verify && !beside_cycle) VerifyOrStop(pause, "before a minor cycle");
  for (Mutator* mutator : pause.mutators()) mutator->CloseForMinorCycle();
  const MinorCounts counts =
      generations_->Collect(pause.mutators(), beside_cycle, pause.stopped());
  if (!beside_cycle) {
    balance_.NoteFreed();
    balance_.CheckAtCycle(pause.stopped());
  }
  if (stress_.verify && !beside_cycle) VerifyOrStop(pause, "after a minor cycle");
  return counts;
}

TraceCounts Cycle::ForwardAll(const std::vector<Mutator*>& mutators) {
  const RootTable::Scan persistents(roots_);
  const size_t shares = 1 + mutators.size() + persistents.chunk_count();
  return trace_.Run(shares, [&](size_t share, Trace::ForwardSlot forward) {
    if (share == 0) {
      if (generations_ != nullptr) generations_->ForEachEdgeLeft(forward);
    } else if (share <= mutators.size()) {
      mutators[share - 1]->ForEachLocal(forward);
    } else {
      persistents.VisitChunk(share - mutators.size() - 1, forward);
    }
  });
}

void Cycle::ClearWeakRoots() {
  RootTable::Scan(weak_roots_).Visit([this](auto& slot) { ClearUnlessAlive(spaces_, slot); });
  TellDeathWatches();
}

void Cycle::TellDeathWatches() {
  watches_.ForEach([this](DeathWatch& watch) {
    watch.AfterTrace([this](uintptr_t object) { return spaces_.SurvivorOf(object); });
  });
}

void Cycle::Sweep(const MutatorsStopped& stopped) {
  spaces_.copy().FinishCycle(stopped);
  spaces_.pinned().Sweep();
  spaces_.large().Sweep();
}

void Cycle::NoteFreed(const TraceCounts& counts) {
  balance_.AddEvacuated(platform::Bytes(counts.evacuation.filled_bytes));
  balance_.AddLeft(in_copies_ - spaces_.copy().retained_bytes());
  balance_.NoteFreed();
}

void Cycle::SpoilFromSpace(const MutatorsStopped& stopped) {
  if (stress_.poison) spaces_.copy().PoisonReserve(stopped);
  if (stress_.protect_from_space) {
    absl::Status status = spaces_.copy().ProtectReserve(platform::Access::kNone, stopped);
    LOG_IF(ERROR, !status.ok()) << status;
  }
}

absl::Status Cycle::Verify(const Safepoints::Pause& pause) {
  CloseAllocators(pause.mutators());
  Verifier verifier(spaces_, generations_ != nullptr ? &generations_->remembered() : nullptr);
  const auto visit = [&](std::atomic<uintptr_t>& slot) {
    // Relaxed: mutators are stopped.
    verifier.AddRoot(slot.load(std::memory_order_relaxed));
  };
  for (Mutator* mutator : pause.mutators()) mutator->ForEachLocal(visit);
  // What is named by weak references only is there until a cycle finds it unreachable.
  for (RootTable* table : {&roots_, &weak_roots_}) RootTable::Scan(*table).Visit(visit);
  absl::Status status = verifier.Check();
  status.Update(balance_.Check(pause.stopped()));
  return status;
}

void Cycle::VerifyOrStop(const Safepoints::Pause& pause, const char* when) {
  absl::Status status = Verify(pause);
  CHECK(status.ok()) << "Heap::Verify " << when << ": " << status;
}

void Cycle::DebitTables() {
  const platform::Bytes now = trace_.memory();
  if (now > debited_) {
    spaces_.ledger().ForceDebit(now - debited_);
  } else {
    spaces_.ledger().Credit(debited_ - now);
  }
  debited_ = now;
}

}  // namespace ebb::internal
