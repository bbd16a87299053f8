#include "copyspace/slab.h"

#include "absl/log/check.h"
#include "gtest/gtest.h"
#include "platform/fake_system.h"

namespace ebb::copyspace {
namespace {

class SlabTest : public testing::TestWithParam<bool> {
 protected:
  SlabTest() {
    auto range = system_.Reserve(kSlabSize * 2, kSlabSize, "slab test");
    CHECK_OK(range.status());
    range_ = *range;
  }
  ~SlabTest() override { CHECK_OK(system_.Release(range_, "slab test")); }

  platform::FakeSystem system_;
  AddressRange range_;
};

TEST_P(SlabTest, HandsOutAllBlocksInAddressOrder) {
  SlabFrontier frontier(system_, range_, /*field_logging=*/GetParam());
  const int reserved = GetParam() ? 9 : 1;
  EXPECT_EQ(frontier.capacity(), 2 * (512 - reserved));
  uintptr_t expected = range_.begin + reserved * kBlockSize.size();
  for (int64_t i = 0; i < frontier.capacity(); ++i) {
    const absl::StatusOr<Block*> block = frontier.Take();
    ASSERT_TRUE(block.ok());
    if (expected == range_.begin + kSlabSize.size()) expected += reserved * kBlockSize.size();
    ASSERT_EQ((*block)->payload(), expected);
    ASSERT_EQ(&frontier.At(i), *block);
    expected += kBlockSize.size();
  }
  EXPECT_EQ(frontier.Take().status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(system_.uses(platform::Call::kCommit), 2);
  EXPECT_EQ(frontier.committed(), range_);
  EXPECT_EQ(reinterpret_cast<SlabHeader*>(range_.begin)->first_payload_block, reserved);
}

TEST_P(SlabTest, TriesAgainAfterAFailedCommit) {
  SlabFrontier frontier(system_, range_, /*field_logging=*/GetParam());
  system_.FailOn(platform::Call::kCommit, 1);
  EXPECT_FALSE(frontier.Take().ok());
  EXPECT_EQ(frontier.taken(), 0);
  EXPECT_TRUE(frontier.Take().ok());
}

INSTANTIATE_TEST_SUITE_P(FieldLogging, SlabTest, testing::Bool());

}  // namespace
}  // namespace ebb::copyspace
