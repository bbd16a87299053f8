#include "platform/park.h"

#include <atomic>
#include <thread>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "platform/clock.h"

namespace ebb::platform {
namespace {

TEST(ParkerTest, ATokenThatComesFirstIsNotLost) {
  Parker parker;
  parker.Unpark();
  parker.Park();
}

TEST(ParkerTest, HoldsOneToken) {
  Parker parker;
  parker.Unpark();
  parker.Unpark();
  parker.Park();
  EXPECT_FALSE(parker.ParkFor(absl::ZeroDuration()));
}

TEST(ParkerTest, ZeroOrLessPolls) {
  Parker parker;
  EXPECT_FALSE(parker.ParkFor(absl::ZeroDuration()));
  EXPECT_FALSE(parker.ParkFor(-absl::InfiniteDuration()));
  parker.Unpark();
  EXPECT_TRUE(parker.ParkFor(absl::ZeroDuration()));
  EXPECT_FALSE(parker.ParkFor(absl::ZeroDuration()));
}

TEST(ParkerTest, TimesOutNotTooEarly) {
  Parker parker;
  const absl::Duration start = Clock::Monotonic().Now();
  EXPECT_FALSE(parker.ParkFor(absl::Milliseconds(20)));
  EXPECT_GE(Clock::Monotonic().Now() - start, absl::Milliseconds(20));
  // The announcement was withdrawn: the token stays for the next Park.
  parker.Unpark();
  parker.Park();
}

TEST(ParkerTest, TokenAtHandIsTakenWithoutWaiting) {
  Parker parker;
  parker.Unpark();
  EXPECT_TRUE(parker.ParkFor(absl::InfiniteDuration()));
  parker.Unpark();
  EXPECT_TRUE(parker.ParkFor(absl::Hours(24)));
}

TEST(ParkerTest, UnparkWakesTheSleeperAndHandsOverWhatWasWritten) {
  for (const absl::Duration timeout : {absl::InfiniteDuration(), absl::Hours(24 * 365)}) {
    Parker parker;
    int payload = 0;
    std::thread sleeper([&] {
      EXPECT_TRUE(parker.ParkFor(timeout));
      EXPECT_EQ(payload, 7);
    });
    payload = 7;
    parker.Unpark();
    sleeper.join();
  }
}

}  // namespace
}  // namespace ebb::platform
