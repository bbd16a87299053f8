// Flip and finish: what they look at, which blocks are acquired in between, and that a cycle that
// ends beside the mutators ends like one that ends in a pause.

#include <algorithm>
#include <vector>

#include "copyspace/copy_space.h"
#include "copyspace/space_for_test.h"
#include "gtest/gtest.h"

namespace ebb::copyspace {
namespace {

using platform::Access;
using platform::MiB;

constexpr uint32_t kWhole = 64 << 10;
constexpr uint32_t kSome = 1000;
// More than an acquire, or a batch of a concurrent finish, looks at.
constexpr int kMany = 700;

Block* Acquire(SpaceForTest& space, AcquirePurpose purpose = AcquirePurpose::kMutator) {
  return space->AcquireBlock(purpose, Bytes(16));
}

void Check(SpaceForTest& space) { EXPECT_EQ(space->CheckInvariants(), absl::OkStatus()); }

TEST(CopySpaceFlip, TouchesNoHeader) {
  SpaceForTest space(MiB(1));
  Block* full = Acquire(space);
  Block* partly = Acquire(space);
  space->ReturnBlock(full, kWhole);
  space->ReturnBlock(partly, kSome);
  const AddressRange headers = {SlabOf(full->payload()), kBlockSize};
  ASSERT_EQ(space.system().Protect(headers, Access::kNone, "a test's headers"), absl::OkStatus());
  space->Flip(space.stopped());  // would crash
  ASSERT_EQ(space.system().Protect(headers, Access::kReadWrite, "a test's headers"),
            absl::OkStatus());
  EXPECT_EQ(space->counts().flipped, 2);
  EXPECT_EQ(space->allocated_bytes(), Bytes(0));
  Check(space);
  space->FinishCycle(space.stopped());
  Check(space);
}

TEST(CopySpaceFlip, FlippedBlocksAreTakenByAddressBeforeEmptyOnes) {
  SpaceForTest space(MiB(1));
  const std::vector<Block*> blocks = Acquire(space, 4);
  space->ReturnBlock(blocks[3], kWhole);
  space->ReturnBlock(blocks[2], kSome);
  space->ReturnBlock(blocks[1], kWhole);
  space->ReturnBlock(blocks[0], 0);
  space->Flip(space.stopped());
  EXPECT_EQ(space->counts().flipped, 3);
  EXPECT_EQ(space->counts().empty, 1);
  for (const int i : {1, 2, 3, 0}) {
    EXPECT_EQ(Acquire(space), blocks[i]);
    EXPECT_EQ(blocks[i]->used(1), 0u);
    Check(space);
  }
  EXPECT_EQ(space->counts().flipped, 0);
  // One that is returned is on a list again, and no longer flipped: not even in the next acquire.
  space->ReturnBlock(blocks[1], kWhole);
  space->ReturnBlock(blocks[2], kSome);
  EXPECT_EQ(space->counts().full, 1);
  EXPECT_EQ(Acquire(space), blocks[2]);
  Return(space, {blocks[0], blocks[3]}, 0);
  space->ReturnBlock(blocks[2], kWhole);
  space->FinishCycle(space.stopped());
  Check(space);
  EXPECT_EQ(space->allocated_bytes(), Bytes(kWhole * 2));
}

TEST(CopySpaceFlip, AnAcquireLooksAtSoManyHeadersBeforeItTakesAnEmptyBlock) {
  SpaceForTest space(MiB(128), {}, /*slabs=*/2);
  const std::vector<Block*> blocks = Acquire(space, kMany);
  Return(space, {blocks.back()}, kWhole);
  Return(space, {blocks.begin(), blocks.end() - 1}, 0);
  space->Flip(space.stopped());
  EXPECT_EQ(Acquire(space), blocks[kMany - 2]) << "the last one that was returned";
  EXPECT_EQ(space->counts().flipped, 1);
  Check(space);
  // Each acquire gets further, and in the end there.
  std::vector<Block*> acquired = {blocks[kMany - 2]};
  while (space->counts().flipped > 0) acquired.push_back(Acquire(space));
  EXPECT_EQ(acquired.back(), blocks.back());
  EXPECT_LT(acquired.size(), 10u);
  Return(space, acquired, 0);
  space->FinishCycle(space.stopped());
  Check(space);
}

TEST(CopySpaceFlip, AFarFlippedBlockIsTakenBeforeMoreIsDebited) {
  SpaceForTest space(MiB(128), {}, /*slabs=*/2);
  const std::vector<Block*> blocks = Acquire(space, kMany);
  Return(space, {blocks.back()}, kWhole);
  Return(space, {blocks.begin(), blocks.end() - 1}, 0);
  ASSERT_EQ(space->PageOutNow(MiB(128)), absl::OkStatus());
  const Bytes debited = space->debited();
  space->Flip(space.stopped());
  EXPECT_EQ(Acquire(space), blocks.back());
  EXPECT_EQ(space->debited(), debited);
  space->ReturnBlock(blocks.back(), 0);
  space->FinishCycle(space.stopped());
  Check(space);
}

// Both ways of finishing.
class CopySpaceFinishTest : public testing::TestWithParam<bool> {
 protected:
  static void Finish(SpaceForTest& space) {
    Check(space);
    ASSERT_TRUE(space->CanFinishConcurrently());
    if (GetParam()) {
      space->FinishCycleConcurrently();
    } else {
      space->FinishCycle(space.stopped());
    }
    Check(space);
  }
};

TEST_P(CopySpaceFinishTest, FromSpaceIsForgottenAndToSpaceStays) {
  SpaceForTest space(MiB(128), {}, /*slabs=*/2);
  const std::vector<Block*> blocks = Acquire(space, kMany);
  Return(space, {blocks.begin(), blocks.begin() + 300}, kSome);
  Return(space, {blocks.begin() + 300, blocks.end()}, kWhole);
  space->Flip(space.stopped());
  const std::vector<Block*> to = Acquire(space, 3);
  EXPECT_EQ(to, std::vector<Block*>(blocks.begin(), blocks.begin() + 3));
  space->ReturnBlock(to[0], kSome);
  space->ReturnBlock(to[1], kWhole - 8);
  Finish(space);
  for (Block* block : blocks) {
    EXPECT_EQ(block->used(0), 0u);
    EXPECT_FALSE(block->known_zero(0));
    EXPECT_TRUE(block->known_zero(1));
  }
  EXPECT_EQ(to[0]->list(), BlockList::kPartlyFull);
  EXPECT_EQ(to[1]->list(), BlockList::kFull);
  EXPECT_EQ(to[2]->list(), BlockList::kOpen);
  EXPECT_EQ(space->counts().paged_out[0], kMany - 3);
  EXPECT_EQ(space->counts().flipped, 0);
  space->ReturnBlock(to[2], kSome);
  EXPECT_EQ(space->allocated_bytes(), Bytes(kSome * 2 + kWhole - 8));
  EXPECT_EQ(space->fragmentation(), Bytes(8));
  EXPECT_FALSE(space->has_retained());
  EXPECT_EQ(space->active_region(), 1);
  Check(space);
}

TEST_P(CopySpaceFinishTest, BlocksReturnedUnusedAreFreedToo) {
  SpaceForTest space(MiB(1));
  Return(space, Acquire(space, 2), kWhole);
  space->Flip(space.stopped());
  Return(space, Acquire(space, 1), 0);
  EXPECT_EQ(space->counts().empty, 1);
  EXPECT_EQ(space->counts().flipped, 1);
  Finish(space);
  EXPECT_EQ(space->counts().paged_out[0], 2);
}

TEST_P(CopySpaceFinishTest, LargeRequestsAndTheOverdraftAreCondemnedFor) {
  constexpr int kOverdraft = 90;
  SpaceForTest space(PriceOf(kMany), {.overdraft = kBlockSize * kOverdraft}, /*slabs=*/2);
  Return(space, Acquire(space, kMany - kOverdraft), kWhole);
  EXPECT_EQ(space->counts().total(), kMany - kOverdraft);
  space->Flip(space.stopped());
  // All there is, the overdraft included; then nothing survives but one block.
  std::vector<Block*> to;
  while (Block* block = Acquire(space, AcquirePurpose::kEvacuation)) to.push_back(block);
  ASSERT_EQ(to.size(), static_cast<size_t>(kMany));
  Return(space, {to.begin(), to.end() - 1}, 0);
  Return(space, {to.back()}, kWhole);
  Finish(space);
  EXPECT_EQ(space->counts().condemned, kOverdraft);
  space->Flip(space.stopped());
  EXPECT_EQ(space->Shrink(kBlockSize * 1000), absl::OkStatus());
  EXPECT_EQ(space->counts().in_core(), kMany - kOverdraft) << "what was condemned has gone";
  EXPECT_EQ(space->bytes_to_page_out(), kBlockSize * 1000);
  Finish(space);
  EXPECT_EQ(space->counts().condemned, kMany - kOverdraft);
  EXPECT_EQ(space->bytes_to_page_out(), kBlockSize * (1000 - kMany + kOverdraft));
}

INSTANTIATE_TEST_SUITE_P(Ways, CopySpaceFinishTest, testing::Bool(),
                         [](const testing::TestParamInfo<bool>& info) {
                           return info.param ? "Concurrently" : "InAPause";
                         });

TEST(CopySpaceFinishDeathTest, ConcurrentlyOnlyInACycleThatLeavesNothing) {
  SpaceForTest space(MiB(1));
  EXPECT_DEATH(space->FinishCycleConcurrently(), "FinishCycleConcurrently without Flip");
  Block* block = Acquire(space);
  space->ReturnBlock(block, kSome);
  space->Flip(space.stopped());
  space->RetainRegionOf(block->region_begin(0) + 8);
  EXPECT_FALSE(space->CanFinishConcurrently()) << "an evacuation has failed";
  EXPECT_DEATH(space->FinishCycleConcurrently(), "retained regions change in a pause only");
  space->FinishCycle(space.stopped());
  space->Flip(space.stopped());
  EXPECT_FALSE(space->CanFinishConcurrently()) << "there is a retained block";
  space->FinishCycle(space.stopped());
  space->Flip(space.stopped());
  EXPECT_TRUE(space->CanFinishConcurrently());
  space->FinishCycleConcurrently();
  EXPECT_EQ(space->counts().total(), 1);
}

TEST(CopySpaceFlip, MutatorsLeaveWhatIsKeptForEvacuation) {
  SpaceForTest space(MiB(16), {}, /*slabs=*/2);
  space->Flip(space.stopped());
  space->KeepForEvacuation({.expected = MiB(128),
                            .at_least = MiB(128) - 2 * kRegionSize,
                            .at_most = MiB(256)},
                           space.stopped());
  EXPECT_EQ(space->kept_in_ledger(), 2 * MiB(128)) << "no block is in core";
  EXPECT_EQ(space->AcquireBlock(AcquirePurpose::kMutator, Bytes(8)), nullptr);
  std::vector<Block*> taken;
  for (int i = 1; i <= 3; ++i) {
    taken.push_back(space->AcquireBlock(AcquirePurpose::kEvacuation, Bytes(8)));
    ASSERT_NE(taken.back(), nullptr);
    EXPECT_EQ(space->room().for_evacuation, MiB(128) - std::min(i, 2) * kRegionSize)
        << "what evacuation takes is taken off, down to the least";
  }
  EXPECT_EQ(space->room().for_mutators, Bytes(0));
  Return(space, taken, 0);
  space->FinishCycle(space.stopped());
  EXPECT_EQ(space->room().for_evacuation, Bytes(0));
  Block* block = space->AcquireBlock(AcquirePurpose::kMutator, Bytes(8));
  ASSERT_NE(block, nullptr);
  Return(space, {block}, 0);
}

}  // namespace
}  // namespace ebb::copyspace
