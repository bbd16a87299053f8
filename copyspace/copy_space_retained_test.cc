// Blocks in which an evacuation failed: each row of the table "Retained blocks, case by case" of
// docs/design/copy_space.md.

#include <vector>

#include "copyspace/copy_space.h"
#include "copyspace/space_for_test.h"
#include "gtest/gtest.h"

namespace ebb::copyspace {
namespace {

constexpr uint32_t kWhole = 64 << 10;
constexpr uint32_t kSome = 1000;

class CopySpaceRetainedTest : public testing::Test {
 protected:
  CopySpaceRetainedTest() : space_(platform::MiB(1)) {
    block_ = space_->AcquireBlock(AcquirePurpose::kMutator, Bytes(16));
    other_ = space_->AcquireBlock(AcquirePurpose::kMutator, Bytes(16));
    space_->ReturnBlock(block_, kSome);
    space_->ReturnBlock(other_, kWhole);
  }

  void Flip() { space_->Flip(space_.stopped()); }
  void Finish() {
    EXPECT_EQ(space_->CheckInvariants(), absl::OkStatus());
    space_->FinishCycle(space_.stopped());
    EXPECT_EQ(space_->CheckInvariants(), absl::OkStatus());
  }
  void Fail(int region) { space_->RetainRegionOf(block_->region_begin(region) + 8); }
  // Until none is left: all that may be allocated in.
  std::vector<Block*> AcquireAll() {
    std::vector<Block*> blocks;
    while (Block* block = space_->AcquireBlock(AcquirePurpose::kEvacuation, Bytes(16))) {
      blocks.push_back(block);
    }
    return blocks;
  }
  void ExpectOffLimits() {
    const std::vector<Block*> blocks = AcquireAll();
    for (Block* block : blocks) {
      EXPECT_NE(block, block_);
      space_->ReturnBlock(block, 0);
    }
    EXPECT_EQ(space_->CheckInvariants(), absl::OkStatus());
  }
  // A cycle in which evacuation from region 0 failed; the block was not allocated in.
  void RetainRegion0() {
    Flip();
    Fail(0);
    Finish();
  }
  // Two of them: region 0 is active now, and in the reserve alone after the next flip.
  void RetainActiveRegion0() {
    RetainRegion0();
    RetainRegion0();
    ASSERT_EQ(space_->active_region(), 0);
    ASSERT_TRUE(block_->retained(0));
  }

