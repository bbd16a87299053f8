// Spaces: what passes an armed load barrier's filter (inv.load-filter, inv.in-place-bit).

#include "heap/spaces.h"

#include <atomic>
#include <cstdint>
#include <memory>

#include "copyspace/copy_space.h"
#include "copyspace/geometry.h"
#include "copyspace/mutators_stopped_for_test.h"
#include "gtest/gtest.h"
#include "heap/load_barrier.h"
#include "heap/options.h"
#include "heap/type_info.h"
#include "platform/bytes.h"
#include "platform/system.h"

namespace ebb::internal {
namespace {

using copyspace::AcquirePurpose;
using copyspace::Block;
using platform::Bytes;

class NoBarrier final : public LoadBarrier {
 public:
  uintptr_t Forward(std::atomic<uintptr_t>&, uintptr_t bits) override { return bits; }
  uintptr_t ForwardWeak(std::atomic<uintptr_t>&, uintptr_t bits) override { return bits; }
};

class SpacesTest : public testing::TestWithParam<int64_t> {
 protected:
  SpacesTest() {
    Options options;
    options.max_bytes = GetParam() / 4;
    options.reserve_bytes = GetParam();
    options.workers = 1;
    auto spaces = Spaces::Create(platform::System::Real(), options);
    EXPECT_TRUE(spaces.ok()) << spaces.status();
    spaces_ = *std::move(spaces);
  }

  bool Passes(uintptr_t bits) { return spaces_->FilterFor(barrier_).Passes(bits); }

  NoBarrier barrier_;
  std::unique_ptr<Spaces> spaces_;
  copyspace::MutatorsStoppedForTest stopped_;
};

TEST_P(SpacesTest, OnlyToSpacePassesTheFilter) {
  copyspace::CopySpace& copy = spaces_->copy();
  for (int cycle = 0; cycle < 2; ++cycle) {
    copy.Flip(stopped_);
    Block* block = copy.AcquireBlock(AcquirePurpose::kMutator, Bytes(8));
    ASSERT_NE(block, nullptr);
    const int active = copy.active_region();
    for (const uintptr_t at : {uintptr_t{8}, copyspace::kRegionBit - 8}) {
      EXPECT_TRUE(Passes(block->region_begin(active) + at));
      EXPECT_FALSE(Passes(block->region_begin(1 - active) + at));
    }
    copy.ReturnBlock(block, 0);
    copy.FinishCycle(stopped_);
  }
}

TEST_P(SpacesTest, NothingThatIsMarkedInPlacePassesTheFilter) {
  for (int cycle = 0; cycle < 2; ++cycle) {
    spaces_->copy().Flip(stopped_);
    // Over more than a region: some have bit 16, and some have not.
    for (int i = 0; i < 12; ++i) {
      const auto pinned = spaces_->pinned().Allocate(1000, Bytes(0));
      ASSERT_TRUE(pinned.ok()) << pinned.status();
      EXPECT_FALSE(Passes(*pinned + kHeaderBytes));
      const auto large = spaces_->large().Allocate(9000, Bytes(0));
      ASSERT_TRUE(large.ok()) << large.status();
      EXPECT_FALSE(Passes(*large + kHeaderBytes));
    }
    spaces_->copy().FinishCycle(stopped_);
  }
}

TEST_P(SpacesTest, NothingPassesWhereRegionsAreRetained) {
  copyspace::CopySpace& copy = spaces_->copy();
  Block* block = copy.AcquireBlock(AcquirePurpose::kMutator, Bytes(8));
  ASSERT_NE(block, nullptr);
  const uintptr_t object = block->region_begin(copy.active_region()) + kHeaderBytes;
  copy.ReturnBlock(block, 64);
  copy.Flip(stopped_);
  EXPECT_FALSE(Passes(object));
  copy.RetainRegionOf(object);
  copy.FinishCycle(stopped_);
  copy.Flip(stopped_);
  ASSERT_TRUE(copy.has_retained());
  EXPECT_FALSE(Passes(object)) << "it has the bits of to-space, and must be evacuated";
  copy.FinishCycle(stopped_);
}

INSTANTIATE_TEST_SUITE_P(Reserves, SpacesTest,
                         testing::Values(int64_t{4} << 20, int64_t{64} << 20, int64_t{65} << 20,
                                         int64_t{3} << 30));

}  // namespace
}  // namespace ebb::internal
