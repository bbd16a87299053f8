// Huge pages: which slabs are advised to have them, and that they do not bring back what has been
// paged out. khugepaged_test.cc asks the same of khugepaged itself.

#include <cstring>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "copyspace/copy_space.h"
#include "copyspace/space_for_test.h"
#include "gtest/gtest.h"
#include "platform/memory_for_test.h"
#include "platform/system.h"

namespace ebb::copyspace {
namespace {

using platform::Call;
using platform::HugePageAdvice;
using platform::MiB;
using Advised = std::vector<platform::FakeSystem::Advised>;

// Blocks of a slab's first two runs: one has a header block.
constexpr int kTwoRuns = 2 * kBlocksPerRun - 1;

void Collect(SpaceForTest& space) {
  space->Flip(space.stopped());
  space->FinishCycle(space.stopped());
  space->AdviseDenseSlabs();
}

AddressRange Slab(SpaceForTest& space, int index) {
  return {space->range().begin + index * kSlabSize.size(), kSlabSize};
}

void Fill(const Block& block) {
  std::memset(reinterpret_cast<void*>(block.payload()), 1, kBlockSize.size());
}

TEST(CopySpaceHugePages, TheAdviceOnTheRangeStaysAsItIsUnlessTheSpaceIsToBeDense) {
  SpaceForTest space(MiB(8));
  Return(space, Acquire(space, 20), 0);
  EXPECT_EQ(space->PageOutNow(MiB(1)), absl::OkStatus());
  Collect(space);
  EXPECT_EQ(space.system().advised(), Advised());
}

TEST(CopySpaceHugePages, WholeRunsBreakNoHugePage) {
  SpaceForTest space(MiB(8), {.dense_huge_pages = true});
  Advised advised = {{space->range(), HugePageAdvice::kAlways}};
  const std::vector<Block*> blocks = Acquire(space, kTwoRuns);
  const auto second_run = blocks.end() - kBlocksPerRun;
  Return(space, {second_run, blocks.end()}, 0);
  EXPECT_EQ(space->PageOutNow(MiB(8)), absl::OkStatus());
  EXPECT_EQ(space->counts().paged_out[3], kBlocksPerRun);
  EXPECT_EQ(space.system().advised(), advised);
  Return(space, {blocks.begin(), second_run}, 0);
  // A slab's first run cannot go as a whole.
  EXPECT_EQ(space->PageOutNow(MiB(8)), absl::OkStatus());
  advised.push_back({Slab(space, 0), HugePageAdvice::kNever});
  EXPECT_EQ(space.system().advised(), advised);
}

TEST(CopySpaceHugePages, ASlabThatLosesLessThanARunGetsThemBackWhenItIsInCoreAgain) {
  SpaceForTest space(MiB(8), {.dense_huge_pages = true});
  Advised advised = {{space->range(), HugePageAdvice::kAlways}};
  const std::vector<Block*> blocks = Acquire(space, kTwoRuns);
  Return(space, {blocks[20], blocks[25]}, 0);
  EXPECT_EQ(space->PageOutNow(kBlockSize), absl::OkStatus());
  advised.push_back({Slab(space, 0), HugePageAdvice::kNever});
  EXPECT_EQ(space.system().advised(), advised);
  EXPECT_EQ(space->PageOutNow(kBlockSize), absl::OkStatus());
  EXPECT_EQ(space.system().advised(), advised) << "it has been said";
  for (Block* block : blocks) {
    if (block != blocks[20] && block != blocks[25]) Return(space, {block}, 64 << 10);
  }
  Collect(space);
  EXPECT_EQ(space.system().advised(), advised) << "two blocks are paged out";
  const std::vector<Block*> again = Acquire(space, kTwoRuns);
  space->AdviseDenseSlabs();
  advised.push_back({Slab(space, 0), HugePageAdvice::kAlways});
  EXPECT_EQ(space.system().advised(), advised);
  Return(space, again, 0);
}

TEST(CopySpaceHugePages, SlabsThatLoseReserveRegionsGetThemBackAfterTheNextCycle) {
  SpaceForTest space(MiB(8), {.dense_huge_pages = true});
  Advised advised = {{space->range(), HugePageAdvice::kAlways}};
  Return(space, Acquire(space, 3), 64 << 10);
  space->Flip(space.stopped());
  Return(space, {space->AcquireBlock(AcquirePurpose::kEvacuation, Bytes(16))}, 64 << 10);
  space->FinishCycle(space.stopped());
  EXPECT_EQ(space->DiscardReserve(), absl::OkStatus());
  advised.push_back({Slab(space, 0), HugePageAdvice::kNever});
  space->AdviseDenseSlabs();
  EXPECT_EQ(space.system().advised(), advised);
  Collect(space);
  advised.push_back({Slab(space, 0), HugePageAdvice::kAlways});
  EXPECT_EQ(space.system().advised(), advised);
}

TEST(CopySpaceHugePages, PagesAreGivenBackWhateverBecomesOfTheAdvice) {
  SpaceForTest space(MiB(8), {.dense_huge_pages = true});
  const std::vector<Block*> blocks = Acquire(space, 2);
  Return(space, blocks, 0);
  space.system().FailOn(Call::kAdviseHugePages, 1);
  EXPECT_EQ(space->PageOutNow(kBlockSize), absl::OkStatus());
  EXPECT_EQ(space.system().advised().size(), 1u);
  EXPECT_EQ(space->PageOutNow(kBlockSize), absl::OkStatus());
  EXPECT_EQ(space.system().advised().size(), 2u) << "said at the next time";
}

// As khugepaged does it, but at once and without privilege.
class CopySpaceCollapse : public ::testing::TestWithParam<bool> {};

TEST_P(CopySpaceCollapse, DoesNotBringBackWhatIsPagedOut) {
  SpaceForTest space(MiB(16), {.dense_huge_pages = GetParam()});
  if (!GetParam()) {
    const absl::Status never = space.system().AdviseHugePages(
        space->range(), HugePageAdvice::kNever, "a test's copy space");
    ASSERT_EQ(never, absl::OkStatus());
  }
  const std::vector<Block*> blocks = Acquire(space, 3 * kBlocksPerRun - 1);
  for (Block* block : blocks) Fill(*block);
  // Of the second run every other block, and the third one.
  std::vector<Block*> out, in;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const size_t from_second = i - (kBlocksPerRun - 1);
    const bool goes = i + 1 >= kBlocksPerRun && (from_second >= kBlocksPerRun || i % 2 == 0);
    (goes ? out : in).push_back(blocks[i]);
  }
  Return(space, in, 64 << 10);
  Return(space, out, 0);
  ASSERT_EQ(space->PageOutNow(MiB(16)), absl::OkStatus());
  for (Block* block : out) ASSERT_EQ(*platform::ResidentIn(block->range()), Bytes(0));

