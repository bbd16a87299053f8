#include "heap/sizer.h"

#include <algorithm>
#include <cmath>

#include "copyspace/geometry.h"

namespace ebb::internal {

using copyspace::kBlockSize;
using platform::Bytes;
using platform::MiB;
using platform::Scaled;

namespace {

// In this many seconds what is known of the rate of allocation comes to count half as much.
constexpr double kAllocationHalfLife = 4;
// From cycle to cycle, what is known of the speed of tracing.
constexpr double kTracingKeep = 0.5;
// Beyond what lives: copies in another order waste room at regions' ends, as do large objects in
// their last pages; the overdraft.
constexpr double kNeededShare = 1.0 / 8;
// A heap that has less room than this between two cycles does little but collect.
constexpr Bytes kLeastRoom = MiB(2);

// The heap gives up half of its room at each tick under pressure, and gets it back as slowly.
constexpr double kPressure = 0.10;
constexpr double kNoPressure = 0.05;
constexpr double kMostSqueezed = 1.0 / 8;

double Seconds(int64_t nanos) { return static_cast<double>(nanos) * 1e-9; }

}  // namespace

Sizer::Sizer(const Options& options, int64_t now)
    : policy_(options.sizing),
      least_(options.min_bytes),
      growth_(options.growth),
      price_(options.processors_per_gib / static_cast<double>(int64_t{1} << 30)),
      rate_at_(now) {}

void Sizer::NoteAllocated(Bytes allocated, int64_t now) {
  if (now > rate_at_) {
    const double seconds = Seconds(now - rate_at_);
    allocation_.Add(static_cast<double>((allocated - allocated_).count()), seconds,
                    std::exp2(-seconds / kAllocationHalfLife));
  }
  allocated_ = allocated;
  rate_at_ = now;
}

void Sizer::NoteCycle(const Cycle& cycle) {
  any_cycle_ = true;
  last_ = cycle;
  NoteAllocated(cycle.allocated, cycle.now);
  tracing_.Add(static_cast<double>(cycle.traced.count()), Seconds(cycle.nanos), kTracingKeep);
}

void Sizer::NoteTick(Bytes allocated, double pressure, int64_t now) {
  NoteAllocated(allocated, now);
  if (pressure > kPressure) squeeze_ = std::max(squeeze_ / 2, kMostSqueezed);
  if (pressure < kNoPressure) squeeze_ = std::min(squeeze_ * 2, 1.0);
}

Bytes Sizer::Needed() const {
  return Scaled(2 * last_.live_in_copies + last_.beside, 1 + kNeededShare);
}

// Growable: `growth` times what lives, the usual rule.
//
// Adaptive: M. Kirisame, P. Shenoy, P. Panchekha, "Optimal Heap Limits for Reducing Browser Memory
// Use", OOPSLA 2022 (arXiv 2204.10455): of all ways to share out memory among heaps, the least time
// goes into collection where each has E = sqrt(L g / (c s)) beyond what lives, L. Here g is the
// rate of allocation, s the speed of tracing. The share of time that collections take is (g / E) (L
// / s); that one byte more lowers it by c is what the rule says. A copying heap needs two bytes for
// each that can be allocated between two cycles; as a factor of memory's price that is part of c.
Bytes Sizer::RoomByPolicy(Bytes most) const {
  const Bytes live = last_.live_in_copies + last_.beside;
  switch (policy_) {
    case Sizing::kFixed:
      return most - Needed();
    case Sizing::kGrowable:
      return Scaled(live, growth_) - Needed();
    case Sizing::kAdaptive: {
      const double tracing = tracing_.bytes_per_second();
      if (tracing <= 0) return Bytes(0);
      const double seconds = static_cast<double>(last_.traced.count()) / tracing;
      return Bytes(
          static_cast<int64_t>(2 * std::sqrt(allocation_.bytes_per_second() * seconds / price_)));
    }
  }
  return Bytes(0);
}

Bytes Sizer::Limit(Bytes most) const {
  const Bytes least = std::min(least_, most);
  if (!any_cycle_ && policy_ != Sizing::kFixed) return least;
  const Bytes room = Scaled(std::max(RoomByPolicy(most), kLeastRoom), squeeze_);
  const Bytes wanted = Needed() + std::max(room, kLeastRoom);
  return std::clamp(RoundUp(wanted, kBlockSize), least, most);
}

// Only what is copied makes a cycle costly: of what lives otherwise, little is looked at.
void Sizer::NoteDry(int64_t cycles, Bytes allocated, Bytes room) {
  if (cycles == dry_cycle_) return;  // room that another thread took first
  const bool costly =
      kMostMarkCons * std::max(allocated - dry_allocated_, room) < last_.live_in_copies;
  costly_cycles_ = costly ? costly_cycles_ + 1 : 0;
  dry_cycle_ = cycles;
  dry_allocated_ = allocated;
}

bool Sizer::CollectsTooMuch() {
  if (costly_cycles_ < kMostCostlyCycles) return false;
  costly_cycles_ = 0;
  return true;
}

}  // namespace ebb::internal
