// Paging out: ages, requests, and reserve regions. What happens when the system refuses is in
// copy_space_failure_test.cc.

#include <vector>

#include "absl/strings/str_cat.h"
#include "copyspace/copy_space.h"
#include "copyspace/space_for_test.h"
#include "gtest/gtest.h"

namespace ebb::copyspace {
namespace {

using platform::MiB;

constexpr uint32_t kWhole = 64 << 10;
const Bytes kMetadata = CopySpace::MetadataPerBlock(false);

void Tick(SpaceForTest& space) {
  space->AdvancePageOutAges();
  EXPECT_EQ(space->DiscardOldest(), absl::OkStatus());
  EXPECT_EQ(space->CheckInvariants(), absl::OkStatus());
}

void Collect(SpaceForTest& space) {
  space->Flip(space.stopped());
  space->FinishCycle(space.stopped());
}

TEST(CopySpacePageOut, WhatACycleFreesIsGoneWithTheSecondTick) {
  SpaceForTest space(MiB(1));
  const std::vector<Block*> blocks = Acquire(space, 3);
  for (Block* block : blocks) *reinterpret_cast<uint64_t*>(block->region_begin(0)) = 7;
  Return(space, blocks, kWhole);
  Collect(space);
  EXPECT_FALSE(blocks[0]->known_zero(0));
  EXPECT_EQ(space->counts().paged_out, (std::array<int64_t, 4>{3, 0, 0, 0}));
  Tick(space);
  EXPECT_EQ(space->counts().paged_out, (std::array<int64_t, 4>{0, 3, 0, 0}));
  EXPECT_EQ(space.ledger().used(), PriceOf(3));
  Tick(space);
  EXPECT_EQ(space->counts().paged_out, (std::array<int64_t, 4>{0, 0, 0, 3}));
  EXPECT_EQ(space.ledger().used(), kMetadata * 3);
  EXPECT_EQ(space->ticks_since_cycle(), 2);
  for (Block* block : blocks) {
    EXPECT_TRUE(block->known_zero(0));
    EXPECT_EQ(*reinterpret_cast<uint64_t*>(block->region_begin(0)), 0u);
  }
}

TEST(CopySpacePageOut, AcquireTakesTheYoungestAgeFirstAndDebitsThePagedOut) {
  SpaceForTest space(MiB(1));
  const std::vector<Block*> blocks = Acquire(space, 3);
  Return(space, {blocks[0]}, 0);
  Tick(space);
  Return(space, {blocks[1]}, 0);
  Tick(space);
  Return(space, {blocks[2]}, 0);
  Tick(space);  // blocks[0] is out now
  EXPECT_EQ(space->counts().paged_out, (std::array<int64_t, 4>{1, 1, 0, 1}));
  EXPECT_EQ(Acquire(space, 1)[0], blocks[2]);
  EXPECT_EQ(Acquire(space, 1)[0], blocks[1]);
  EXPECT_EQ(space.ledger().used(), PriceOf(2) + kMetadata);
  EXPECT_EQ(Acquire(space, 1)[0], blocks[0]);
  EXPECT_EQ(space.ledger().used(), PriceOf(3));
  Return(space, blocks, 0);
}

TEST(CopySpacePageOut, BlocksWithFromSpaceObjectsDoNotAge) {
  SpaceForTest space(MiB(1));
  const std::vector<Block*> blocks = Acquire(space, 2);
  *reinterpret_cast<uint64_t*>(blocks[0]->region_begin(0)) = 7;
  Return(space, blocks, kWhole);
  space->Flip(space.stopped());
  for (int i = 0; i < 5; ++i) Tick(space);
  EXPECT_EQ(space->ticks_since_cycle(), 0) << "a cycle that lasts for ticks makes no space idle";
  EXPECT_EQ(space->Shrink(kBlockSize), absl::OkStatus());
  EXPECT_EQ(space->PageOutNow(MiB(1)), absl::OkStatus());
  EXPECT_EQ(space->counts().in_core(), 2);
  EXPECT_EQ(*reinterpret_cast<uint64_t*>(blocks[0]->region_begin(0)), 7u);
  space->FinishCycle(space.stopped());
  EXPECT_EQ(space->counts().condemned, 1) << "the request is satisfied at the cycle's end";
}

TEST(CopySpacePageOut, ShrinkIsSatisfiedAtOnceAsFarAsItGoes) {
  SpaceForTest space(MiB(1));
  const std::vector<Block*> blocks = Acquire(space, 3);
  Return(space, {blocks[0]}, 0);
  Return(space, {blocks[1], blocks[2]}, kWhole);
  EXPECT_EQ(space->Shrink(kBlockSize * 2 + Bytes(100)), absl::OkStatus());
  EXPECT_EQ(space->counts().paged_out[3], 1);
  EXPECT_EQ(space->bytes_to_page_out(), kBlockSize + Bytes(100));
  Collect(space);
  EXPECT_EQ(space->bytes_to_page_out(), Bytes(100));
  EXPECT_EQ(space->counts().condemned, 1);
  EXPECT_EQ(space->counts().paged_out[0], 1);
  Tick(space);
  EXPECT_EQ(space->counts().paged_out[3], 2);
  EXPECT_EQ(space->CheckInvariants(), absl::OkStatus());
}

TEST(CopySpacePageOut, AnUnusedBlockReturnedSatisfiesARequest) {
  SpaceForTest space(MiB(1));
  const std::vector<Block*> blocks = Acquire(space, 1);
  EXPECT_EQ(space->Shrink(kBlockSize), absl::OkStatus());
  Return(space, blocks, 0);
  EXPECT_EQ(space->counts().condemned, 1);
  EXPECT_EQ(space->CheckInvariants(), absl::OkStatus());
}

TEST(CopySpacePageOut, ExpandTakesBackWhatIsNotYetDone) {
  SpaceForTest space(MiB(1));
  const std::vector<Block*> blocks = Acquire(space, 2);
  Return(space, blocks, kWhole);
  EXPECT_EQ(space->Shrink(kBlockSize * 5), absl::OkStatus());
  Collect(space);
  EXPECT_EQ(space->counts().condemned, 2);
  EXPECT_EQ(space->bytes_to_page_out(), kBlockSize * 3);
  EXPECT_EQ(space->Expand(kBlockSize * 4), kBlockSize * 4);
  EXPECT_EQ(space->counts().condemned, 1);
  EXPECT_EQ(space->counts().empty, 1);
  EXPECT_EQ(space->Expand(kBlockSize * 4), kBlockSize);
  EXPECT_EQ(space->CheckInvariants(), absl::OkStatus());
}

TEST(CopySpacePageOut, ExpandDoesNotTouchTheOverdraft) {
  SpaceForTest space(PriceOf(4), {.overdraft = kBlockSize * 2});
  Return(space, Acquire(space, 2), kWhole);
  space->Flip(space.stopped());
  std::vector<Block*> blocks;
  while (Block* block = space->AcquireBlock(AcquirePurpose::kEvacuation, Bytes(16))) {
    blocks.push_back(block);
  }
  EXPECT_EQ(blocks.size(), 4u);
  Return(space, blocks, 0);
  space->FinishCycle(space.stopped());
  EXPECT_EQ(space->counts().condemned, 2);
  EXPECT_EQ(space->Expand(MiB(1)), Bytes(0));
  EXPECT_EQ(space->counts().condemned, 2);
}

TEST(CopySpacePageOut, EvacuationTakesCondemnedBlocksAndTheRequestStands) {
  SpaceForTest space(PriceOf(2));
  const std::vector<Block*> blocks = Acquire(space, 2);
  Return(space, blocks, kWhole);
  EXPECT_EQ(space->Shrink(kBlockSize * 2), absl::OkStatus());
  Collect(space);
  EXPECT_EQ(space->counts().condemned, 2);
  EXPECT_EQ(space->AcquireBlock(AcquirePurpose::kMutator, Bytes(16)), nullptr);
  space->Flip(space.stopped());
  Block* block = space->AcquireBlock(AcquirePurpose::kEvacuation, Bytes(16));
  ASSERT_NE(block, nullptr);
  EXPECT_EQ(space->bytes_to_page_out(), kBlockSize);
  space->ReturnBlock(block, kWhole);
  space->FinishCycle(space.stopped());
  EXPECT_EQ(space->CheckInvariants(), absl::OkStatus());
}

TEST(CopySpacePageOut, WholeRunsGoFirst) {
  SpaceForTest space(MiB(16));
  const std::vector<Block*> blocks = Acquire(space, 4 * kBlocksPerRun - 1);
  // By address: the first run lacks a block, the third is free, the others have a block in use.
  const auto in_use = [](size_t i) { return i == 3 || i == 20 || i == 60; };
  // The last to be returned is the first that would go.
  for (size_t i = blocks.size(); i-- > 0;) {
    if (!in_use(i)) Return(space, {blocks[i]}, 0);
  }
  EXPECT_EQ(space->PageOutNow(kRunSize + kBlockSize), absl::OkStatus());
  EXPECT_EQ(space->counts().paged_out[3], kBlocksPerRun + 1);
  const size_t third = 2 * kBlocksPerRun - 1;
  for (size_t i = 0; i < kBlocksPerRun; ++i) {
    EXPECT_EQ(static_cast<int>(blocks[third + i]->list()), static_cast<int>(BlockList::kPagedOut));
  }
  EXPECT_EQ(static_cast<int>(blocks[0]->list()), static_cast<int>(BlockList::kPagedOut));
  EXPECT_EQ(space->CheckInvariants(), absl::OkStatus());
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (in_use(i)) Return(space, {blocks[i]}, 0);
  }
  // Of three runs the one whose block is found first, wherever its other blocks are.
  EXPECT_EQ(space->PageOutNow(kRunSize), absl::OkStatus());
  for (size_t i = 0; i < kBlocksPerRun; ++i) {
    const Block& block = *blocks[third + kBlocksPerRun + i];
    EXPECT_EQ(static_cast<int>(block.list()), static_cast<int>(BlockList::kPagedOut))
        << absl::StrCat(block);
  }
  EXPECT_EQ(space->CheckInvariants(), absl::OkStatus());
}

TEST(CopySpacePageOut, ReserveRegionsAreGivenBackAndStayDebited) {
  SpaceForTest space(MiB(128), {}, /*slabs=*/2);
  const std::vector<Block*> blocks = Acquire(space, 300);  // more than one batch
  for (Block* block : blocks) *reinterpret_cast<uint64_t*>(block->region_begin(0)) = 7;
  Return(space, blocks, kWhole);
  space->Flip(space.stopped());
  std::vector<Block*> to;
  for (int i = 0; i < 300; ++i) {
    to.push_back(space->AcquireBlock(AcquirePurpose::kEvacuation, Bytes(16)));
    *reinterpret_cast<uint64_t*>(to.back()->region_begin(1)) = 8;
  }
  Return(space, to, kWhole);
  space->FinishCycle(space.stopped());
  EXPECT_EQ(space->DiscardReserve(), absl::OkStatus());
  EXPECT_EQ(space.system().uses(platform::Call::kDiscardBatch), 2);
  EXPECT_EQ(space.ledger().used(), PriceOf(300));
  for (Block* block : blocks) {
    EXPECT_TRUE(block->known_zero(0));
    EXPECT_EQ(*reinterpret_cast<uint64_t*>(block->region_begin(0)), 0u);
    EXPECT_EQ(*reinterpret_cast<uint64_t*>(block->region_begin(1)), 8u);
  }
  EXPECT_EQ(space->CheckInvariants(), absl::OkStatus());
  EXPECT_EQ(space->DiscardReserve(), absl::OkStatus());
  EXPECT_EQ(space.system().uses(platform::Call::kDiscardBatch), 2) << "nothing left to do";
}

TEST(CopySpacePageOut, NoReserveIsGivenBackDuringACycle) {
  SpaceForTest space(MiB(1));
  Return(space, Acquire(space, 2), kWhole);
  space->Flip(space.stopped());
  EXPECT_EQ(space->DiscardReserve(), absl::OkStatus());
  EXPECT_EQ(space.system().uses(platform::Call::kDiscardBatch), 0);
  space->FinishCycle(space.stopped());
}

}  // namespace
}  // namespace ebb::copyspace
