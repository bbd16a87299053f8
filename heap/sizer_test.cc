#include "heap/sizer.h"

#include <cstdint>

#include "gtest/gtest.h"
#include "heap/options.h"
#include "platform/bytes.h"

namespace ebb::internal {
namespace {

using platform::Bytes;
using platform::MiB;

constexpr Bytes kMost = MiB(1024);
constexpr int64_t kSecond = 1'000'000'000;

Options WithPolicy(Sizing sizing) {
  Options options;
  options.sizing = sizing;
  options.min_bytes = 16 << 20;
  return options;
}

// A program that allocates `rate` a second and runs a cycle every second.
class Program {
 public:
  explicit Program(Sizer& sizer) : sizer_(sizer) {}

  void Cycle(Bytes live, Bytes rate, int64_t nanos, Bytes beside = Bytes(0)) {
    now_ += kSecond;
    allocated_ += rate;
    sizer_.NoteCycle({.live_in_copies = live,
                      .beside = beside,
                      .traced = live + beside,
                      .nanos = nanos,
                      .allocated = allocated_,
                      .now = now_});
  }
  void Tick(double pressure = 0) {
    now_ += kSecond;
    sizer_.NoteTick(allocated_, pressure, now_);
  }

 private:
  Sizer& sizer_;
  int64_t now_ = kSecond;
  Bytes allocated_;
};

void ExpectNear(Bytes actual, Bytes expected) {
  EXPECT_GE(actual, expected - expected / 50);
  EXPECT_LE(actual, expected + expected / 50);
}

TEST(SizerTest, FixedIsAllThereIs) {
  Sizer sizer(WithPolicy(Sizing::kFixed), kSecond);
  EXPECT_EQ(sizer.Limit(kMost), kMost);
  Program program(sizer);
  program.Cycle(MiB(10), MiB(100), kSecond / 100);
  EXPECT_EQ(sizer.Limit(kMost), kMost);
  EXPECT_EQ(sizer.Limit(MiB(8)), MiB(8)) << "whatever would be wanted";
}

TEST(SizerTest, GrowableIsAMultipleOfWhatLives) {
  Sizer sizer(WithPolicy(Sizing::kGrowable), kSecond);
  EXPECT_EQ(sizer.Limit(kMost), MiB(16)) << "where it begins";
  Program program(sizer);
  program.Cycle(MiB(50), MiB(100), kSecond / 100);
  EXPECT_EQ(sizer.Limit(kMost), MiB(150));
  program.Cycle(MiB(50), MiB(100), kSecond / 100, /*beside=*/MiB(30));
  EXPECT_EQ(sizer.Limit(kMost), MiB(240)) << "large objects live as well";
  program.Cycle(MiB(500), MiB(100), kSecond / 100);
  EXPECT_EQ(sizer.Limit(kMost), kMost);
  program.Cycle(MiB(1), MiB(100), kSecond / 100);
  EXPECT_EQ(sizer.Limit(kMost), MiB(16));
}

TEST(SizerTest, WhatLivesCanAlwaysBeMoved) {
  Options options = WithPolicy(Sizing::kGrowable);
  options.growth = 2;
  Sizer sizer(options, kSecond);
  Program program(sizer);
  program.Cycle(MiB(100), MiB(100), kSecond / 100);
  EXPECT_GT(sizer.Limit(kMost), MiB(225));
}

// The square root of (rate of allocation times the seconds that a cycle takes, over the price),
// twice.
TEST(SizerTest, AdaptiveFollowsTheSquareRootRule) {
  Sizer sizer(WithPolicy(Sizing::kAdaptive), kSecond);
  Program program(sizer);
  for (int i = 0; i < 40; ++i) program.Cycle(MiB(64), MiB(100), kSecond / 10);
  const Bytes needed = MiB(144);  // 64 MiB in both halves, and an eighth
  // sqrt(100 MiB/s * 0.1 s / (2 / 1024 MiB)) = sqrt(5120) MiB = 71.55 MiB.
  ExpectNear(sizer.Limit(kMost) - needed, MiB(143));
  for (int i = 0; i < 40; ++i) program.Cycle(MiB(64), MiB(400), kSecond / 10);
  ExpectNear(sizer.Limit(kMost) - needed, MiB(286));  // four times the rate
  for (int i = 0; i < 40; ++i) program.Cycle(MiB(64), MiB(400), kSecond / 40);
  ExpectNear(sizer.Limit(kMost) - needed, MiB(143));  // a collector that is four times as fast
}

TEST(SizerTest, AProgramThatIsIdleNeedsNoRoom) {
  Sizer sizer(WithPolicy(Sizing::kAdaptive), kSecond);
  Program program(sizer);
  program.Cycle(MiB(64), MiB(100), kSecond / 10);
  const Bytes busy = sizer.Limit(kMost);
  for (int i = 0; i < 8; ++i) program.Tick();
  EXPECT_LT(sizer.Limit(kMost), busy);
  for (int i = 0; i < 100; ++i) program.Tick();
  EXPECT_LE(sizer.Limit(kMost), MiB(144 + 3));
}

TEST(SizerTest, UnderPressureRoomIsGivenUpLittleByLittle) {
  for (Sizing policy : {Sizing::kFixed, Sizing::kGrowable}) {
    Sizer sizer(WithPolicy(policy), kSecond);
    Program program(sizer);
    program.Cycle(MiB(100), MiB(100), kSecond / 10);
    const Bytes needed = MiB(225);
    const Bytes room = sizer.Limit(kMost) - needed;
    program.Tick(/*pressure=*/0.2);
    ExpectNear(sizer.Limit(kMost) - needed, room / 2);
    for (int i = 0; i < 5; ++i) program.Tick(0.2);
    ExpectNear(sizer.Limit(kMost) - needed, room / 8);
    program.Tick(0.07);
    ExpectNear(sizer.Limit(kMost) - needed, room / 8);
    program.Tick(0);
    ExpectNear(sizer.Limit(kMost) - needed, room / 4);
    for (int i = 0; i < 5; ++i) program.Tick(0);
    EXPECT_EQ(sizer.Limit(kMost) - needed, room);
  }
}

TEST(SizerTest, CyclesThatMakeLittleRoomAreTooManyAfterAWhile) {
  Sizer sizer(WithPolicy(Sizing::kFixed), kSecond);
  Program program(sizer);
  program.Cycle(MiB(64), MiB(100), kSecond / 10, /*beside=*/MiB(500));
  Bytes allocated = MiB(100);
  int64_t cycle = 0;
  const auto dry = [&](int times, Bytes between, Bytes room) {
    for (int i = 0; i < times; ++i) {
      EXPECT_FALSE(sizer.CollectsTooMuch());
      sizer.NoteDry(++cycle, allocated += between, room);
      sizer.NoteDry(cycle, allocated, room);  // the same cycle, for another thread
    }
  };
  dry(1, MiB(0), MiB(1));
  dry(Sizer::kMostCostlyCycles - 1, MiB(1), MiB(1));
  EXPECT_FALSE(sizer.CollectsTooMuch()) << "before the first, 100 MiB were allocated";
  dry(1, MiB(1), MiB(1));
  EXPECT_TRUE(sizer.CollectsTooMuch());
  dry(Sizer::kMostCostlyCycles - 1, MiB(1), MiB(1));
  dry(1, MiB(1), MiB(10));  // much has died
  dry(Sizer::kMostCostlyCycles - 1, MiB(1), MiB(1));
  dry(1, MiB(3), MiB(1));  // more than a 32nd of 64 MiB
  EXPECT_FALSE(sizer.CollectsTooMuch());
}

}  // namespace
}  // namespace ebb::internal
