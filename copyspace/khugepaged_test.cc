// khugepaged, which puts huge pages together behind a program's back, does not bring back what a
// space has paged out. Needs the right to have it hurry: copy_space_huge_pages_test.cc does
// without.

#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/log/check.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "copyspace/copy_space.h"
#include "copyspace/space_for_test.h"
#include "gtest/gtest.h"
#include "platform/memory_for_test.h"
#include "platform/system.h"

namespace ebb::copyspace {
namespace {

using platform::HugePageAdvice;
using platform::MiB;
using platform::ResidentIn;

constexpr int kBlocks = 4 * kBlocksPerRun;

// A space of which every other block is paged out, and whose others are in use.
class HalfPagedOut {
 public:
  explicit HalfPagedOut(bool dense) : space_(MiB(16), {.dense_huge_pages = dense}) {}

  uintptr_t begin() { return space_->range().begin; }
  void Advise(HugePageAdvice advice) {
    CHECK_OK(space_.system().AdviseHugePages(space_->range(), advice, "a test's copy space"));
  }
  void PageOut() {
    std::vector<Block*> blocks;
    for (int i = 0; i < kBlocks; ++i) {
      blocks.push_back(space_->AcquireBlock(AcquirePurpose::kMutator, Bytes(16)));
      std::memset(reinterpret_cast<void*>(blocks.back()->payload()), 1, kBlockSize.size());
    }
    for (int i = 0; i < kBlocks; ++i) {
      space_->ReturnBlock(blocks[i], i % 2 == 0 ? 64 << 10 : 0);
      if (i % 2 != 0) out_.push_back(blocks[i]);
    }
    CHECK_OK(space_->PageOutNow(MiB(16)));
  }
  Bytes BroughtBack() const {
    Bytes resident;
    for (const Block* block : out_) resident += *ResidentIn(block->range());
    return resident;
  }

 private:
  SpaceForTest space_;
  std::vector<Block*> out_;
};

// khugepaged goes through a process's memory by address. A space that it is welcome to lies on
// either side of the others, and the upper one is made ready when it has found the lower one: when
// it has found that as well, it has passed by the others.
TEST(Khugepaged, DoesNotBringBackWhatIsPagedOut) {
  const auto hurry = platform::KhugepagedInAHurry::Start();
  if (!hurry.ok()) GTEST_SKIP() << "khugepaged cannot be made to hurry: " << hurry.status();
  HalfPagedOut first(/*dense=*/false), never(false), dense(true), last(false);
  HalfPagedOut& lower = first.begin() < last.begin() ? first : last;
  HalfPagedOut& upper = first.begin() < last.begin() ? last : first;
  for (HalfPagedOut* space : {&never, &dense}) {
    if (space->begin() < lower.begin() || space->begin() > upper.begin()) {
      GTEST_SKIP() << "the system has mapped the spaces in another order";
    }
  }
  lower.Advise(HugePageAdvice::kAlways);
  upper.Advise(HugePageAdvice::kAlways);
  never.Advise(HugePageAdvice::kNever);
  never.PageOut();
  dense.PageOut();
  const auto awaited = [](HalfPagedOut& space) {
    space.PageOut();
    EXPECT_EQ(space.BroughtBack(), Bytes(0));
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    while (space.BroughtBack() == Bytes(0) && absl::Now() < deadline) {
      absl::SleepFor(absl::Milliseconds(10));
    }
    return space.BroughtBack() > Bytes(0);
  };
  if (!awaited(lower) || !awaited(upper)) {
    GTEST_SKIP() << "khugepaged, which is nice to other programs, has not come by";
  }
  EXPECT_EQ(never.BroughtBack(), Bytes(0));
  EXPECT_EQ(dense.BroughtBack(), Bytes(0));
}

}  // namespace
}  // namespace ebb::copyspace
