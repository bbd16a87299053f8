#include "heap/cycle.h"

#include <algorithm>
#include <cstring>

#include "absl/log/check.h"
#include "absl/log/log.h"
#include "heap/mutator.h"
#include "heap/region_walk.h"
#include "heap/verifier.h"

namespace ebb::internal {

using copyspace::ForwardingWord;
using copyspace::MutatorsStopped;
using copyspace::Reference;

namespace {

// Mutators that may assist at a time. A small heap has no memory for their worklists to spare.
int Assistants(const Options& options) {
  constexpr int64_t kHeapBytesPerAssistant = int64_t{4} << 20;
  if (options.collector != Collector::kConcurrent) return 0;
  const int64_t useful = options.max_bytes / kHeapBytesPerAssistant;
  return static_cast<int>(std::min<int64_t>(useful, options.workers));
}

}  // namespace

Cycle::Cycle(Spaces& spaces, RootTable& roots, background::WorkerPool& pool, const Options& options)
    : spaces_(spaces),
      roots_(roots),
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

absl::StatusOr<CycleResult> Cycle::Run(const Safepoints::Pause& pause) {
  CycleResult result;
  const MutatorsStopped& stopped = pause.stopped();
  // The last cycle may have forbidden access to what this one copies to.
  if (absl::Status status = AllowAccessToReserve(stopped); !status.ok()) return status;
  if (stress_.verify) VerifyOrStop(pause, "before a cycle");

  // Objects end where the allocators stood: from here on all accounts are exact.
  CloseAllocators(pause.mutators());
  // What was active becomes from-space, and nothing is marked.
  Flip(stopped);
  // Every object that a root leads to is copied or marked, and every reference to it forwarded.
  result.trace = ForwardAll(pause.mutators());
  // Objects that could not be copied stay, among the remains of those that could.
  if (result.trace.evacuation.retained_objects > 0) MakeRetainedRegionsParsable();
  // What was not reached is garbage; its memory is released after the pause.
  Sweep(stopped);

  result.live_bytes = spaces_.object_bytes().count();
  DebitTables();
  if (stress_.verify) VerifyOrStop(pause, "after a cycle");
  SpoilFromSpace(stopped);
  return result;
}

void Cycle::CloseAllocators(const std::vector<Mutator*>& mutators) {
  for (Mutator* mutator : mutators) mutator->CloseAllocator();
}

absl::Status Cycle::AllowAccessToReserve(const MutatorsStopped& stopped) {
  if (!stress_.protect_from_space) return absl::OkStatus();
  return spaces_.copy().ProtectReserve(platform::Access::kReadWrite, stopped);
}

void Cycle::Flip(const MutatorsStopped& stopped) {
  spaces_.pinned().ClearMarks(stopped);
  spaces_.large().ClearMarks(stopped);
  spaces_.copy().Flip(stopped);
}

TraceCounts Cycle::ForwardAll(const std::vector<Mutator*>& mutators) {
  const RootTable::Scan persistents(roots_);
  const size_t shares = mutators.size() + persistents.chunk_count();
  return trace_.Run(shares, [&](size_t share, Trace::ForwardSlot forward) {
    if (share < mutators.size()) {
      mutators[share]->ForEachLocal(forward);
    } else {
      persistents.VisitChunk(share - mutators.size(), forward);
    }
  });
}

// inv.region-parsable, also of a region that was evacuated in part: what has left it becomes a
// plain dead object again, of the same size. (Its word leads to a copy that the next cycle moves,
// and the tracer may have used the body's first word, an array's length, as a link.) So does what
// an earlier cycle retained and this one did not reach: in the next one its word would say that it
// was.
void Cycle::MakeRetainedRegionsParsable() {
  const int parity = spaces_.copy().cycle_parity();
  spaces_.copy().ForEachBlock([=](copyspace::Block& block) {
    for (int region = 0; region < copyspace::kRegionsPerBlock; ++region) {
      if (!block.failed(region)) continue;
      ForEachObject(block, region, [=](Reference object, auto word, const TypeInfo& type) {
        if (word.retained_in(parity)) return;
        if (word.is_forwarded() && type.kind == ObjectKind::kArray) {
          std::memcpy(reinterpret_cast<void*>(object),
                      reinterpret_cast<const void*>(word.forwarded()), sizeof(uint64_t));
        }
        ForwardingWord::Of(object).Initialize(reinterpret_cast<uintptr_t>(&type));
      });
    }
  });
}

void Cycle::Sweep(const MutatorsStopped& stopped) {
  spaces_.copy().FinishCycle(stopped);
  spaces_.pinned().Sweep();
  spaces_.large().Sweep();
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
  Verifier verifier(spaces_);
  const auto visit = [&](std::atomic<uintptr_t>& slot) {
    // Relaxed: mutators are stopped.
    verifier.AddRoot(slot.load(std::memory_order_relaxed));
  };
  for (Mutator* mutator : pause.mutators()) mutator->ForEachLocal(visit);
  {
    const RootTable::Scan persistents(roots_);
    for (size_t i = 0; i < persistents.chunk_count(); ++i) persistents.VisitChunk(i, visit);
  }
  return verifier.Check();
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
