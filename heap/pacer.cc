#include "heap/pacer.h"

#include <algorithm>

namespace ebb::internal {

using copyspace::kRegionSize;
using platform::Bytes;

namespace {

// A request takes about as long as a mutator takes to fill so much.
constexpr Bytes kRoomAtRequest = 16 * kRegionSize;
// A mutator's longest turn of evacuating.
constexpr Bytes kMostAssistance = 8 * kRegionSize;
// Of mutators' room at the flip, what they run on in while a cycle that has evacuated finishes.
constexpr double kRoomToFinish = 0.125;
// Copies waste this share of what they need, at the ends of regions.
constexpr int64_t kWasteDivisor = 16;

}  // namespace

// A cycle that finds no memory is worse than mutators that wait for it. What survives is estimated
// by its share in the last cycle: then a heap that grows is expected to go on growing.
void Pacer::BeginCycle(Bytes in_copies, int64_t evacuators,
                       const copyspace::MutatorsStopped& stopped) {
  in_copies_ = in_copies;
  const Bytes live(static_cast<int64_t>(live_share_ * static_cast<double>(in_copies.count())));
  const Bytes waste = live / kWasteDivisor + evacuators * kRegionSize;
  space_.KeepForEvacuation(live + waste, /*at_least=*/waste, stopped);
  const copyspace::CopySpace::Room room = space_.room();
  for_mutators_at_flip_.store(room.for_mutators.count(), std::memory_order_relaxed);
  for_evacuation_at_flip_.store(room.for_evacuation.count(), std::memory_order_relaxed);
}

void Pacer::EndCycle(Bytes evacuated) {
  if (in_copies_ == Bytes(0)) return;
  live_share_ = std::min(
      1.0, static_cast<double>(evacuated.count()) / static_cast<double>(in_copies_.count()));
}

// Starting early wins no room: a flip makes a whole half available, whenever it comes. So a cycle
// begins when the active half is nearly used up, just early enough for its flip to come first.
//
// Beside a cycle, what is still to be evacuated falls with mutators' room: when a share of this has
// gone, the same share of that should have been done, by whomever.
Pacer::Advice Pacer::AfterRefill() const {
  const copyspace::CopySpace::Room room = space_.room();
  const bool begin_cycle = room.for_mutators < std::min(kRoomAtRequest, max_bytes_ / 16);
  const int64_t for_mutators = for_mutators_at_flip_.load(std::memory_order_relaxed);
  if (room.for_evacuation == Bytes(0) || for_mutators == 0) return {begin_cycle, Bytes(0)};
  const double in_all = static_cast<double>(for_mutators);
  const double to_finish = kRoomToFinish * in_all;
  const double left = std::max(0.0, static_cast<double>(room.for_mutators.count()) - to_finish) /
                      (in_all - to_finish);
  const auto allowed = static_cast<int64_t>(
      left * static_cast<double>(for_evacuation_at_flip_.load(std::memory_order_relaxed)));
  const Bytes behind = std::max(room.for_evacuation - Bytes(allowed), Bytes(0));
  return {begin_cycle, std::min(behind, kMostAssistance)};
}

void Pacer::NoteRoom() {
  absl::MutexLock lock(&mu_);
  ++room_noted_;
}

int64_t Pacer::room_noted() const {
  absl::MutexLock lock(&mu_);
  return room_noted_;
}

void Pacer::AwaitRoom(int64_t seen) const {
  absl::MutexLock lock(&mu_);
  const auto noted = [this, seen]()
                         ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return room_noted_ != seen; };
  mu_.Await(absl::Condition(&noted));
}

}  // namespace ebb::internal
