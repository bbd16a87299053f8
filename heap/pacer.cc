#include "heap/pacer.h"

#include <algorithm>

namespace ebb::internal {

using copyspace::kRegionSize;
using platform::Bytes;
using platform::Scaled;

namespace {

// Of what mutators took until a flip, so much is kept for the next, which may be a later one.
constexpr int64_t kRequestMargin = 2;
// Of mutators' room at the flip, what they run on in while a cycle finishes.
constexpr double kRoomToFinish = 0.25;
// So much more than their share mutators may take, at first; it falls with their room. The cycle's
// own threads begin later than mutators go on, and what they miss is no reason to keep a mutator.
constexpr double kHeadStart = 1.0 / 8;
// Each word of such an array may be an edge to follow; of what is evacuated, only some are.
constexpr int64_t kScanWeight = 2;
// Copies are made in another order each time, so what they wasted last time is no promise.
constexpr double kLeastWaste = 1.0 / 64;

}  // namespace

// What mutators take from the request to the flip is their rate of allocation times that time. If
// they ran dry meanwhile, it would have been more; but if there was nothing to begin with, an
// earlier request would not have helped.
void Pacer::NoteFlip(const copyspace::MutatorsStopped&) {
  // Relaxed, all: see their declaration.
  const Bytes at_request(room_at_request_.exchange(kNoRequest, std::memory_order_relaxed));
  if (at_request.count() == kNoRequest) return;
  const Bytes left = space_.room().for_mutators;
  const Bytes before(request_below_.load(std::memory_order_relaxed));
  const bool ran_dry = left == Bytes(0) && at_request > Bytes(0);
  const Bytes measured =
      ran_dry ? 2 * before : kRequestMargin * std::max(at_request - left, Bytes(0));
  // Falls slowly: what was needed once may be needed again.
  const Bytes wanted = std::max({measured, before - before / 8, kLeastRoomAtRequest});
  request_below_.store(std::min(wanted, MostRoomAtRequest()).count(), std::memory_order_relaxed);
}

// Expected to live is what lived at the last cycle, and of what has been allocated since half as
// large a share as of late: more would leave mutators little when a program stops growing. If it
// goes on, evacuation takes more than was expected, and all that it may take is kept from then on.
void Pacer::BeginCycle(Bytes in_copies, int64_t evacuators,
                       const copyspace::MutatorsStopped& stopped) {
  {
    absl::MutexLock lock(&mu_);
    cycle_runs_ = true;
  }
  in_copies_ = in_copies;
  const Bytes fresh = std::max(in_copies - evacuated_, Bytes(0));
  const Bytes live = std::min(in_copies, evacuated_) + Scaled(fresh, new_that_live_ / 2);
  // Mutators may be many, and blocked.
  const Bytes open_regions = std::min(evacuators * kRegionSize, space_.room().for_mutators / 8);
  const auto with_waste = [open_regions](Bytes bytes, double waste) {
    return bytes + Scaled(bytes, waste) + open_regions;
  };
  space_.KeepForEvacuation({.expected = with_waste(live, waste_),
                            .at_least = open_regions,
                            .at_most = with_waste(in_copies, kMostWaste)},
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
  if (evacuated > Bytes(0)) {
    const double waste = static_cast<double>((space_.taken_for_evacuation() - evacuated).count()) /
                         static_cast<double>(evacuated.count());
    // Rises at once, falls slowly: too little kept is worse than too much.
    waste_ = std::clamp(std::max(waste, (waste + waste_) / 2), kLeastWaste, kMostWaste);
  }
  evacuated_ = evacuated;
  // Relaxed: see its declaration.
  expected_scans_.store(scanned.count(), std::memory_order_relaxed);
}

// Starting early wins no room: a flip makes a whole half available, whenever it comes. So a cycle
// begins when the active half is nearly used up, just early enough for its flip to come first.
//
// Beside a cycle, what is still to be evacuated and scanned falls with mutators' room: when a share
// of this has gone, about the same share of that should have been done, by whomever. The regions
// that copying threads keep open count as work to the end; where nothing is grey any more,
// Trace::SeekWork says so.
Pacer::Advice Pacer::Advise(Bytes scanned) {
  const copyspace::CopySpace::Room room = space_.room();
  const bool cycle_runs = room.for_evacuation > Bytes(0);
  // Relaxed, both: see their declaration.
  const Bytes request_below(request_below_.load(std::memory_order_relaxed));
  const bool begin_cycle = room.for_mutators < std::min(request_below, MostRoomAtRequest());
  if (begin_cycle && !cycle_runs) {
    int64_t none = kNoRequest;
    // Relaxed: see its declaration.
    room_at_request_.compare_exchange_strong(none, room.for_mutators.count(),
                                             std::memory_order_relaxed);
  }
  // Relaxed, all three: a value of another cycle's costs some pace.
  const int64_t at_flip = for_mutators_at_flip_.load(std::memory_order_relaxed);
  if (!cycle_runs || at_flip == 0) return {begin_cycle, Bytes(0)};
  const double left = static_cast<double>(room.for_mutators.count()) / static_cast<double>(at_flip);
  const Bytes scans(expected_scans_.load(std::memory_order_relaxed));
  const Bytes in_all =
      Bytes(for_evacuation_at_flip_.load(std::memory_order_relaxed)) + kScanWeight * scans;
  const Bytes to_do = room.for_evacuation + kScanWeight * std::max(scans - scanned, Bytes(0));
  const double until_finish = std::max(left - kRoomToFinish, 0.0) / (1 - kRoomToFinish);
  const Bytes allowed = Scaled(in_all, (1 + kHeadStart) * until_finish);
  const Bytes behind = std::max(to_do - allowed, Bytes(0));
  return {begin_cycle, std::min(behind, kMostAssistance)};
}

void Pacer::NoteRoom() {
  absl::MutexLock lock(&mu_);
  ++room_noted_;
}

void Pacer::NoteEnd() {
  absl::MutexLock lock(&mu_);
  ++room_noted_;
  ++cycles_ended_;
  cycle_runs_ = false;
}

bool Pacer::cycle_runs() const {
  absl::MutexLock lock(&mu_);
  return cycle_runs_;
}

int64_t Pacer::ends_of_a_whole_cycle() const {
  absl::MutexLock lock(&mu_);
  return cycles_ended_ + (cycle_runs_ ? 2 : 1);
}

int64_t Pacer::cycles_ended() const {
  absl::MutexLock lock(&mu_);
  return cycles_ended_;
}

// In the child no thread is left to end the cycle that had done its work before the fork.
void Pacer::AtFork(platform::ForkStep step) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  platform::LockAcrossFork(mu_, step);
  if (step == platform::ForkStep::kInChild) cycle_runs_ = false;
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
