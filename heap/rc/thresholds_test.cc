// When a detection is due by itself, as a domain is told while it lives.

#include <cmath>
#include <cstdint>
#include <limits>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"

namespace ebb::rc {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kManyBytes = 64 << 20;

// Garbage, of `count` objects.
void MakeRings(int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    Ptr<Link> link = MakePtr<Link>();
    link->next = link;
  }
}

TEST(ThresholdsTest, AreThoseOfTheOptionsUntilTheyAreSet) {
  Counting c({.detect_after = 7, .detect_share = 0.5});
  EXPECT_EQ(c.domain.Thresholds().detect_after, 7);
  EXPECT_EQ(c.domain.Thresholds().detect_share, 0.5);
  EXPECT_TRUE(c.domain.SetThresholds(8, 0.75).ok());
  EXPECT_EQ(c.domain.Thresholds().detect_after, 8);
  EXPECT_EQ(c.domain.Thresholds().detect_share, 0.75);
}

TEST(ThresholdsTest, AreNotNegative) {
  Counting c({.detect_after = 7, .detect_share = 0.5});
  for (const absl::Status& status :
       {c.domain.SetThresholds(-1, 0.25), c.domain.SetThresholds(1, -0.25),
        c.domain.SetThresholds(1, std::nan(""))}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr("detect_share '"));
  }
  EXPECT_EQ(c.domain.Thresholds().detect_after, 7);
  EXPECT_EQ(c.domain.Thresholds().detect_share, 0.5);
  EXPECT_THROW(Domain(*c.heap, {.detect_after = -1}), MisuseError);
  EXPECT_THROW(Domain(*c.heap, {.detect_share = std::nan("")}), MisuseError);
}

TEST(ThresholdsTest, MakeADetectionDueAtOnce) {
  Counting c({.detect = Detect::kAutomatic, .detect_after = kMost}, kManyBytes);
  MakeRings(50'000);
  EXPECT_EQ(c.domain.stats().detections, 0);
  ASSERT_TRUE(c.domain.SetThresholds(1'000, 0).ok());
  MakeRings(10'000);  // cells are taken at least once
  EXPECT_GE(c.domain.stats().detections, 1);
  EXPECT_LT(c.alive(), 20'000);
}

TEST(ThresholdsTest, KeepOneFromBeingDue) {
  Counting c({.detect = Detect::kAutomatic, .detect_after = 0, .detect_share = 0}, kManyBytes);
  ASSERT_TRUE(c.domain.SetThresholds(kMost, 0).ok());
  MakeRings(20'000);
  ASSERT_TRUE(c.domain.SetThresholds(0, kInfinity).ok());
  MakeRings(20'000);
  EXPECT_EQ(c.domain.stats().detections, 0);
  const Ptr<Link> kept = MakePtr<Link>();
  EXPECT_EQ(Collect(c).collected, 40'000);
  ASSERT_TRUE(c.domain.SetThresholds(0, 1e300).ok());
  MakeRings(30'000);
  EXPECT_EQ(c.domain.stats().detections, 1);
}

// The share is of what the last detection left, not of what there is when the share is set.
TEST(ThresholdsTest, CountFromTheLastDetection) {
  Counting c({.detect = Detect::kAutomatic, .detect_after = kMost}, kManyBytes);
  std::vector<Ptr<Link>> kept(30'000);
  for (Ptr<Link>& link : kept) link = MakePtr<Link>();
  EXPECT_EQ(Collect(c).collected, 0);
  MakeRings(25'000);
  ASSERT_TRUE(c.domain.SetThresholds(0, 2).ok());  // at 90,000 in use
  MakeRings(15'000);
  EXPECT_EQ(c.domain.stats().detections, 1);
  MakeRings(40'000);
  EXPECT_EQ(c.domain.stats().detections, 2);
}

TEST(ThresholdsTest, AreSetByAnyThreadMeanwhile) {
  Counting c({.detect = Detect::kAutomatic}, kManyBytes);
  std::thread setter([&] {
    for (int i = 0; i < 1'000; ++i) {
      EXPECT_TRUE(c.domain.SetThresholds(100 * (i % 2), 0.01 * (i % 2)).ok());
      EXPECT_EQ(c.domain.Thresholds().detect_after, 100 * (i % 2));
    }
  });
  MakeRings(50'000);
  {
    const Blocking blocking(c.mutator);
    setter.join();
  }
  MakeRings(20'000);
  EXPECT_GE(c.domain.stats().detections, 1);
}

struct Mourned {
  Field<Mourned> self;
  static void Finalize(Ptr<Mourned>) {}
};

// What a detection has destroyed at once, since finalizers were called, is not expected to go.
TEST(ThresholdsTest, AreRightAfterFinalizersInALazyDomain) {
  Counting c({.reclaim = Reclaim::kLazy, .detect = Detect::kAutomatic, .detect_after = kMost},
             kManyBytes);
  ASSERT_TRUE(c.domain.SetThresholds(20'000, 0).ok());
  Ptr<Mourned> mourned = MakePtr<Mourned>();
  mourned->self = mourned;
  mourned = nullptr;
  MakeRings(15'000);
  EXPECT_EQ(Collect(c).finalized, 1);
  MakeRings(15'000);
  EXPECT_EQ(c.domain.stats().detections, 1);
  MakeRings(15'000);
  EXPECT_EQ(c.domain.stats().detections, 2);
}

}  // namespace
}  // namespace ebb::rc