  // It may well fail: that is what is wanted.
  const AddressRange runs = {RunOf(blocks.back()->payload()) - kRunSize.size(), kRunSize * 2};
  platform::CollapseNow(runs).IgnoreError();
  for (Block* block : out) {
    EXPECT_EQ(*platform::ResidentIn(block->range()), Bytes(0)) << absl::StrCat(*block);
  }
  for (Block* block : in) {
    EXPECT_EQ(*platform::ResidentIn(block->range()), kBlockSize) << absl::StrCat(*block);
  }

  // With the wrong advice it would have brought them back.
  const absl::Status always = space.system().AdviseHugePages(
      space->range(), HugePageAdvice::kAlways, "a test's copy space");
  const absl::Status collapsed =
      always.ok() ? platform::CollapseNow({runs.begin, kRunSize}) : always;
  if (!collapsed.ok()) GTEST_SKIP() << "no huge pages to be had here: " << collapsed;
  EXPECT_EQ(*platform::ResidentIn({runs.begin, kRunSize}), kRunSize);
}

INSTANTIATE_TEST_SUITE_P(Advice, CopySpaceCollapse, ::testing::Values(false, true),
                         [](const auto& info) { return info.param ? "dense" : "never"; });

}  // namespace
}  // namespace ebb::copyspace
