#include "copyspace/field_log.h"

#include <atomic>
#include <bit>
#include <cstdint>
#include <thread>
#include <vector>

#include "copyspace/space_for_test.h"
#include "gtest/gtest.h"

namespace ebb::copyspace {
namespace {

class FieldLogTest : public testing::Test {
 protected:
  FieldLogTest() : space_(platform::MiB(1), {.field_logging = true}) {
    block_ = space_->AcquireBlock(AcquirePurpose::kMutator, Bytes(16));
  }
  ~FieldLogTest() override { space_->ReturnBlock(block_, 0); }

  SpaceForTest space_;
  Block* block_;
};

TEST_F(FieldLogTest, EachWordHasABitOfItsOwn) {
  const uintptr_t begin = block_->region_begin(0);
  for (uintptr_t edge = begin; edge < begin + 1024; edge += 24) EXPECT_TRUE(Remember(edge));
  for (uintptr_t edge = begin; edge < begin + 1024; edge += 8) {
    EXPECT_EQ(IsRemembered(edge), (edge - begin) % 24 == 0) << edge - begin;
  }
  Forget(begin + 24);
  EXPECT_FALSE(IsRemembered(begin + 24));
  EXPECT_TRUE(IsRemembered(begin));
  EXPECT_TRUE(IsRemembered(begin + 48));
  EXPECT_TRUE(Remember(begin + 24));
}

TEST_F(FieldLogTest, AGroupAtOnce) {
  const uintptr_t group = block_->region_begin(0) + 3 * kLogGroup;
  EXPECT_TRUE(Remember(group + 8));
  EXPECT_TRUE(Remember(group + 504));
  const uint64_t bits = LogBit(group) | LogBit(group + 8) | LogBit(group + 256);
  EXPECT_EQ(RememberEach(group, bits), LogBit(group) | LogBit(group + 256));
  EXPECT_EQ(RememberEach(group, bits), 0u);
  EXPECT_EQ(RememberEach(group, ~uint64_t{0}), ~bits & ~LogBit(group + 504));
  EXPECT_FALSE(IsRemembered(group - 8));
  EXPECT_FALSE(IsRemembered(group + 512));
  Forget(group + 256);
  std::vector<uintptr_t> found;
  ForEachRemembered(block_->region_begin(0), [&](uintptr_t edge) { found.push_back(edge); });
  EXPECT_EQ(found.size(), 63u);
  EXPECT_EQ(found.front(), group);
  EXPECT_EQ(found.back(), group + 504);
}

TEST_F(FieldLogTest, ClearingARegionLeavesItsNeighbours) {
  const uintptr_t begin = block_->region_begin(1);
  EXPECT_TRUE(Remember(begin - 8));
  EXPECT_TRUE(Remember(begin));
  EXPECT_TRUE(Remember(begin + 65528));
  internal::ClearLogBits(begin);
  EXPECT_TRUE(IsRemembered(begin - 8));
  EXPECT_FALSE(IsRemembered(begin));
  EXPECT_FALSE(IsRemembered(begin + 65528));
}

TEST_F(FieldLogTest, OfRacingThreadsOneRemembers) {
  constexpr int kEdges = 4000;
  std::atomic<int> logged = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      int mine = 0;
      for (int edge = 0; edge < kEdges; ++edge) {
        const uintptr_t at = block_->region_begin(0) + edge * 8;
        mine += Remember(at);
        if (edge % 64 == 0) {
          mine += std::popcount(RememberEach(at, edge + 64 <= kEdges ? ~uint64_t{0} : 1));
        }
      }
      logged.fetch_add(mine, std::memory_order_relaxed);  // read after the join
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(logged.load(), kEdges);
}

}  // namespace
}  // namespace ebb::copyspace
