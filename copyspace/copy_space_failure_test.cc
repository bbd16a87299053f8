// Whatever call of the system fails, and whenever: nothing is lost, the invariants hold, and a
// Status says what was wanted.

#include <random>

#include "absl/strings/match.h"
#include "copyspace/bump_allocator.h"
#include "copyspace/copy_space_driver.h"
#include "copyspace/space_for_test.h"
#include "gtest/gtest.h"

namespace ebb::copyspace {
namespace {

using platform::Call;

constexpr Call kCalls[] = {Call::kCommit, Call::kDiscardBatch, Call::kProtect};

void RunWithFailures(Call call, bool every, int nth) {
  SCOPED_TRACE(testing::Message() << platform::CallName(call) << (every ? " every " : " the ")
                                  << nth);
  std::mt19937 random(nth);
  const auto draw = [&random](uint32_t bound) { return static_cast<uint32_t>(random() % bound); };
  CopySpaceDriver driver(platform::MiB(3), {.overdraft = platform::KiB(256)});
  if (every) {
    driver.system().FailEvery(call, nth);
  } else {
    driver.system().FailOn(call, nth);
  }
  for (int step = 0; step < 600; ++step) {
    ASSERT_EQ(driver.Step(draw), absl::OkStatus()) << "at step " << step;
  }
  ASSERT_EQ(driver.Verify(), absl::OkStatus());
  if (driver.system().uses(call) >= nth) {
    EXPECT_GT(driver.reported_errors(), 0) << "a call failed and nobody said so";
  }
}

TEST(CopySpaceFailure, TheNthUseOfEachCall) {
  for (const Call call : kCalls) {
    for (int nth = 1; nth <= 10 && !testing::Test::HasFailure(); ++nth) {
      RunWithFailures(call, /*every=*/false, nth);
    }
  }
}

TEST(CopySpaceFailure, EveryNthUseOfEachCall) {
  for (const Call call : kCalls) {
    for (int nth = 1; nth <= 5 && !testing::Test::HasFailure(); ++nth) {
      RunWithFailures(call, /*every=*/true, nth);
    }
  }
}

TEST(CopySpaceFailure, CommitFailureIsReportedAndCredited) {
  SpaceForTest space(platform::MiB(1));
  space.system().FailOn(Call::kCommit, 1);
  EXPECT_EQ(space->AcquireBlock(AcquirePurpose::kMutator, Bytes(16)), nullptr);
  const absl::Status failure = space->last_failure();
  EXPECT_FALSE(failure.ok());
  EXPECT_TRUE(absl::StrContains(failure.message(), "slab 0 of a copy space")) << failure;
  EXPECT_TRUE(absl::StrContains(failure.message(), "64.0 MiB")) << failure;
  EXPECT_EQ(space.ledger().used(), Bytes(0));
  // The next try succeeds, and forgets the failure.
  Block* block = space->AcquireBlock(AcquirePurpose::kMutator, Bytes(16));
  ASSERT_NE(block, nullptr);
  EXPECT_EQ(space->last_failure(), absl::OkStatus());
  space->ReturnBlock(block, 0);
}

TEST(CopySpaceFailure, FailedDiscardKeepsBlocksAndDebit) {
  SpaceForTest space(platform::MiB(1));
  space->ReturnBlock(space->AcquireBlock(AcquirePurpose::kMutator, Bytes(16)), 0);
  space.system().FailOn(Call::kDiscardBatch, 1);
  EXPECT_FALSE(space->PageOutNow(kBlockSize).ok());
  EXPECT_EQ(space->debited(), PriceOf(1));
  EXPECT_EQ(space->counts().paged_out[PageOutQueue::kOldestInCore], 1);
  EXPECT_EQ(space->CheckInvariants(), absl::OkStatus());
  EXPECT_EQ(space->DiscardOldest(), absl::OkStatus());
  EXPECT_EQ(space->counts().paged_out[PageOutQueue::kPagedOut], 1);
  EXPECT_EQ(space->debited(), CopySpace::MetadataPerBlock(false));
}

TEST(CopySpaceFailure, FailedShrinkStaysCondemned) {
  SpaceForTest space(platform::MiB(1));
  space->ReturnBlock(space->AcquireBlock(AcquirePurpose::kMutator, Bytes(16)), 0);
  space.system().FailOn(Call::kDiscardBatch, 1);
  EXPECT_FALSE(space->Shrink(kBlockSize).ok());
  EXPECT_EQ(space->counts().condemned, 1);
  EXPECT_EQ(space->bytes_to_page_out(), Bytes(0));
  EXPECT_EQ(space->CheckInvariants(), absl::OkStatus());
  EXPECT_EQ(space->DiscardOldest(), absl::OkStatus());
  EXPECT_EQ(space->counts().in_core(), 0);
}

TEST(CopySpaceFailure, FailedProtectionLeavesTheReserveAccessible) {
  SpaceForTest space(platform::MiB(1));
  Block* first = space->AcquireBlock(AcquirePurpose::kMutator, Bytes(16));
  Block* second = space->AcquireBlock(AcquirePurpose::kMutator, Bytes(16));
  space->ReturnBlock(first, 64 << 10);
  space->ReturnBlock(second, 64 << 10);
  space->Flip(space.stopped());
  space->FinishCycle(space.stopped());
  space.system().FailOn(Call::kProtect, 2);
  EXPECT_FALSE(space->ProtectReserve(platform::Access::kNone, space.stopped()).ok());
  *reinterpret_cast<volatile char*>(first->region_begin(0)) = 0;
  *reinterpret_cast<volatile char*>(second->region_begin(0)) = 0;
  space->Flip(space.stopped());
  space->FinishCycle(space.stopped());
}

TEST(CopySpaceFailure, AccessThatCannotBeAllowedAgainIsStillOwed) {
  SpaceForTest space(platform::MiB(1));
  Block* block = space->AcquireBlock(AcquirePurpose::kMutator, Bytes(16));
  space->ReturnBlock(block, 64 << 10);
  space->Flip(space.stopped());
  space->FinishCycle(space.stopped());
  ASSERT_EQ(space->ProtectReserve(platform::Access::kNone, space.stopped()), absl::OkStatus());
  space.system().FailOn(Call::kProtect, 1);
  EXPECT_FALSE(space->ProtectReserve(platform::Access::kReadWrite, space.stopped()).ok());
  EXPECT_DEATH(space->Flip(space.stopped()), "reserve is protected");
  EXPECT_EQ(space->ProtectReserve(platform::Access::kReadWrite, space.stopped()),
            absl::OkStatus());
  *reinterpret_cast<volatile char*>(block->region_begin(0)) = 0;
}

TEST(CopySpaceFailure, FixedSpaceCannotBeCommitted) {
  platform::FakeSystem system;
  Ledger ledger(platform::MiB(1));
  const absl::StatusOr<AddressRange> range = system.Reserve(kSlabSize, kSlabSize, "nursery");
  ASSERT_TRUE(range.ok());
  const CopySpace::Options options = {.range = *range, .fixed = true};
  system.FailOn(Call::kCommit, 1);
  EXPECT_FALSE(CopySpace::Create(system, ledger, options).ok());
  EXPECT_EQ(ledger.used(), Bytes(0));
  ledger.SetLimit(Bytes(1000));
  const absl::Status refused = CopySpace::Create(system, ledger, options).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted) << refused;
  EXPECT_EQ(system.Release(*range, "nursery"), absl::OkStatus());
}

}  // namespace
}  // namespace ebb::copyspace
