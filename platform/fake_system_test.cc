#include "platform/fake_system.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "platform/address_range.h"
#include "platform/bytes.h"
#include "platform/page_size.h"
#include "platform/range_releaser.h"
#include "platform/system.h"

namespace ebb::platform {
namespace {

// One use of each call that can fail with a Status, on memory that is committed.
class FakeSystemTest : public testing::Test {
 protected:
  FakeSystemTest() {
    range_ = *system_.Reserve(MiB(1), PageSize(), "test");
    EXPECT_TRUE(system_.Commit(range_, "test").ok());
    releaser_ = system_.NewRangeReleaser(ReleaseBackend::kMadvise);
  }
  ~FakeSystemTest() override {
    system_.StopFailing();
    EXPECT_TRUE(system_.Release(range_, "test").ok());
    EXPECT_EQ(system_.reserved(), Bytes(0));
  }

  absl::Status Use(Call call) {
    switch (call) {
      case Call::kReserve:
        return UseReserve();
      case Call::kCommit:
        return system_.Commit(range_, "slab 3");
      case Call::kDiscard:
        return system_.Discard(range_, "slab 3");
      case Call::kProtect:
        return system_.Protect(range_, Access::kReadWrite, "slab 3");
      case Call::kAdviseHugePages:
        return system_.AdviseHugePages(range_, HugePageAdvice::kNever, "slab 3");
      case Call::kRelease:
        return UseRelease();
      case Call::kNewRangeReleaser:
        system_.NewRangeReleaser(ReleaseBackend::kAuto);
        return absl::OkStatus();
      case Call::kDiscardBatch:
        return releaser_->Discard({range_});
      case Call::kStartThread:
        return system_.StartThread("worker", [] {}).status();
      case Call::kResidentMemory:
        return system_.ResidentMemory().status();
      case Call::kPeakResidentMemory:
        return system_.PeakResidentMemory().status();
      case Call::kCountMappings:
        return system_.CountMappings(range_).status();
    }
    return absl::InternalError("not a Call");
  }

  absl::Status UseReserve() {
    const auto range = system_.Reserve(MiB(1), PageSize(), "slab 3");
    if (!range.ok()) return range.status();
    return system_.Release(*range, "test");
  }

  absl::Status UseRelease() {
    return system_.Release({.begin = range_.begin, .size = Bytes(0)}, "slab 3");
  }

  // For each use: did it work?
  std::string Uses(Call call, int count) {
    std::string outcome;
    for (int i = 0; i < count; ++i) outcome += Use(call).ok() ? '+' : '-';
    return outcome;
  }

  FakeSystem system_;
  AddressRange range_;
  std::unique_ptr<RangeReleaser> releaser_;
};

class FakeSystemCallTest : public FakeSystemTest, public testing::WithParamInterface<Call> {};

TEST_P(FakeSystemCallTest, PassesCallsOnAndCountsThem) {
  const int64_t before = system_.uses(GetParam());
  EXPECT_EQ(Uses(GetParam(), 3), "+++");
  EXPECT_EQ(system_.uses(GetParam()) - before, 3);
}

TEST_P(FakeSystemCallTest, FailsOnChosenUses) {
  if (GetParam() == Call::kNewRangeReleaser) GTEST_SKIP() << "never fails";
  system_.FailOn(GetParam(), 2);
  EXPECT_EQ(Uses(GetParam(), 4), "+-++");
  system_.FailOn(GetParam(), 1, 2);
  EXPECT_EQ(Uses(GetParam(), 4), "--++");
  system_.FailEvery(GetParam(), 3);
  EXPECT_EQ(Uses(GetParam(), 7), "++-++-+");
  system_.FailEvery(GetParam(), 1);
  EXPECT_EQ(Uses(GetParam(), 2), "--");
  system_.StopFailing();
  EXPECT_EQ(Uses(GetParam(), 3), "+++");
}

TEST_P(FakeSystemCallTest, OtherCallsGoOn) {
  system_.FailEvery(GetParam(), 1);
  for (Call call : kAllCalls) {
    // To reserve, and release, this test needs both.
    const bool both = GetParam() == Call::kRelease && call == Call::kReserve;
    if (call != GetParam() && !both) {
      EXPECT_EQ(Uses(call, 1), "+") << CallName(call);
    }
  }
}

TEST_P(FakeSystemCallTest, ErrorsLookLikeTheRealOnes) {
  if (GetParam() == Call::kNewRangeReleaser) GTEST_SKIP() << "never fails";
  system_.FailOn(GetParam(), 1);
  const absl::Status status = Use(GetParam());
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_TRUE(absl::StartsWith(status.message(), "cannot ")) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "by FakeSystem")) << status;
}

