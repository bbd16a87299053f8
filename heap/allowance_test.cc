#include "heap/allowance.h"

#include <cstdint>
#include <functional>
#include <random>

#include "gtest/gtest.h"

namespace ebb::internal {
namespace {

constexpr int64_t kTarget = 1'000'000;
constexpr int64_t kMost = 400;

// How many of `cycles` pauses are over the target, of a program of which region after region costs
// `nanos()` each.
int64_t CountLong(Allowance& allowance, int cycles, std::function<double()> nanos) {
  int64_t over = 0;
  for (int i = 0; i < cycles; ++i) {
    const auto pause = static_cast<int64_t>(nanos() * static_cast<double>(allowance.regions()));
    over += pause > kTarget;
    allowance.NotePause(pause);
  }
  return over;
}

TEST(AllowanceTest, PausesKeepToTheTarget) {
  for (const double cost : {1'000.0, 10'000.0, 60'000.0, 250'000.0}) {
    Allowance allowance(kTarget, kMost);
    EXPECT_EQ(CountLong(allowance, 200, [&] { return cost; }), 0) << cost;
    // And use what it allows.
    const double pause = cost * static_cast<double>(allowance.regions());
    EXPECT_TRUE(pause >= 0.4 * kTarget || allowance.regions() == kMost) << pause;
  }
}

TEST(AllowanceTest, OneInAHundredIsOverWhereTheyVaryByHalf) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> cost(10'000, 20'000);
  Allowance allowance(kTarget, kMost);
  const int64_t over = CountLong(allowance, 10'000, [&] { return cost(random); });
  EXPECT_LE(over, 100);
}

TEST(AllowanceTest, OneLongPauseIsSoonMadeUpFor) {
  Allowance allowance(kTarget, kMost);
  CountLong(allowance, 200, [] { return 500.0; });
  ASSERT_EQ(allowance.regions(), kMost);
  allowance.NotePause(1'000 * kTarget);
  EXPECT_EQ(allowance.regions(), kMost / 4);
  CountLong(allowance, 8, [] { return 500.0; });
  EXPECT_EQ(allowance.regions(), kMost);
}

TEST(AllowanceTest, WhateverHappensItIsInItsBounds) {
  Allowance allowance(kTarget, kMost);
  for (int i = 0; i < 10; ++i) allowance.NotePause(int64_t{1} << 60);
  EXPECT_EQ(allowance.regions(), Allowance::kLeast);
  for (int i = 0; i < 100; ++i) allowance.NotePause(0);
  EXPECT_EQ(allowance.regions(), kMost);
  EXPECT_EQ(Allowance(kTarget, /*most=*/0).regions(), Allowance::kLeast);
}

}  // namespace
}  // namespace ebb::internal
