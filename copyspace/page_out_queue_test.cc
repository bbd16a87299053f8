#include "copyspace/page_out_queue.h"

#include <array>
#include <utility>

#include "gtest/gtest.h"

namespace ebb::copyspace {
namespace {

TEST(PageOutQueue, AgesAdvanceAndTheOldestCollects) {
  std::array<Block, 4> blocks;
  PageOutQueue queue;
  for (Block& block : blocks) {
    BlockStack empty;
    empty.Push(block, BlockList::kEmpty);
    queue.Advance(std::move(empty));
  }
  EXPECT_EQ(queue.age(0).size(), 1);
  EXPECT_EQ(queue.age(1).size(), 1);
  EXPECT_EQ(queue.age(PageOutQueue::kOldestInCore).size(), 2) << "nobody discarded it";
  EXPECT_EQ(queue.age(PageOutQueue::kPagedOut).size(), 0);
  EXPECT_EQ(queue.PopYoungestInCore(), &blocks[3]);
  EXPECT_EQ(queue.PopOldestInCore(), &blocks[1]);
  EXPECT_EQ(queue.PopOldestInCore(), &blocks[0]);
  EXPECT_EQ(queue.PopOldestInCore(), &blocks[2]);
  EXPECT_EQ(queue.PopOldestInCore(), nullptr);
  EXPECT_EQ(queue.PopYoungestInCore(), nullptr);
}

}  // namespace
}  // namespace ebb::copyspace