INSTANTIATE_TEST_SUITE_P(AllCalls, FakeSystemCallTest, testing::ValuesIn(kAllCalls),
                         [](const testing::TestParamInfo<Call>& info) {
                           return std::string(CallName(info.param));
                         });

TEST_F(FakeSystemTest, FailedCallsHaveNoEffect) {
  char* const first = reinterpret_cast<char*>(range_.begin);
  *first = 1;
  system_.FailOn(Call::kDiscard, 1);
  EXPECT_FALSE(system_.Discard(range_, "test").ok());
  system_.FailOn(Call::kDiscardBatch, 1);
  EXPECT_FALSE(releaser_->Discard({range_}).ok());
  EXPECT_EQ(*first, 1);
  EXPECT_TRUE(releaser_->Discard({range_}).ok());
  EXPECT_EQ(*first, 0);
}

TEST_F(FakeSystemTest, TellsWhichAdviceItHasGiven) {
  const FakeSystem::Advised never = {range_, HugePageAdvice::kNever};
  ASSERT_TRUE(system_.AdviseHugePages(never.range, never.advice, "test").ok());
  EXPECT_EQ(system_.advised(), std::vector{never});
  system_.FailOn(Call::kAdviseHugePages, 1);
  EXPECT_FALSE(system_.AdviseHugePages(never.range, never.advice, "test").ok());
  EXPECT_EQ(system_.advised(), std::vector{never});
}

TEST_F(FakeSystemTest, ReleaserFallsBack) {
  system_.FailOn(Call::kNewRangeReleaser, 1);
  EXPECT_EQ(system_.NewRangeReleaser(ReleaseBackend::kAuto)->name(), "madvise");
}

TEST_F(FakeSystemTest, AnEmptyBatchCannotFail) {
  system_.FailEvery(Call::kDiscardBatch, 1);
  EXPECT_TRUE(releaser_->Discard({}).ok());
}

TEST_F(FakeSystemTest, LimitsReservations) {
  system_.LimitReservations(MiB(3));
  const auto second = system_.Reserve(MiB(2), MiB(2), "slab 3");
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(system_.reserved(), MiB(3));
  const auto third = system_.Reserve(PageSize(), PageSize(), "slab 4");
  EXPECT_EQ(third.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(absl::StrContains(third.status().message(), "slab 4")) << third.status();
  EXPECT_TRUE(system_.Release(*second, "test").ok());
  EXPECT_EQ(system_.reserved(), MiB(1));
}

TEST_F(FakeSystemTest, PretendsToBeAnotherMachine) {
  EXPECT_EQ(system_.MemoryLimit(), System::Real().MemoryLimit());
  EXPECT_EQ(system_.ProcessorCount(), System::Real().ProcessorCount());
  system_.SetMemoryLimit(MiB(10));
  system_.SetProcessorCount(64);
  EXPECT_EQ(system_.MemoryLimit(), MiB(10));
  system_.SetMemoryPressure(0.25);
  EXPECT_EQ(system_.MemoryPressure(), 0.25);
  EXPECT_EQ(system_.ProcessorCount(), 64);
}

TEST_F(FakeSystemTest, CanBeStacked) {
  FakeSystem outer(static_cast<System&>(system_));
  system_.FailOn(Call::kCommit, 1);
  EXPECT_FALSE(outer.Commit(range_, "test").ok());
  EXPECT_TRUE(outer.Commit(range_, "test").ok());
}

}  // namespace
}  // namespace ebb::platform