  SpaceForTest space_;
  Block* block_;
  Block* other_;
};

TEST_F(CopySpaceRetainedTest, NothingFailed) {
  Block* third = space_->AcquireBlock(AcquirePurpose::kMutator, Bytes(kWhole));
  space_->ReturnBlock(third, kSome);
  Flip();
  ASSERT_EQ(space_->AcquireBlock(AcquirePurpose::kEvacuation, Bytes(16)), block_);
  ASSERT_EQ(space_->AcquireBlock(AcquirePurpose::kEvacuation, Bytes(16)), other_);
  space_->ReturnBlock(block_, 24);
  space_->ReturnBlock(other_, kWhole);
  Finish();
  EXPECT_FALSE(space_->has_retained());
  for (Block* block : {block_, other_, third}) EXPECT_EQ(block->used(0), 0u);
  EXPECT_EQ(block_->list(), BlockList::kPartlyFull);
  EXPECT_EQ(block_->used(1), 24u);
  EXPECT_EQ(other_->list(), BlockList::kFull);
  EXPECT_EQ(other_->used(1), kWhole);
  EXPECT_EQ(third->list(), BlockList::kEmpty);
  EXPECT_EQ(third->used(1), 0u);
  EXPECT_EQ(space_->allocated_bytes(), Bytes(24 + kWhole));
  EXPECT_EQ(space_->fragmentation(), Bytes(0));
}

TEST_F(CopySpaceRetainedTest, NotAllocatedIn) {
  RetainRegion0();
  EXPECT_EQ(block_->list(), BlockList::kRetained);
  EXPECT_TRUE(block_->retained(0));
  EXPECT_FALSE(block_->retained(1));
  EXPECT_TRUE(space_->has_retained());
  EXPECT_EQ(block_->used(0), kSome);
  EXPECT_EQ(block_->used(1), 0u);
  EXPECT_EQ(other_->used(0), 0u);
  EXPECT_EQ(space_->allocated_bytes(), Bytes(kSome));
  EXPECT_EQ(space_->fragmentation(), kBlockSize - Bytes(kSome));
  ExpectOffLimits();
}

TEST_F(CopySpaceRetainedTest, ToRegionPartlyFull) {
  Flip();
  Block* to = space_->AcquireBlock(AcquirePurpose::kEvacuation, Bytes(16));
  ASSERT_EQ(to, block_);
  Fail(0);
  space_->ReturnBlock(to, 24);
  EXPECT_EQ(block_->list(), BlockList::kPartlyFull) << "still allocatable during the cycle";
  Finish();
  EXPECT_EQ(block_->list(), BlockList::kRetained);
  EXPECT_EQ(space_->allocated_bytes(), Bytes(kSome + 24));
  ExpectOffLimits();
}

TEST_F(CopySpaceRetainedTest, ToRegionFull) {
  Flip();
  ASSERT_EQ(space_->AcquireBlock(AcquirePurpose::kEvacuation, Bytes(16)), block_);
  space_->ReturnBlock(block_, kWhole);
  Fail(0);
  Finish();
  EXPECT_EQ(block_->list(), BlockList::kRetained);
  EXPECT_EQ(space_->allocated_bytes(), Bytes(kSome + kWhole));
  EXPECT_EQ(space_->fragmentation(), kRegionSize - Bytes(kSome));
  ExpectOffLimits();
}

TEST_F(CopySpaceRetainedTest, OpenThroughTheCyclesEnd) {
  Flip();
  ASSERT_EQ(space_->AcquireBlock(AcquirePurpose::kMutator, Bytes(16)), block_);
  Fail(0);
  Finish();
  EXPECT_EQ(block_->list(), BlockList::kOpen);
  EXPECT_TRUE(block_->retained(0));
  space_->ReturnBlock(block_, 48);
  EXPECT_EQ(block_->list(), BlockList::kRetained);
  EXPECT_EQ(space_->allocated_bytes(), Bytes(kSome + 48));
  EXPECT_EQ(space_->fragmentation(), kBlockSize - Bytes(kSome + 48));
  ExpectOffLimits();
}

TEST_F(CopySpaceRetainedTest, BothRegionsAreFromSpaceInTheNextCycle) {
  Flip();
  ASSERT_EQ(space_->AcquireBlock(AcquirePurpose::kEvacuation, Bytes(16)), block_);
  space_->ReturnBlock(block_, 24);
  Fail(0);
  Finish();
  Flip();
  const Reference stuck = block_->region_begin(0) + 8;
  const Reference copied = block_->region_begin(1) + 8;
  EXPECT_FALSE(space_->InReserve(stuck)) << "bit 16 alone does not tell";
  EXPECT_TRUE(space_->InFromSpace(stuck));
  EXPECT_TRUE(space_->InFromSpace(copied));
  EXPECT_FALSE(space_->InFromSpace(other_->region_begin(0) + 8));
  ExpectOffLimits();
  Finish();
}

TEST_F(CopySpaceRetainedTest, RetainedInTheReserveOnlyIsOrdinaryFromTheFlipOn) {
  RetainActiveRegion0();
  Flip();
  EXPECT_EQ(block_->list(), BlockList::kEmpty);
  EXPECT_FALSE(block_->any_retained());
  EXPECT_TRUE(space_->InFromSpace(block_->region_begin(0) + 8));
  EXPECT_FALSE(space_->InFromSpace(block_->region_begin(1) + 8));
  EXPECT_EQ(space_->allocated_bytes(), Bytes(0));
  EXPECT_EQ(space_->fragmentation(), Bytes(0));
  ASSERT_EQ(space_->AcquireBlock(AcquirePurpose::kEvacuation, Bytes(16)), block_);
  space_->ReturnBlock(block_, 24);
  Finish();
  EXPECT_EQ(block_->list(), BlockList::kPartlyFull);
  EXPECT_FALSE(space_->has_retained());
  EXPECT_EQ(block_->used(0), 0u);
  EXPECT_EQ(block_->used(1), 24u);
  EXPECT_EQ(space_->allocated_bytes(), Bytes(24));
}

TEST_F(CopySpaceRetainedTest, RetainedInTheReserveOnlyFailsAgain) {
  RetainActiveRegion0();
  Flip();
  ASSERT_EQ(space_->AcquireBlock(AcquirePurpose::kEvacuation, Bytes(16)), block_);
  space_->ReturnBlock(block_, 24);
  Fail(0);
  Finish();
  EXPECT_EQ(block_->list(), BlockList::kRetained);
  EXPECT_TRUE(block_->retained(0));
  EXPECT_FALSE(block_->retained(1));
  EXPECT_EQ(space_->allocated_bytes(), Bytes(kSome + 24)) << "as of any ordinary block";
  ExpectOffLimits();
}

TEST_F(CopySpaceRetainedTest, OrdinaryAgainWhenNothingFailsAgain) {
  RetainRegion0();
  Flip();
  Finish();
  EXPECT_EQ(block_->list(), BlockList::kEmpty);
  EXPECT_FALSE(block_->any_retained());
  EXPECT_FALSE(space_->has_retained());
  EXPECT_EQ(block_->used(0), 0u);
  EXPECT_EQ(space_->allocated_bytes(), Bytes(0));
  EXPECT_EQ(space_->fragmentation(), Bytes(0));
}

TEST_F(CopySpaceRetainedTest, FailsAgainInTheSameRegionWhichIsActiveNow) {
  RetainRegion0();
  Flip();
  Fail(0);
  Finish();
  EXPECT_EQ(space_->active_region(), 0);
  EXPECT_EQ(block_->list(), BlockList::kRetained);
  EXPECT_TRUE(block_->retained(0));
  EXPECT_EQ(block_->used(0), kSome);
  EXPECT_EQ(space_->allocated_bytes(), Bytes(kSome));
  ExpectOffLimits();
  Flip();
  EXPECT_TRUE(space_->InFromSpace(block_->region_begin(0) + 8));
  Finish();
  EXPECT_EQ(block_->list(), BlockList::kEmpty);
}

TEST_F(CopySpaceRetainedTest, FailsInTheOtherRegionOnly) {
  Flip();
  ASSERT_EQ(space_->AcquireBlock(AcquirePurpose::kEvacuation, Bytes(16)), block_);
  space_->ReturnBlock(block_, 24);
  Fail(0);
  Finish();
  Flip();
  Fail(1);
  Finish();
  EXPECT_FALSE(block_->retained(0));
  EXPECT_TRUE(block_->retained(1));
  EXPECT_EQ(block_->used(0), 0u);
  EXPECT_EQ(block_->used(1), 24u);
  EXPECT_EQ(space_->allocated_bytes(), Bytes(24));
  ExpectOffLimits();
}

TEST_F(CopySpaceRetainedTest, FailsInBothRegions) {
  Flip();
  ASSERT_EQ(space_->AcquireBlock(AcquirePurpose::kEvacuation, Bytes(16)), block_);
  space_->ReturnBlock(block_, 24);
  Fail(0);
  Finish();
  Flip();
  Fail(0);
  Fail(1);
  Finish();
  EXPECT_TRUE(block_->retained(0));
  EXPECT_TRUE(block_->retained(1));
  EXPECT_EQ(space_->allocated_bytes(), Bytes(kSome + 24));
  ExpectOffLimits();
  Flip();
  Finish();
  EXPECT_EQ(block_->list(), BlockList::kEmpty);
}

TEST_F(CopySpaceRetainedTest, FailureInAFullBlocksNeighbourLeavesTheOthersOnTheirLists) {
  Flip();
  ASSERT_EQ(space_->AcquireBlock(AcquirePurpose::kEvacuation, Bytes(16)), block_);
  ASSERT_EQ(space_->AcquireBlock(AcquirePurpose::kEvacuation, Bytes(16)), other_);
  space_->ReturnBlock(block_, kWhole);
  space_->ReturnBlock(other_, kWhole);
  Fail(0);
  Finish();
  EXPECT_EQ(other_->list(), BlockList::kFull);
  EXPECT_EQ(space_->counts().full, 1);
  EXPECT_EQ(space_->counts().retained, 1);
}

TEST_F(CopySpaceRetainedTest, IsNeitherPagedOutNorProtectedNorPoisoned) {
  *reinterpret_cast<uint64_t*>(block_->region_begin(0)) = 42;
  RetainRegion0();
  EXPECT_EQ(space_->PageOutNow(platform::MiB(1)), absl::OkStatus());
  EXPECT_EQ(space_->DiscardReserve(), absl::OkStatus());
  EXPECT_EQ(space_->ProtectReserve(platform::Access::kNone, space_.stopped()), absl::OkStatus());
  EXPECT_EQ(*reinterpret_cast<uint64_t*>(block_->region_begin(0)), 42u);
  EXPECT_EQ(space_->ProtectReserve(platform::Access::kReadWrite, space_.stopped()),
            absl::OkStatus());
  space_->PoisonReserve(space_.stopped());
  EXPECT_EQ(*reinterpret_cast<uint64_t*>(block_->region_begin(0)), 42u);
}

}  // namespace
}  // namespace ebb::copyspace
