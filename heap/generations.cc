#include "heap/generations.h"

#include <algorithm>
#include <limits>

#include "absl/time/time.h"
#include "copyspace/geometry.h"
#include "heap/region_walk.h"
#include "platform/clock.h"

namespace ebb::internal {

using copyspace::kRegionSize;
using copyspace::Reference;
using platform::Bytes;

namespace {

// How much is allocated past a nursery that was not worth its pauses, in regions: 32 MiB the first
// time, then more than twice as much each time, to 1 GiB.
constexpr int64_t kLeastBypass = 512;
constexpr int64_t kMostBypass = 16 << 10;

// Of the regions of one half: copies in another order waste some, and want two open regions.
int64_t MostAllowed(const Options& options) {
  const int64_t regions = Bytes(options.nursery_bytes) / copyspace::kBlockSize;
  return regions - regions / 8 - 1;
}

// A test of rare paths wants the set to overflow.
int64_t MostChunks(const Options& options) {
  return options.stress.worklist_capacity > 0 ? 1 : std::numeric_limits<int64_t>::max();
}

// What is retained keeps a whole region of a nursery that has few: not as often.
int64_t FailEvery(const Options& options) { return 16 * options.stress.fail_evacuation; }

}  // namespace

Generations::Generations(Spaces& spaces, RootTable& roots, RootTable& weak_roots,
                         DeathWatches& watches, Balance& balance, const Options& options)
    : spaces_(spaces),
      balance_(balance),
      poison_(options.stress.poison),
      may_bypass_(options.nursery_bypass),
      remembered_(spaces.ledger(), spaces.overdraft(), MostChunks(options)),
      rules_(FailEvery(options)),
      minor_(spaces, roots, weak_roots, watches, remembered_, rules_),
      allowance_(absl::ToInt64Nanoseconds(options.minor_pause_target), MostAllowed(options)),
      regions_left_(allowance_.regions()) {}

MinorCounts Generations::Run(const std::vector<Mutator*>& mutators,
                             MinorCycle::Survivors survivors,
                             const copyspace::MutatorsStopped& stopped) {
  // Relaxed: see its declaration.
  minor_cycles_.fetch_add(1, std::memory_order_relaxed);
  const MinorCounts counts = minor_.Run(mutators, survivors, stopped);
  balance_.AddEvacuated(Bytes(counts.evacuated_bytes));
  balance_.AddLeft(Bytes(counts.left_bytes));
  if (poison_) spaces_.nursery().PoisonReserve(stopped);
  left_ = spaces_.nursery().allocated_bytes();
  SetRegionsLeft();
  return counts;
}

void Generations::SetRegionsLeft() {
  const Bytes not_free = left_ + spaces_.nursery().fragmentation();
  const int64_t regions = RoundUp(not_free, kRegionSize) / kRegionSize;
  // Relaxed: see its declaration.
  regions_left_.store(allowance_.regions() - regions, std::memory_order_relaxed);
}

MinorCounts Generations::Collect(const std::vector<Mutator*>& mutators, bool beside_cycle,
                                 const copyspace::MutatorsStopped& stopped) {
  if (!nursery_in_use()) {
    // Of an empty nursery; who has waited for the pause need not ask for another.
    minor_cycles_.fetch_add(1, std::memory_order_relaxed);  // see its declaration
    bypass_regions_ = 0;
    trials_ = 0;
    fresh_ = evacuated_ = 0;
    SetRegionsLeft();
    return MinorCounts();
  }
  const int64_t begin = platform::MonotonicNanos();
  const Bytes fresh = spaces_.nursery().allocated_bytes() - left_;
  const auto survivors =
      beside_cycle ? MinorCycle::Survivors::kPromote : MinorCycle::Survivors::kAge;
  MinorCounts counts = Run(mutators, survivors, stopped);
  const bool too_much = TooMuchSurvives(fresh, Bytes(counts.evacuated_bytes));
  // Relaxed: see its declaration.
  const bool crowded = regions_left_.load(std::memory_order_relaxed) < allowance_.regions() / 4 + 1;
  if ((too_much || crowded) && minor_.anything_left()) {
    counts += Run(mutators, MinorCycle::Survivors::kPromote, stopped);
  }
  if (beside_cycle) minor_.AlignWithCopySpace(stopped);
  if (too_much && !minor_.anything_left()) {
    BypassNursery(std::min(2 * last_bypass_regions_ + kLeastBypass, kMostBypass));
  }
  allowance_.NotePause(platform::MonotonicNanos() - begin);
  return counts;
}

// A whole cycle, beside the program, looks at about as much as mutators allocate until the next. A
// nursery is worth its pauses where it copies a small part of that.
bool Generations::TooMuchSurvives(Bytes fresh, Bytes evacuated) {
  constexpr int64_t kTrials = 4;
  constexpr double kMostEvacuated = 0.3;
  constexpr double kKeep = 0.75;
  fresh_ = fresh_ * kKeep + static_cast<double>(fresh.count());
  evacuated_ = evacuated_ * kKeep + static_cast<double>(evacuated.count());
  if (++trials_ < kTrials || !may_bypass_) return false;
  const bool too_much = evacuated_ > kMostEvacuated * fresh_;
  if (!too_much && trials_ > 4 * kTrials) last_bypass_regions_ = 0;
  return too_much;
}

void Generations::BypassNursery(int64_t regions) {
  bypass_regions_ = last_bypass_regions_ = regions;
  // Relaxed: see its declaration.
  regions_left_.store(regions, std::memory_order_relaxed);
}

bool Generations::EmptyNursery(const std::vector<Mutator*>& mutators, bool in_part,
                               const copyspace::MutatorsStopped& stopped) {
  rules_.SetInPart(in_part);
  if (nursery_in_use()) Run(mutators, MinorCycle::Survivors::kPromote, stopped);
  rules_.SetInPart(false);
  return !minor_.anything_left();
}

void Generations::ForgetEdges() {
  if (remembered_.TakeOverflow()) {
    spaces_.ForEachRemembered([this](uintptr_t edge) { spaces_.Forget(edge); });
  }
  remembered_.TakeEach([this](const EdgeChunk& chunk) {
    for (size_t i = 0; i < chunk.count; ++i) spaces_.Forget(chunk.edges[i]);
  });
}

void Generations::ForEachEdgeLeft(
    absl::FunctionRef<void(std::atomic<uintptr_t>& slot)> visit) const {
  if (!minor_.anything_left()) return;
  minor_.ForEachLeft([&](Reference object) {
    ForEachReferenceOf(TypeOf(object), object, [&](uintptr_t edge) {
      // Relaxed: mutators are stopped.
      if (Slot(edge).load(std::memory_order_relaxed) != 0) visit(Slot(edge));
    });
  });
}

void Generations::RememberEdgesToWhatIsLeft() {
  if (!minor_.anything_left()) return;
  EdgeBuffer edges(&remembered_);
  const auto scan = [&](Reference object) {
    ForEachReferenceOf(TypeOf(object), object, [&](uintptr_t edge) {
      // Relaxed: as above.
      const Reference reference = Slot(edge).load(std::memory_order_relaxed);
      if (spaces_.InNursery(reference) && spaces_.Remember(edge)) edges.Add(edge);
    });
  };
  spaces_.ForEachInPlace(scan);
  ForEachLiveAfterCycle(spaces_.copy(), scan);
}

}  // namespace ebb::internal
