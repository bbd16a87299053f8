#include "copyspace/bump_allocator.h"

#include <atomic>
#include <cstring>
#include <thread>

#include "copyspace/space_for_test.h"
#include "gtest/gtest.h"

namespace ebb::copyspace {
namespace {

constexpr AcquirePurpose kMutator = AcquirePurpose::kMutator;

TEST(BumpAllocator, FastPathWordsComeFirst) {
  SpaceForTest space(platform::MiB(1));
  BumpAllocator allocator;
  ASSERT_TRUE(allocator.Refill(*space, kMutator, 16));
  uintptr_t words[2];
  std::memcpy(words, static_cast<const void*>(&allocator), sizeof words);
  EXPECT_EQ(words[BumpAllocator::kTopOffset / 8], allocator.top() + 8);
  EXPECT_EQ(words[BumpAllocator::kLimitOffset / 8], allocator.top() + allocator.room() + 8);
  allocator.Close(*space);
}

TEST(BumpAllocator, ClosedGivesNothing) {
  BumpAllocator allocator;
  EXPECT_EQ(allocator.TryAllocate(8), 0u);
  EXPECT_EQ(allocator.block(), nullptr);
  EXPECT_EQ(allocator.room(), 0u);
}

TEST(BumpAllocator, FillsARegionToTheLastByte) {
  SpaceForTest space(platform::MiB(1));
  BumpAllocator allocator;
  ASSERT_TRUE(allocator.Refill(*space, kMutator, 16));
  EXPECT_TRUE(allocator.known_zero());
  const uintptr_t begin = allocator.top();
  EXPECT_EQ(allocator.TryAllocate(24), begin);
  EXPECT_EQ(allocator.TryAllocate(65536 - 24), begin + 24);
  EXPECT_EQ(allocator.room(), 0u);
  EXPECT_EQ(allocator.TryAllocate(8), 0u);
  Block* block = allocator.block();
  allocator.Close(*space);
  EXPECT_EQ(block->used(0), 65536u);
  EXPECT_EQ(block->list(), BlockList::kFull);
}

TEST(BumpAllocator, RefillGoesOnBehindWhatIsThere) {
  SpaceForTest space(platform::MiB(1));
  BumpAllocator allocator;
  ASSERT_TRUE(allocator.Refill(*space, kMutator, 16));
  const uintptr_t first = allocator.TryAllocate(40);
  allocator.Close(*space);
  EXPECT_EQ(space->allocated_bytes(), Bytes(40));
  ASSERT_TRUE(allocator.Refill(*space, kMutator, 16));
  EXPECT_EQ(allocator.TryAllocate(8), first + 40);
  EXPECT_TRUE(allocator.known_zero());
  allocator.Close(*space);
  EXPECT_EQ(space->allocated_bytes(), Bytes(48));
  EXPECT_EQ(space->CheckInvariants(), absl::OkStatus());
}

TEST(BumpAllocator, FailedRefillLeavesItClosed) {
  SpaceForTest space(PriceOf(1));
  BumpAllocator allocator;
  ASSERT_TRUE(allocator.Refill(*space, kMutator, 16));
  EXPECT_NE(allocator.TryAllocate(65528), 0u);
  EXPECT_FALSE(allocator.Refill(*space, kMutator, 16));
  EXPECT_EQ(allocator.block(), nullptr);
  EXPECT_EQ(allocator.TryAllocate(8), 0u);
  EXPECT_EQ(space->counts().full, 1);
}

TEST(BumpAllocator, ForcedSlowPathOutlivesRefillAndClose) {
  SpaceForTest space(platform::MiB(1));
  BumpAllocator allocator;
  ASSERT_TRUE(allocator.Refill(*space, kMutator, 16));
  allocator.ForceSlow();
  EXPECT_EQ(allocator.TryAllocate(8), 0u);
  EXPECT_EQ(allocator.room(), 65536u);
  ASSERT_TRUE(allocator.Refill(*space, kMutator, 16));
  EXPECT_EQ(allocator.TryAllocate(8), 0u);
  allocator.RestoreLimit();
  EXPECT_NE(allocator.TryAllocate(8), 0u);
  allocator.ForceSlow();
  allocator.Close(*space);
  allocator.RestoreLimit();
  EXPECT_EQ(allocator.TryAllocate(8), 0u);
  ASSERT_TRUE(allocator.Refill(*space, kMutator, 16));
  EXPECT_NE(allocator.TryAllocate(8), 0u);
  allocator.Close(*space);
}

// Each round the other thread writes its reason and forces; the owner allocates until it is forced,
// restores, and must then see the reason.
TEST(BumpAllocator, TheReasonIsSeenAfterRestore) {
  SpaceForTest space(platform::MiB(8));
  BumpAllocator allocator;
  constexpr int kRounds = 2000;
  std::atomic<int> reason = 0;
  std::atomic<int> seen = 0;
  std::thread other([&] {
    for (int round = 1; round <= kRounds; ++round) {
      // Relaxed: ForceSlow publishes it, which is what is tested.
      reason.store(round, std::memory_order_relaxed);
      allocator.ForceSlow();
      // Acquire: pairs with the release below, so that no round begins before the last one's
      // restore.
      while (seen.load(std::memory_order_acquire) != round) std::this_thread::yield();
    }
  });
  while (seen.load(std::memory_order_relaxed) != kRounds) {  // this thread's own store
    if (allocator.TryAllocate(64) != 0) continue;
    allocator.RestoreLimit();
    // Relaxed: RestoreLimit has acquired it. Release: see the acquire above.
    seen.store(reason.load(std::memory_order_relaxed), std::memory_order_release);
    if (allocator.room() >= 64) continue;
    if (!allocator.Refill(*space, kMutator, 64)) {
      space->Flip(space.stopped());
      space->FinishCycle(space.stopped());
    }
  }
  other.join();
  allocator.Close(*space);
}

}  // namespace
}  // namespace ebb::copyspace
