#include "bench/safepoint_log.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ebb::bench {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What OpenJDK 17.0.15 wrote in runs of bench/jvm/Rewire.java, line by line.
constexpr char kZ[] =
    R"([23806521971436ns] Safepoint "CleanClassLoaderDataMetaspaces", )"
    "Time since last: 1569962 ns, Reaching safepoint: 731 ns, "
    "Cleanup: 992 ns, At safepoint: 29594 ns, Total: 31317 ns\n"
    R"([23806522669578ns] Safepoint "ZRelocateStart", Time since last: 693275 ns, )"
    "Reaching safepoint: 470 ns, Cleanup: 221 ns, At safepoint: 4717 ns, Total: 5408 ns\n"
    R"([23806554452756ns] Safepoint "ZMarkStart", Time since last: 31673545 ns, )"
    "Reaching safepoint: 86599 ns, Cleanup: 8583 ns, At safepoint: 12809 ns, Total: 107991 ns\n"
    R"([23806573199471ns] Safepoint "ZMarkEnd", Time since last: 18728658 ns, )"
    "Reaching safepoint: 2594 ns, Cleanup: 2894 ns, At safepoint: 12559 ns, Total: 18047 ns\n"
    R"([23806574515886ns] Safepoint "ZRelocateStart", Time since last: 1311848 ns, )"
    "Reaching safepoint: 871 ns, Cleanup: 551 ns, At safepoint: 4476 ns, Total: 5898 ns\n";
constexpr char kShenandoah[] =
    R"([23811289867732ns] Safepoint "ShenandoahFinalMarkStartEvac", Time since last: 7260604 ns, )"
    "Reaching safepoint: 2234 ns, Cleanup: 2043 ns, At safepoint: 40520 ns, Total: 44797 ns\n"
    R"([23811291600507ns] Safepoint "ShenandoahInitUpdateRefs", Time since last: 680926 ns, )"
    "Reaching safepoint: 601 ns, Cleanup: 1732 ns, At safepoint: 5509 ns, Total: 7842 ns\n"
    R"([23811293572891ns] Safepoint "ShenandoahFinalUpdateRefs", Time since last: 1963059 ns, )"
    "Reaching safepoint: 290 ns, Cleanup: 411 ns, At safepoint: 8983 ns, Total: 9684 ns\n";
constexpr char kG1[] =
    R"([23812410607508ns] Safepoint "G1TryInitiateConcMark", Time since last: 65621715 ns, )"
    "Reaching safepoint: 3766 ns, Cleanup: 12108 ns, At safepoint: 11493842 ns, Total: 11509716 "
    "ns\n"
    R"([23812417014318ns] Safepoint "G1PauseRemark", Time since last: 2483526 ns, )"
    "Reaching safepoint: 2824 ns, Cleanup: 4747 ns, At safepoint: 3914451 ns, Total: 3922022 ns\n";

TEST(SafepointLogTest, APauseIsTheWholeOfASafepointOfTheCollector) {
  absl::StatusOr<SafepointLog> log = SafepointLog::Parse(kZ, "Z", 0);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_THAT(log->pause_ns, ElementsAre(5408, 107991, 18047, 5898));
  EXPECT_THAT(log->time_to_safepoint_ns, ElementsAre(470, 86599, 2594, 871));
  log = SafepointLog::Parse(kShenandoah, "Shenandoah", 0);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_THAT(log->pause_ns, ElementsAre(44797, 7842, 9684));
  log = SafepointLog::Parse(kG1, "G1", 0);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_THAT(log->pause_ns, ElementsAre(11509716, 3922022));
}

TEST(SafepointLogTest, WhatEndedBeforeTheGivenTimeDoesNotCount) {
  absl::StatusOr<SafepointLog> log = SafepointLog::Parse(kZ, "Z", 23806573199471);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_THAT(log->pause_ns, ElementsAre(18047, 5898));
  log = SafepointLog::Parse(kZ, "Z", 23806573199472);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_THAT(log->pause_ns, ElementsAre(5898));
}

TEST(SafepointLogTest, AnEmptyLogHasNoPauses) {
  absl::StatusOr<SafepointLog> log = SafepointLog::Parse("", "Z", 0);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_THAT(log->pause_ns, IsEmpty());
}

TEST(SafepointLogTest, AnotherFormatIsAnErrorThatShowsTheLine) {
  for (const char* line :
       {"[1.234s][info][safepoint] Safepoint \"ZMarkEnd\", Reaching safepoint: 1 ns, Total: 2 ns",
        "[12ns] Safepoint \"ZMarkEnd\", Reaching safepoint: 1 us, Total: 2 us",
        "[12ns] Safepoint \"ZMarkEnd\", Reaching safepoint: 1 ns",
        "[12ns] Safepoint \"ZMarkEnd\", Total: 2 ns", "[12ns] GC(0) Pause Mark End 0.013ms"}) {
    const absl::Status status = SafepointLog::Parse(absl::StrCat(kZ, line), "Z", 0).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << line;
    EXPECT_THAT(std::string(status.message()), HasSubstr(line));
  }
}

}  // namespace
}  // namespace ebb::bench
