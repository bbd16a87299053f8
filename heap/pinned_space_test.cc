// PinnedSpace: against a naive model, and when the system refuses.

#include "heap/pinned_space.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "heap/in_place_space_for_test.h"
#include "platform/bytes.h"

namespace ebb::internal {
namespace {

using platform::MiB;

constexpr platform::Bytes kChunk = PinnedSpace::Footprint();

class PinnedSpaceTest : public InPlaceSpaceForTest<PinnedSpace> {
 protected:
  PinnedSpaceTest() : InPlaceSpaceForTest(MiB(64), MiB(8)) {}
};

TEST_F(PinnedSpaceTest, AgreesWithAModel) {
  for (int round = 0; round < 40; ++round) {
    for (int i = 0; i < 200; ++i) {
      const size_t most = random_() % 16 == 0 ? PinnedSpace::kMostObjectBytes : 400;
      AllocateInModel(std::max<size_t>(16, random_() % most & ~size_t{7}));
    }
    CycleInModel();
    EXPECT_GE(space_.object_bytes(), ModelBytes());
    if (round % 3 != 0) {
      EXPECT_TRUE(space_.ReleaseSwept().ok());
    }
    EXPECT_GE(ledger_.used(), space_.object_bytes());
    EXPECT_EQ(ledger_.used() % kChunk, Bytes(0));
  }
  EmptyTheModel();
}

TEST_F(PinnedSpaceTest, ObjectsOfOneSizeShareAChunk) {
  for (int i = 0; i < 1000; ++i) EXPECT_NE(Allocate(32), 0u);
  EXPECT_EQ(ledger_.used(), kChunk);
  EXPECT_EQ(space_.object_bytes(), Bytes(32) * 1000);
}

// inv.marks-aside: a forked child that marks and sweeps leaves pages with objects shared.
TEST_F(PinnedSpaceTest, ACycleWritesToNoPageWithObjects) {
  std::vector<Reference> live;
  for (int i = 0; i < 5000; ++i) live.push_back(Allocate(i % 2 == 0 ? 32 : 400));
  std::ranges::sort(live);
  std::vector<uintptr_t> chunks;
  for (Reference object : live) {
    const uintptr_t chunk = object & ~(PinnedSpace::kChunkBytes - 1);
    if (chunks.empty() || chunks.back() != chunk) chunks.push_back(chunk);
  }
  const auto protect = [&](platform::Access access) {
    for (uintptr_t chunk : chunks) {
      ASSERT_TRUE(
          system_.Protect({chunk, Bytes(PinnedSpace::kChunkBytes)}, access, "test").ok());
    }
  };
  protect(platform::Access::kNone);
  Cycle(live);
  protect(platform::Access::kReadWrite);
  EXPECT_EQ(ledger_.used(), kChunk * static_cast<int64_t>(chunks.size()));
}

TEST_F(PinnedSpaceTest, WhatNeedsNoAlignmentLiesCloser) {
  for (size_t bytes = 16; bytes <= 200; bytes += 8) {
    std::vector<Reference> live;
    for (int i = 0; i < 10; ++i) live.push_back(*space_.Allocate(bytes, Bytes(0), false) + 8);
    const size_t each = live[1] - live[0];
    EXPECT_GE(each, bytes);
    EXPECT_LE(each, std::max<size_t>(24, bytes * 5 / 4));
    for (int i = 1; i < 10; ++i) EXPECT_EQ(live[i] - live[i - 1], each);
    Cycle(live);
    for (Reference object : live) EXPECT_TRUE(space_.IsObject(object));
    EXPECT_FALSE(space_.IsObject(live[0] + 8));
    Cycle({});
    ExpectAllIsReleased();
  }
}

TEST_F(PinnedSpaceTest, TheLargestObjectFits) {
  const Reference object = Allocate(PinnedSpace::kMostObjectBytes);
  ASSERT_NE(object, 0u);
  EXPECT_TRUE(space_.Contains(object + PinnedSpace::kMostObjectBytes - 9));
  EXPECT_TRUE(Intact(object, PinnedSpace::kMostObjectBytes));
  ExpectSound();
}

TEST_F(PinnedSpaceTest, NewObjectsOutliveTheCycleTheyAreBornIn) {
  const Reference object = AllocateDuringACycle(64);
  EXPECT_TRUE(space_.IsObject(object));
  EXPECT_FALSE(space_.IsObject(object + 16));
  EXPECT_FALSE(space_.IsObject(object + 64));
  EXPECT_FALSE(space_.IsObject(range_.begin + 8));
  EXPECT_FALSE(space_.IsObject(range_.begin + PinnedSpace::kChunkBytes + 1024));
}

TEST_F(PinnedSpaceTest, KeepsFreeWhatItIsTold) {
  EXPECT_EQ(Allocate(64, MiB(8)), 0u);
  EXPECT_EQ(status_.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ledger_.used(), Bytes(0));
  EXPECT_NE(Allocate(64, MiB(8) - kChunk), 0u);
}

TEST_F(PinnedSpaceTest, CommitFails) { ExpectRefusedCommitChangesNothing(64); }

TEST_F(PinnedSpaceTest, DiscardFails) {
  for (size_t size_class = 1; size_class <= 6; ++size_class) {
    EXPECT_NE(Allocate(100 << size_class), 0u);
  }
  EXPECT_EQ(ledger_.used(), kChunk * 6);
  ExpectRefusedDiscardIsTriedAgain();
}

}  // namespace
}  // namespace ebb::internal
