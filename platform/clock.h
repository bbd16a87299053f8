// Monotonic time: a function for measuring, and a Clock for those that a test must be able to
// give another time (FakeClock).
// Design: docs/design/platform.md#clock

#ifndef EBB_PLATFORM_CLOCK_H_
#define EBB_PLATFORM_CLOCK_H_

#include <time.h>

#include <cstdint>

#include "absl/time/time.h"

namespace ebb::platform {

// Nanoseconds since an arbitrary start, never falling. Thread-safe; some 20 ns (no system call
// where the kernel offers its clock through the vDSO).
// CLOCK_MONOTONIC, because setting the wall clock does not move it, and because it stands still
// while the machine is suspended: a suspend is neither a long pause nor a backlog of ticks.
inline int64_t MonotonicNanos() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);  // cannot fail: the clock exists and `now` is ours
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;

  // Since an arbitrary start, never falling.
  virtual absl::Duration Now() const = 0;

  // MonotonicNanos as a Clock. Process-wide, never destroyed.
  static const Clock& Monotonic();
};

}  // namespace ebb::platform

#endif  // EBB_PLATFORM_CLOCK_H_
