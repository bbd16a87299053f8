#include "heap/allowance.h"

#include <algorithm>

namespace ebb::internal {

namespace {

// Until it is known how long pauses are: all of it may survive, and a megabyte is copied in about
// four times the usual target.
constexpr int64_t kFirst = 4;
// Shares of the target. Pauses vary, and one in a hundred may be over it: a pause above kTooLong is
// too near the target, and the allowance becomes what would have taken kAim. Below kShort there is
// room to grow, below kVeryShort much of it.
constexpr double kTooLong = 0.7;
constexpr double kAim = 0.5;
constexpr double kShort = 0.4;
constexpr double kVeryShort = 0.2;
// One long pause, which may have been the machine's doing, takes no more.
constexpr double kLeastShare = 0.25;

}  // namespace

Allowance::Allowance(int64_t target_nanos, int64_t most)
    : target_nanos_(static_cast<double>(target_nanos)),
      most_(std::max(most, kLeast)),
      regions_(std::min(kFirst, most_)) {}

// A pause is about linear in what survives, and that grows more slowly than what is allocated.
void Allowance::NotePause(int64_t nanos) {
  const double pause = static_cast<double>(nanos) / target_nanos_;
  if (pause > kTooLong) {
    const double share = std::max(kAim / pause, kLeastShare);
    regions_ = std::max(static_cast<int64_t>(share * static_cast<double>(regions_)), kLeast);
  } else if (pause < kShort) {
    regions_ = std::min(regions_ + regions_ / (pause < kVeryShort ? 2 : 16) + 1, most_);
  }
}

}  // namespace ebb::internal
