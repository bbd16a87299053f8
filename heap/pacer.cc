#include "heap/pacer.h"

#include <algorithm>

namespace ebb::internal {

using copyspace::kRegionSize;
using platform::Bytes;

namespace {

// A request takes about as long as a mutator takes to fill so much.
constexpr Bytes kRoomAtRequest = 16 * kRegionSize;
// Of mutators' room at the flip, what they run on in while a cycle finishes.
constexpr double kRoomToFinish = 0.25;
// Each word of such an array may be an edge to follow; of what is evacuated, only some are.
constexpr int64_t kScanWeight = 2;
// Copies waste this share of what they need, at the ends of regions.
constexpr int64_t kWasteDivisor = 8;

Bytes Share(double share, Bytes of) {
  return Bytes(static_cast<int64_t>(share * static_cast<double>(of.count())));
}

}  // namespace

// Expected to live is what lived at the last cycle, and of what has been allocated since half as
// large a share as of late: more would leave mutators little when a program stops growing. If it
// goes on, evacuation takes more than was expected, and all that it may take is kept from then on.
void Pacer::BeginCycle(Bytes in_copies, int64_t evacuators,
                       const copyspace::MutatorsStopped& stopped) {
  in_copies_ = in_copies;
  const Bytes fresh = std::max(in_copies - evacuated_, Bytes(0));
  const Bytes live = std::min(in_copies, evacuated_) + Share(new_that_live_ / 2, fresh);
  // Mutators may be many, and blocked.
  const Bytes open_regions = std::min(evacuators * kRegionSize, space_.room().for_mutators / 8);
  const auto with_waste = [open_regions](Bytes bytes) {
    return bytes + bytes / kWasteDivisor + open_regions;
  };
  space_.KeepForEvacuation(
      {.expected = with_waste(live), .at_least = open_regions, .at_most = with_waste(in_copies)},
      stopped);
  const copyspace::CopySpace::Room room = space_.room();
  // Relaxed, both: see their declaration.
  for_mutators_at_flip_.store(room.for_mutators.count(), std::memory_order_relaxed);
  for_evacuation_at_flip_.store(room.for_evacuation.count(), std::memory_order_relaxed);
}

void Pacer::EndCycle(Bytes evacuated, Bytes scanned) {
  if (in_copies_ > evacuated_) {
    const double share = static_cast<double>((evacuated - evacuated_).count()) /
                         static_cast<double>((in_copies_ - evacuated_).count());
    new_that_live_ = (new_that_live_ + std::clamp(share, 0.0, 1.0)) / 2;
  }
  evacuated_ = evacuated;
  // Relaxed: see its declaration.
  expected_scans_.store(scanned.count(), std::memory_order_relaxed);
}

// Starting early wins no room: a flip makes a whole half available, whenever it comes. So a cycle
// begins when the active half is nearly used up, just early enough for its flip to come first.
//
// Beside a cycle, what is still to be evacuated and scanned falls with mutators' room: when a share
// of this has gone, the same share of that should have been done, by whomever. The regions that
// copying threads keep open count as work to the end; where nothing is grey any more,
// Trace::SeekWork says so.
Pacer::Advice Pacer::Advise(Bytes scanned) const {
  const copyspace::CopySpace::Room room = space_.room();
  const bool begin_cycle = room.for_mutators < std::min(kRoomAtRequest, max_bytes_ / 16);
  // Relaxed, all three: a value of another cycle's costs some pace.
  const int64_t at_flip = for_mutators_at_flip_.load(std::memory_order_relaxed);
  if (room.for_evacuation == Bytes(0) || at_flip == 0) return {begin_cycle, Bytes(0)};
  const double left = static_cast<double>(room.for_mutators.count()) / static_cast<double>(at_flip);
  const Bytes scans(expected_scans_.load(std::memory_order_relaxed));
  const Bytes in_all =
      Bytes(for_evacuation_at_flip_.load(std::memory_order_relaxed)) + kScanWeight * scans;
  const Bytes to_do = room.for_evacuation + kScanWeight * std::max(scans - scanned, Bytes(0));
  const Bytes allowed = Share(std::max(left - kRoomToFinish, 0.0) / (1 - kRoomToFinish), in_all);
  const Bytes behind = std::max(to_do - allowed, Bytes(0));
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

bool Pacer::AwaitRoom(int64_t seen, absl::Duration most) const {
  absl::MutexLock lock(&mu_);
  const auto noted = [this, seen]()
                         ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return room_noted_ != seen; };
  return mu_.AwaitWithTimeout(absl::Condition(&noted), most);
}

}  // namespace ebb::internal
