// CopySpace's contract: acquire and return, flip and finish, accounting. More of flip and finish is
// in copy_space_cycle_test.cc, retained blocks are in copy_space_retained_test.cc, page-out in
// copy_space_page_out_test.cc.

#include "copyspace/copy_space.h"

#include <type_traits>
#include <vector>

#include "absl/strings/match.h"
#include "copyspace/field_log.h"
#include "copyspace/space_for_test.h"
#include "gtest/gtest.h"

namespace ebb::copyspace {
namespace {

using platform::KiB;
using platform::MiB;

static_assert(!std::is_default_constructible_v<MutatorsStopped>, "only the pause may make one");
static_assert(!std::is_copy_constructible_v<MutatorsStopped>);

constexpr uint32_t kWhole = 64 << 10;

Block* Acquire(SpaceForTest& space, AcquirePurpose purpose = AcquirePurpose::kMutator) {
  return space->AcquireBlock(purpose, Bytes(16));
}

void CheckAndExpect(SpaceForTest& space, Bytes allocated, Bytes fragmentation) {
  EXPECT_EQ(space->CheckInvariants(), absl::OkStatus());
  EXPECT_EQ(space->allocated_bytes(), allocated);
  EXPECT_EQ(space->fragmentation(), fragmentation);
}

TEST(CopySpace, RejectsRangesThatDoNotFit) {
  Ledger ledger(MiB(1));
  const auto create = [&ledger](uintptr_t begin, Bytes size, bool fixed) {
    const CopySpace::Options options = {.range = {begin, size}, .fixed = fixed};
    return CopySpace::Create(platform::System::Real(), ledger, options).status();
  };
  const uintptr_t slab = kSlabSize.size();
  EXPECT_EQ(create(slab + 4096, kSlabSize, false).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(create(slab, kSlabSize + MiB(1), false).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(create(slab, Bytes(0), false).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(create(slab, kSlabSize * 2, true).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(create(3 * slab, kSlabSize * 3, true).code(), absl::StatusCode::kInvalidArgument);
  const CopySpace::Options negative = {.range = {slab, kSlabSize}, .overdraft = Bytes(-1)};
  EXPECT_TRUE(absl::StrContains(
      CopySpace::Create(platform::System::Real(), ledger, negative).status().message(),
      "overdraft"));
}

TEST(CopySpace, CommitsNothingBeforeItIsNeeded) {
  SpaceForTest space(MiB(1));
  EXPECT_EQ(space.system().uses(platform::Call::kCommit), 0);
  EXPECT_EQ(space->debited(), Bytes(0));
  Block* block = Acquire(space);
  EXPECT_EQ(space.system().uses(platform::Call::kCommit), 1);
  EXPECT_EQ(space->debited(), PriceOf(1));
  EXPECT_TRUE(block->known_zero(0));
  space->ReturnBlock(block, 0);
}

TEST(CopySpace, AddressesTellTheirPlace) {
  SpaceForTest space(MiB(1));
  Block* block = Acquire(space);
  const uintptr_t active = block->region_begin(0);
  const uintptr_t reserve = block->region_begin(1);
  EXPECT_EQ(&Block::Of(active), block);
  EXPECT_EQ(&Block::Of(reserve + 65535), block);
  EXPECT_TRUE(space->Contains(active));
  EXPECT_FALSE(space->InReserve(active));
  EXPECT_TRUE(space->InReserve(reserve));
  EXPECT_FALSE(space->Contains(SlabOf(active) - 1));
  EXPECT_FALSE(space->InReserve(SlabOf(active) + 2 * kSlabSize.size() + kRegionBit));
  space->ReturnBlock(block, kWhole);
  space->Flip(space.stopped());
  EXPECT_TRUE(space->InReserve(active));
  EXPECT_TRUE(space->InFromSpace(active + 8));
  EXPECT_FALSE(space->InFromSpace(reserve + 8));
  space->FinishCycle(space.stopped());
}

TEST(CopySpace, ReturnedBlocksGoWhereTheirRoomSays) {
  SpaceForTest space(MiB(1));
  Block* full = Acquire(space);
  Block* partly = Acquire(space);
  Block* unused = Acquire(space);
  EXPECT_EQ(space->counts().open, 3);
  space->ReturnBlock(full, kWhole - 8);
  space->ReturnBlock(partly, 8);
  space->ReturnBlock(unused, 0);
  const BlockCounts counts = space->counts();
  EXPECT_EQ(counts.open, 0);
  EXPECT_EQ(counts.full, 1);
  EXPECT_EQ(counts.partly_full, 1);
  EXPECT_EQ(counts.empty, 1);
  EXPECT_EQ(counts.total(), 3);
  CheckAndExpect(space, Bytes(kWhole), Bytes(8));
}

TEST(CopySpace, PartlyFullIsPreferredThenTheLastUsedEmptyOne) {
  SpaceForTest space(MiB(1));
  std::vector<Block*> blocks = {Acquire(space), Acquire(space), Acquire(space)};
  space->ReturnBlock(blocks[0], 64);
  space->ReturnBlock(blocks[1], 0);
  space->ReturnBlock(blocks[2], 0);
  EXPECT_EQ(space->AcquireBlock(AcquirePurpose::kMutator, kRegionSize - Bytes(64)), blocks[0]);
  EXPECT_EQ(Acquire(space), blocks[2]);
  EXPECT_EQ(Acquire(space), blocks[1]);
  space->ReturnBlock(blocks[0], 64);
  // Not enough room in the partly full one: a fresh one.
  Block* fresh = space->AcquireBlock(AcquirePurpose::kMutator, kRegionSize - Bytes(56));
  EXPECT_EQ(fresh->payload(), blocks[2]->payload() + kBlockSize.size());
  for (Block* block : {blocks[1], blocks[2], fresh}) space->ReturnBlock(block, 0);
  CheckAndExpect(space, Bytes(64), Bytes(0));
}

TEST(CopySpace, FlipEmptiesAndFinishForgetsFromSpace) {
  SpaceForTest space(MiB(1));
  Block* low = Acquire(space);
  Block* high = Acquire(space);
  ASSERT_LT(low, high);
  space->ReturnBlock(low, kWhole);
  space->ReturnBlock(high, 100 * 8);
  const int parity = space->cycle_parity();
  space->Flip(space.stopped());
  EXPECT_EQ(space->active_region(), 1);
  EXPECT_NE(space->cycle_parity(), parity);
  EXPECT_EQ(space->counts().flipped, 2);
  EXPECT_EQ(space->counts().total(), 2);
  CheckAndExpect(space, Bytes(0), Bytes(0));
  EXPECT_EQ(low->used(0), kWhole) << "from-space must stay walkable during the cycle";

  Block* to = Acquire(space, AcquirePurpose::kEvacuation);
  EXPECT_EQ(to, low) << "lowest address first";
  EXPECT_TRUE(to->is_survivor(1));
  space->ReturnBlock(to, 256);
  space->FinishCycle(space.stopped());
  EXPECT_EQ(low->used(0), 0u);
  EXPECT_EQ(high->used(0), 0u);
  EXPECT_FALSE(low->known_zero(0));
  EXPECT_TRUE(low->known_zero(1)) << "beyond used() nothing was written";
  CheckAndExpect(space, Bytes(256), Bytes(0));
}

TEST(CopySpace, SurvivorMarksLastOneCycle) {
  SpaceForTest space(MiB(1));
  space->Flip(space.stopped());
  Block* survivor = Acquire(space, AcquirePurpose::kEvacuation);
  space->ReturnBlock(survivor, kWhole);
  space->FinishCycle(space.stopped());
  Block* young = Acquire(space);
  space->ReturnBlock(young, kWhole);
  EXPECT_TRUE(space->IsSurvivor(survivor->region_begin(1) + 8));
  EXPECT_FALSE(space->IsSurvivor(young->region_begin(1) + 8));
  for (int cycle = 0; cycle < 2; ++cycle) {
    space->Flip(space.stopped());
    space->FinishCycle(space.stopped());
  }
  Block* again = Acquire(space);
  EXPECT_FALSE(again->is_survivor(1));
  space->ReturnBlock(again, 0);
}

TEST(CopySpace, MutatorsLeaveTheOverdraftAndEvacuationUsesIt) {
  const Bytes metadata = CopySpace::MetadataPerBlock(false) * 5;
  SpaceForTest space(kBlockSize * 4 + metadata,
                     {.overdraft = kBlockSize * 2, .hard_limit_slack = kBlockSize});
  std::vector<Block*> blocks;
  const auto acquire_all = [&](AcquirePurpose purpose) {
    int acquired = 0;
    while (Block* block = Acquire(space, purpose)) {
      blocks.push_back(block);
      ++acquired;
    }
    return acquired;
  };
  EXPECT_EQ(acquire_all(AcquirePurpose::kMutator), 2);
  EXPECT_EQ(space->last_failure(), absl::OkStatus()) << "the ledger refused, not the system";
  for (Block* block : blocks) space->ReturnBlock(block, kWhole);
  blocks.clear();
  space->Flip(space.stopped());
  EXPECT_EQ(acquire_all(AcquirePurpose::kEvacuation), 5) << "2, the overdraft's 2, and the slack";
  for (Block* block : blocks) space->ReturnBlock(block, block == blocks[0] ? kWhole : 0);
  space->FinishCycle(space.stopped());
  // The overdraft is restored at once, as far as acquiring goes, and for good by the next tick.
  EXPECT_EQ(space->counts().condemned, 3);
  Block* last = Acquire(space);
  ASSERT_NE(last, nullptr) << "2 blocks stay, of which one is full";
  EXPECT_EQ(Acquire(space), nullptr);
  EXPECT_EQ(space->PageOutNow(Bytes(0)), absl::OkStatus());
  EXPECT_EQ(space.ledger().used(), kBlockSize * 2 + metadata);
  EXPECT_EQ(Acquire(space), nullptr);
  space->ReturnBlock(last, 0);
  EXPECT_EQ(space->CheckInvariants(), absl::OkStatus());
}

TEST(CopySpace, UsedUpRangeSaysSo) {
  SpaceForTest space(MiB(200), {}, /*slabs=*/1);
  std::vector<Block*> blocks;
  while (Block* block = Acquire(space)) blocks.push_back(block);
  EXPECT_EQ(blocks.size(), 511u);
  EXPECT_EQ(space->last_failure().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(absl::StrContains(space->last_failure().message(), "reserve a larger range"));
  EXPECT_EQ(space->debited(), PriceOf(511));
  int64_t visited = 0;
  space->ForEachBlock([&](Block& block) { EXPECT_EQ(&block, blocks[visited++]); });
  EXPECT_EQ(visited, 511);
  for (Block* block : blocks) space->ReturnBlock(block, 0);
}

TEST(CopySpace, FixedSpaceMakesAllBlocksAndAsksForNothingMore) {
  SpaceForTest space(MiB(2), {.fixed = true}, /*slabs=*/1);
  EXPECT_EQ(space->counts().paged_out[PageOutQueue::kPagedOut], 511);
  EXPECT_EQ(space->debited(), kBlockHeaderSize * 511);
  space.system().FailEvery(platform::Call::kCommit, 1);
  std::vector<Block*> blocks;
  while (Block* block = Acquire(space)) blocks.push_back(block);
  EXPECT_EQ(blocks.size(), 15u) << "(2 MiB - headers) / 128 KiB";
  EXPECT_EQ(space->last_failure(), absl::OkStatus());
  EXPECT_EQ(blocks[1]->payload(), blocks[0]->payload() + kBlockSize.size());
  for (Block* block : blocks) space->ReturnBlock(block, 0);
  EXPECT_EQ(space->CheckInvariants(), absl::OkStatus());
}

TEST(CopySpace, FieldLogBitsAreClearBeforeFirstUse) {
  SpaceForTest space(MiB(4), {.field_logging = true});
  Block* block = Acquire(space);
  EXPECT_EQ(block->payload(), SlabOf(block->payload()) + 9 * kBlockSize.size())
      << "the first 8 payload blocks hold the bits";
  const uintptr_t edge = block->region_begin(0) + 8;
  EXPECT_TRUE(Remember(edge));
  EXPECT_FALSE(Remember(edge));
  EXPECT_FALSE(IsRemembered(edge + 8));
  space->ReturnBlock(block, kWhole);
  for (int cycle = 0; cycle < 2; ++cycle) {
    space->Flip(space.stopped());
    space->FinishCycle(space.stopped());
  }
  EXPECT_EQ(Acquire(space), block);
  EXPECT_FALSE(IsRemembered(edge));
  space->ReturnBlock(block, 0);
}

TEST(CopySpace, PoisonedReserveIsUsableAfterTheFlip) {
  SpaceForTest space(MiB(1));
  Block* block = Acquire(space);
  space->ReturnBlock(block, kWhole);
  space->Flip(space.stopped());
  space->FinishCycle(space.stopped());
  space->PoisonReserve(space.stopped());
#ifndef ABSL_HAVE_ADDRESS_SANITIZER
  EXPECT_EQ(*reinterpret_cast<unsigned char*>(block->region_begin(0)), CopySpace::kPoisonByte);
#endif
  space->Flip(space.stopped());
  Block* again = Acquire(space, AcquirePurpose::kEvacuation);
  EXPECT_EQ(again, block);
  *reinterpret_cast<volatile char*>(block->region_begin(0)) = 1;
  space->ReturnBlock(again, 0);
  space->FinishCycle(space.stopped());
}

TEST(CopySpaceDeathTest, PhasesOutOfOrder) {
  SpaceForTest space(MiB(1));
  EXPECT_DEATH(space->FinishCycle(space.stopped()), "FinishCycle without Flip");
  Block* block = Acquire(space);
  EXPECT_DEATH(space->Flip(space.stopped()), "allocator open");
  space->ReturnBlock(block, 8);
  space->Flip(space.stopped());
  EXPECT_DEATH(space->Flip(space.stopped()), "before the last cycle's FinishCycle");
  space->FinishCycle(space.stopped());
}

}  // namespace
}  // namespace ebb::copyspace
