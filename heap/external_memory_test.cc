#include "heap/external_memory.h"

#include <cstdint>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ebb::internal {
namespace {

using platform::Bytes;
using platform::KiB;
using platform::MiB;
using testing::HasSubstr;
using Due = ExternalMemory::Due;

constexpr int64_t kMiB = int64_t{1} << 20;

TEST(ExternalMemoryTest, NeverLessThanNothing) {
  ExternalMemory external;
  ASSERT_TRUE(external.Report(100).ok());
  ASSERT_TRUE(external.Report(-60).ok());
  const absl::Status status = external.Report(-41);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("'-41'"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("the 40 bytes that are reported"));
  EXPECT_EQ(external.bytes(), Bytes(40)) << "an error changes nothing";
  EXPECT_TRUE(external.Report(-40).ok());
  EXPECT_EQ(external.bytes(), Bytes(0));
  EXPECT_EQ(external.reported(), Bytes(100));
}

TEST(ExternalMemoryTest, NorMoreThanCanBeCounted) {
  ExternalMemory external;
  ASSERT_TRUE(external.Report(std::numeric_limits<int64_t>::max()).ok());
  EXPECT_THAT(std::string(external.Report(1).message()), HasSubstr("too much"));
  EXPECT_FALSE(external.Report(std::numeric_limits<int64_t>::min()).ok());
  EXPECT_TRUE(external.Report(-std::numeric_limits<int64_t>::max()).ok());
  EXPECT_EQ(external.bytes(), Bytes(0));
}

TEST(ExternalMemoryTest, FreshIsWhatHasComeSinceItWasLowest) {
  ExternalMemory external;
  ASSERT_TRUE(external.Report(10 * kMiB).ok());
  EXPECT_EQ(external.fresh(), MiB(10));
  external.BeginCycle();
  EXPECT_EQ(external.fresh(), Bytes(0));
  // What the cycle has found dead is freed; what comes then is fresh at once.
  ASSERT_TRUE(external.Report(-6 * kMiB).ok());
  ASSERT_TRUE(external.Report(2 * kMiB).ok());
  EXPECT_EQ(external.fresh(), MiB(2));
}

TEST(ExternalMemoryTest, ACycleIsDueWhenTheRoomIsUsedUp) {
  ExternalMemory external;
  ASSERT_TRUE(external.Report(3 * kMiB).ok());
  EXPECT_EQ(external.Look(MiB(3), KiB(64)), Due::kNothing);
  EXPECT_EQ(external.Look(MiB(2), KiB(64)), Due::kCycle);
  EXPECT_EQ(external.Look(MiB(2), MiB(4)), Due::kNothing) << "never for less than that";
  EXPECT_EQ(external.Look(MiB(1), KiB(64)), Due::kMutators);
  external.BeginCycle();
  EXPECT_EQ(external.Look(MiB(0), KiB(64)), Due::kNothing);
}

TEST(ExternalMemoryTest, NorForLittleBesideWhatWasThere) {
  ExternalMemory external;
  ASSERT_TRUE(external.Report(100 * kMiB).ok());
  external.BeginCycle();
  ASSERT_TRUE(external.Report(100 * kMiB / 8).ok());
  EXPECT_EQ(external.Look(MiB(1), KiB(64)), Due::kNothing);
  ASSERT_TRUE(external.Report(1).ok());
  EXPECT_EQ(external.Look(MiB(1), KiB(64)), Due::kCycle);
}

// However it grows, what is due is seen by reports alone, and few of them look.
TEST(ExternalMemoryTest, FewReportsLook) {
  ExternalMemory external;
  int looks = 0;
  int64_t reported = 0;
  for (;; reported += 1000) {
    ASSERT_TRUE(external.Report(1000).ok());
    if (!external.look_due()) continue;
    ++looks;
    if (external.Look(MiB(64), KiB(64)) == Due::kMutators) break;
    ASSERT_LE(reported, 200 * kMiB);
  }
  EXPECT_GE(reported, 128 * kMiB - 1000);
  EXPECT_LE(reported, 136 * kMiB);
  EXPECT_LE(looks, 50);
}

TEST(ExternalMemoryTest, MutatorsAreWantedUntilACycleBeginsOrItFalls) {
  ExternalMemory external;
  EXPECT_FALSE(external.mutators_wanted());
  ASSERT_TRUE(external.Report(3 * kMiB).ok());
  ASSERT_EQ(external.Look(MiB(1), KiB(64)), Due::kMutators);
  external.WantMutators();
  EXPECT_TRUE(external.mutators_wanted());
  ASSERT_TRUE(external.Report(-2 * kMiB).ok());
  EXPECT_FALSE(external.mutators_wanted());
  ASSERT_TRUE(external.Report(2 * kMiB).ok());
  EXPECT_TRUE(external.mutators_wanted());
  external.BeginCycle();
  EXPECT_FALSE(external.mutators_wanted());
}

TEST(ExternalMemoryTest, RacingReportsAddUp) {
  ExternalMemory external;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int64_t n = 1; n <= 2000; ++n) {
        ASSERT_TRUE(external.Report(n).ok());
        if (n % 2 == 0) {
          ASSERT_TRUE(external.Report(1 - n).ok());
        }
        if (n % 100 == 0) external.BeginCycle();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(external.bytes(), Bytes(4 * (1000 + 1000 * 1000)));
}

}  // namespace
}  // namespace ebb::internal
