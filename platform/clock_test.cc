#include "platform/clock.h"

#include <cstdint>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "platform/fake_clock.h"

namespace ebb::platform {
namespace {

TEST(MonotonicNanosTest, NeverFalls) {
  int64_t last = MonotonicNanos();
  for (int i = 0; i < 100000; ++i) {
    const int64_t now = MonotonicNanos();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(MonotonicNanosTest, Advances) {
  const int64_t start = MonotonicNanos();
  while (MonotonicNanos() == start) {
  }
}

TEST(ClockTest, MonotonicIsMonotonicNanos) {
  const int64_t before = MonotonicNanos();
  const absl::Duration now = Clock::Monotonic().Now();
  const int64_t after = MonotonicNanos();
  EXPECT_GE(now, absl::Nanoseconds(before));
  EXPECT_LE(now, absl::Nanoseconds(after));
}

TEST(FakeClockTest, MovesByHandAlone) {
  FakeClock fake;
  const Clock& clock = fake;
  EXPECT_EQ(clock.Now(), absl::ZeroDuration());
  fake.Advance(absl::Seconds(5));
  EXPECT_EQ(clock.Now(), absl::Seconds(5));
  EXPECT_EQ(clock.Now(), absl::Seconds(5));
  fake.Advance(absl::ZeroDuration());
  fake.Advance(absl::Milliseconds(1));
  EXPECT_EQ(clock.Now(), absl::Milliseconds(5001));
}

}  // namespace
}  // namespace ebb::platform
