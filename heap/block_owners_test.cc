#include "heap/block_owners.h"

#include <atomic>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace ebb::internal {
namespace {

using copyspace::kBlockSize;
using copyspace::kSlabSize;
using platform::AddressRange;

constexpr AddressRange kSpace{5 * kSlabSize.size(), kSlabSize * 2};

uintptr_t InBlock(size_t block) { return kSpace.begin + block * kBlockSize.size() + 8; }

TEST(BlockOwnersTest, TheFirstWhoAsksOwnsTheWholeBlock) {
  BlockOwners owners(kSpace);
  EXPECT_EQ(owners.Find(InBlock(1), 255), 255);
  EXPECT_EQ(owners.Find(InBlock(1) + kBlockSize.size() - 16, 0), 255);
  EXPECT_EQ(owners.Find(InBlock(2), 0), 0);
  EXPECT_EQ(owners.Find(kSpace.end() - 8, 3), 3);
}

TEST(BlockOwnersTest, ResetForgetsWhatIsCommitted) {
  BlockOwners owners(kSpace);
  const AddressRange committed{kSpace.begin, kSlabSize};
  EXPECT_EQ(owners.Find(InBlock(511), 1), 1);
  owners.Reset(committed);
  EXPECT_EQ(owners.Find(InBlock(511), 2), 2);
}

TEST(BlockOwnersTest, RacingWorkersAgree) {
  constexpr size_t kBlocks = 1'000;
  BlockOwners owners(kSpace);
  std::vector<std::vector<int>> found(4, std::vector<int>(kBlocks));
  std::vector<std::thread> threads;
  for (int self = 0; self < 4; ++self) {
    threads.emplace_back([&, self] {
      for (size_t i = 0; i < kBlocks; ++i) found[self][i] = owners.Find(InBlock(i), self);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < kBlocks; ++i) {
    for (int self = 1; self < 4; ++self) ASSERT_EQ(found[self][i], found[0][i]);
    ASSERT_EQ(found[found[0][i]][i], found[0][i]);
  }
}

}  // namespace
}  // namespace ebb::internal
