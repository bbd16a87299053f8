#include "background/chase_lev_deque.h"

#include <cstdint>
#include <limits>
#include <new>
#include <optional>

#include "gtest/gtest.h"
#include "platform/bytes.h"

namespace {
// Makes the next non-throwing allocations of this thread fail.
thread_local bool no_memory = false;
}  // namespace

// Replaces the library's, as the standard allows.
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return no_memory ? nullptr : ::operator new(size);
}

namespace ebb::background {
namespace {

using platform::Bytes;

TEST(ChaseLevDequeTest, IsEmptyAtFirst) {
  ChaseLevDeque deque(8, 64);
  EXPECT_TRUE(deque.EmptyHint());
  EXPECT_EQ(deque.SizeHint(), 0u);
  EXPECT_EQ(deque.Take(), std::nullopt);
  EXPECT_EQ(deque.Steal(), std::nullopt);
  EXPECT_EQ(deque.SizeHint(), 0u);
}

TEST(ChaseLevDequeTest, TakesFromTheEndAndStealsFromTheBeginning) {
  ChaseLevDeque deque(8, 64);
  for (uint64_t i = 1; i <= 5; ++i) ASSERT_TRUE(deque.Push(i));
  EXPECT_EQ(deque.SizeHint(), 5u);
  EXPECT_EQ(deque.Take(), 5u);
  EXPECT_EQ(deque.Steal(), 1u);
  EXPECT_EQ(deque.Take(), 4u);
  EXPECT_EQ(deque.Steal(), 2u);
  EXPECT_EQ(deque.Take(), 3u);
  EXPECT_EQ(deque.Take(), std::nullopt);
}

TEST(ChaseLevDequeTest, HoldsAnyValue) {
  ChaseLevDeque deque(8, 64);
  for (uint64_t value : {uint64_t{0}, std::numeric_limits<uint64_t>::max()}) {
    ASSERT_TRUE(deque.Push(value));
    EXPECT_EQ(deque.Take(), value);
  }
}

TEST(ChaseLevDequeTest, GrowsAndKeepsOrder) {
  ChaseLevDeque deque(2, 1024);
  const Bytes first = deque.memory();
  EXPECT_GT(first, Bytes(0));
  for (uint64_t i = 0; i < 1000; ++i) ASSERT_TRUE(deque.Push(i));
  EXPECT_GE(deque.memory(), Bytes(1024 * 8));
  EXPECT_LT(deque.memory(), Bytes(3 * 1024 * 8));
  for (uint64_t i = 0; i < 500; ++i) ASSERT_EQ(deque.Steal(), i);
  for (uint64_t i = 1000; i-- > 500;) ASSERT_EQ(deque.Take(), i);
  deque.ResetWhenQuiescent();
  EXPECT_EQ(deque.memory(), first);
  for (uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(deque.Push(i));
  for (uint64_t i = 100; i-- > 0;) ASSERT_EQ(deque.Take(), i);
}

TEST(ChaseLevDequeTest, DoesNotGrowWhenThievesMadeRoom) {
  ChaseLevDeque deque(4, 1024);
  const Bytes memory = deque.memory();
  for (uint64_t i = 0; i < 1000; ++i) {
    ASSERT_TRUE(deque.Push(i));
    if (i >= 3) {
      ASSERT_EQ(deque.Steal(), i - 3);
    }
  }
  EXPECT_EQ(deque.memory(), memory);
}

TEST(ChaseLevDequeTest, RefusesAtItsMaximumAndLosesNothing) {
  ChaseLevDeque deque(2, 7);  // 7 is rounded down to 4
  for (uint64_t i = 0; i < 4; ++i) ASSERT_TRUE(deque.Push(i));
  EXPECT_FALSE(deque.Push(4));
  EXPECT_FALSE(deque.Push(4));
  EXPECT_EQ(deque.SizeHint(), 4u);
  EXPECT_EQ(deque.Steal(), 0u);
  EXPECT_TRUE(deque.Push(4));
  EXPECT_FALSE(deque.Push(5));
  for (uint64_t i = 5; i-- > 1;) EXPECT_EQ(deque.Take(), i);
}

TEST(ChaseLevDequeTest, TheMaximumBoundsTheInitialCapacity) {
  ChaseLevDeque deque(64, 2);
  EXPECT_TRUE(deque.Push(1));
  EXPECT_TRUE(deque.Push(2));
  EXPECT_FALSE(deque.Push(3));
}

TEST(ChaseLevDequeTest, WithAMaximumOfZeroHoldsNothing) {
  ChaseLevDeque deque(64, 0);
  EXPECT_FALSE(deque.Push(1));
  EXPECT_EQ(deque.Take(), std::nullopt);
  EXPECT_EQ(deque.Steal(), std::nullopt);
  EXPECT_EQ(deque.memory(), Bytes(0));
  deque.ResetWhenQuiescent();
}

TEST(ChaseLevDequeTest, WithAnInitialCapacityOfZeroGrows) {
  ChaseLevDeque deque(0, 64);
  for (uint64_t i = 0; i < 64; ++i) ASSERT_TRUE(deque.Push(i));
  EXPECT_FALSE(deque.Push(64));
}

TEST(ChaseLevDequeTest, RefusesWithoutMemoryAndLosesNothing) {
  ChaseLevDeque deque(2, 1024);
  ASSERT_TRUE(deque.Push(0));
  ASSERT_TRUE(deque.Push(1));
  const Bytes memory = deque.memory();
  no_memory = true;
  EXPECT_FALSE(deque.Push(2));
  no_memory = false;
  EXPECT_EQ(deque.memory(), memory);
  EXPECT_EQ(deque.SizeHint(), 2u);
  EXPECT_TRUE(deque.Push(2));
  for (uint64_t i = 3; i-- > 0;) EXPECT_EQ(deque.Take(), i);
}

TEST(ChaseLevDequeTest, ComesWithoutMemoryForTheFirstArray) {
  no_memory = true;
  ChaseLevDeque deque(2, 1024);
  EXPECT_FALSE(deque.Push(0));
  EXPECT_EQ(deque.Take(), std::nullopt);
  no_memory = false;
  EXPECT_EQ(deque.memory(), Bytes(0));
  deque.ResetWhenQuiescent();
  EXPECT_TRUE(deque.Push(0));
  EXPECT_EQ(deque.Steal(), 0u);
}

TEST(ChaseLevDequeDeathTest, ResetOfADequeWithElements) {
  ChaseLevDeque deque(2, 1024);
  ASSERT_TRUE(deque.Push(0));
  EXPECT_DEATH(deque.ResetWhenQuiescent(), "a deque with 1 elements is reset");
}

}  // namespace
}  // namespace ebb::background
