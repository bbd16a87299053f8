#include "copyspace/block_list.h"

#include <algorithm>
#include <array>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace ebb::copyspace {
namespace {

class BlockListTest : public testing::Test {
 protected:
  BlockStack Stack(std::initializer_list<int> from_bottom) {
    BlockStack stack;
    for (const int i : from_bottom) stack.Push(blocks_[i], BlockList::kEmpty);
    return stack;
  }
  // From the top; also sees that the size is right.
  std::vector<int> Contents(const BlockStack& stack) const {
    std::vector<int> contents;
    stack.ForEach(
        [&](Block& block) { contents.push_back(static_cast<int>(&block - blocks_.data())); });
    EXPECT_EQ(static_cast<int64_t>(contents.size()), stack.size());
    return contents;
  }
  auto Is(int i) {
    return [this, i](const Block& block) { return &block == &blocks_[i]; };
  }

  std::array<Block, 8> blocks_;
};

using Ints = std::vector<int>;

TEST_F(BlockListTest, LastInFirstOut) {
  BlockStack stack = Stack({0, 1});
  EXPECT_EQ(blocks_[0].list(), BlockList::kEmpty);
  EXPECT_EQ(stack.Pop(), &blocks_[1]);
  EXPECT_EQ(stack.Pop(), &blocks_[0]);
  EXPECT_EQ(stack.Pop(), nullptr);
  EXPECT_TRUE(stack.empty());
  stack.PushAll(Stack({2}));
  EXPECT_EQ(Contents(stack), Ints({2}));
}

TEST_F(BlockListTest, PushAllPutsTheOtherOnTop) {
  BlockStack stack = Stack({0, 1});
  BlockStack upper = Stack({2, 3});
  stack.PushAll(std::move(upper));
  stack.PushAll(BlockStack());
  EXPECT_EQ(Contents(stack), Ints({3, 2, 1, 0}));
  BlockStack moved = std::move(stack);
  EXPECT_EQ(Contents(moved), Ints({3, 2, 1, 0}));
}

TEST_F(BlockListTest, SortsByAddress) {
  for (const std::vector<int>& from_bottom :
       {Ints(), Ints({5}), Ints({1, 2}), Ints({2, 1}), Ints({4, 0, 7, 1, 3, 6, 2, 5})}) {
    BlockStack stack;
    for (const int i : from_bottom) stack.Push(blocks_[i], BlockList::kEmpty);
    stack.SortByAddress();
    Ints sorted = from_bottom;
    std::sort(sorted.begin(), sorted.end());
    EXPECT_EQ(Contents(stack), sorted);
    // Its bottom is right, too.
    BlockStack below;
    Block last;
    below.Push(last, BlockList::kEmpty);
    below.PushAll(std::move(stack));
    EXPECT_EQ(below.size(), static_cast<int64_t>(from_bottom.size()) + 1);
    for (size_t i = 0; i < from_bottom.size(); ++i) below.Pop();
    EXPECT_EQ(below.Pop(), &last);
  }
}

TEST_F(BlockListTest, PopFirstLooksOnlySoFar) {
  BlockStack stack = Stack({0, 1, 2});
  EXPECT_EQ(stack.PopFirst(2, Is(0)), nullptr);
  EXPECT_EQ(stack.PopFirst(3, Is(0)), &blocks_[0]);
  EXPECT_EQ(Contents(stack), Ints({2, 1}));
  stack.PushAll(Stack({3}));  // the bottom moved up with block 1
  EXPECT_EQ(stack.PopFirst(3, Is(2)), &blocks_[2]);
  EXPECT_EQ(Contents(stack), Ints({3, 1}));
}

TEST_F(BlockListTest, RemoveIfKeepsBothOrders) {
  BlockStack stack = Stack({0, 1, 2, 3, 4});
  const BlockStack removed =
      stack.RemoveIf([&](const Block& block) { return (&block - blocks_.data()) % 2 == 0; });
  EXPECT_EQ(Contents(removed), Ints({4, 2, 0}));
  EXPECT_EQ(Contents(stack), Ints({3, 1}));
  BlockStack lower = Stack({5});
  lower.PushAll(std::move(stack));
  EXPECT_EQ(Contents(lower), Ints({3, 1, 5}));
}

TEST_F(BlockListTest, SharedListTakesPushesFromManyThreads) {
  constexpr int kThreads = 4;
  constexpr int kPerThread = 500;
  std::vector<std::array<Block, kPerThread>> blocks(kThreads);
  SharedBlockList shared;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&shared, &mine = blocks[i]] {
      for (Block& block : mine) shared.Push(block, BlockList::kFull);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(shared.size(), kThreads * kPerThread);
  BlockStack drained = shared.Drain();
  EXPECT_EQ(drained.size(), kThreads * kPerThread);
  EXPECT_EQ(shared.size(), 0);
  int64_t full = 0;
  drained.ForEach([&full](Block& block) { full += block.list() == BlockList::kFull; });
  EXPECT_EQ(full, kThreads * kPerThread);
}

TEST_F(BlockListTest, DroppedBlocksKeepTheirHeaders) {
  SharedBlockList shared;
  for (const int i : {0, 1, 2}) shared.Push(blocks_[i], BlockList::kFull);
  EXPECT_EQ(shared.Drop(), 3);
  EXPECT_EQ(shared.size(), 0);
  EXPECT_EQ(blocks_[1].list(), BlockList::kFull);
  shared.Push(blocks_[1], BlockList::kFull);
  BlockStack rest = shared.Drain();
  EXPECT_EQ(Contents(rest), Ints({1})) << "what was dropped does not come back";
  EXPECT_EQ(shared.Drop(), 0);
}

}  // namespace
}  // namespace ebb::copyspace
