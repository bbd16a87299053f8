// Pacer: when it asks for a cycle, what it keeps for copies, and how much help it asks for.

#include "heap/pacer.h"

#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "copyspace/space_for_test.h"
#include "gtest/gtest.h"
#include "platform/system.h"

namespace ebb::internal {
namespace {

using copyspace::AcquirePurpose;
using copyspace::Block;
using copyspace::kBlockSize;
using copyspace::kRegionSize;
using copyspace::SpaceForTest;
using platform::Bytes;
using platform::MiB;

// A space of 160 blocks, whose pacer has 40 regions for copies at the flip, and mutators the rest.
class PacerTest : public testing::Test {
 protected:
  static constexpr int kBlocks = 160;
  static constexpr int kThreads = 4;
  // 16 are expected to live, for all that the pacer knows: half of a half.
  static constexpr Bytes kInCopies = 64 * kRegionSize;
  static constexpr int kKept = 16 + 16 / 8 + kThreads;

  ~PacerTest() override { Return(); }

  void Flip() {
    space_->Flip(space_.stopped());
    free_at_flip_ = RoomForMutators();
    pacer_.BeginCycle(kInCopies, kThreads, space_.stopped());
  }
  void End(Bytes evacuated) {
    Return();
    space_->FinishCycle(space_.stopped());
    pacer_.EndCycle(evacuated, scanned_);
  }
  void Take(AcquirePurpose purpose, int regions) {
    for (int i = 0; i < regions; ++i) {
      taken_.push_back(space_->AcquireBlock(purpose, Bytes(8)));
      ASSERT_NE(taken_.back(), nullptr);
    }
  }
  void TakeForMutators(int regions) { Take(AcquirePurpose::kMutator, regions); }
  void Evacuate(int regions) { Take(AcquirePurpose::kEvacuation, regions); }
  void Return() {
    for (Block* block : taken_) space_->ReturnBlock(block, 0);
    taken_.clear();
  }

  int RoomForMutators() { return static_cast<int>(space_->room().for_mutators / kRegionSize); }
  // Those kept for evacuation included.
  int FreeRegions() { return free_at_flip_ - static_cast<int>(taken_.size()); }
  int RoomForEvacuation() { return static_cast<int>(space_->room().for_evacuation / kRegionSize); }

  SpaceForTest space_{copyspace::PriceOf(kBlocks), {.overdraft = Bytes(0)}};
  Pacer pacer_{*space_, kBlocks* kBlockSize};
  Bytes scanned_;
  int free_at_flip_ = 0;
  std::vector<Block*> taken_;
};

TEST_F(PacerTest, AsksForACycleWhenMutatorsRoomIsNearlyUsedUp) {
  while (RoomForMutators() > 16) TakeForMutators(1);
  EXPECT_FALSE(pacer_.Advise(scanned_).begin_cycle);
  TakeForMutators(1);
  EXPECT_TRUE(pacer_.Advise(scanned_).begin_cycle);
  EXPECT_EQ(pacer_.Advise(scanned_).assist, Bytes(0)) << "no cycle runs";
}

TEST_F(PacerTest, KeepsRoomForWhatIsExpectedToLive) {
  Flip();
  EXPECT_EQ(RoomForEvacuation(), kKept);
  End(/*evacuated=*/16 * kRegionSize);  // a quarter
  Flip();
  const int live = 16 + 48 * 3 / 16;  // as much as last time, and of the rest (1/2 + 1/4) / 2 / 2
  EXPECT_EQ(RoomForEvacuation(), live + 4 + kThreads);
  EXPECT_GT(RoomForMutators(), 16);
  Evacuate(live + 4);
  EXPECT_EQ(RoomForEvacuation(), kThreads);
  const int most_left = 64 + 64 / 8 + kThreads - (live + 4);
  EXPECT_EQ(RoomForMutators(), FreeRegions() - most_left) << "more lives than was expected";
  End(/*evacuated=*/16 * kRegionSize);
  for (int cycle = 0; cycle < 8; ++cycle) {
    Flip();
    End(/*evacuated=*/16 * kRegionSize);
  }
  Flip();
  EXPECT_EQ(RoomForEvacuation(), 16 + 3 + kThreads) << "as much lives every time";
  End(/*evacuated=*/Bytes(0));
}

TEST_F(PacerTest, AsksForHelpAsMutatorsRoomGoes) {
  Flip();
  EXPECT_EQ(pacer_.Advise(scanned_).assist, Bytes(0));
  const int room = RoomForMutators();
  TakeForMutators(room / 10);
  const Bytes behind = pacer_.Advise(scanned_).assist;
  // A quarter of the room is for the finish, so a tenth of the whole is 2/15 of the rest.
  EXPECT_GE(behind, kKept * kRegionSize / 8) << "a tenth of the room has gone, and nothing done";
  EXPECT_LE(behind, kKept * kRegionSize / 6);
  Evacuate(kKept / 6 + 1);
  EXPECT_EQ(pacer_.Advise(scanned_).assist, Bytes(0)) << "others have done it";
  TakeForMutators(room / 2);
  EXPECT_EQ(pacer_.Advise(scanned_).assist, 8 * kRegionSize) << "at most so much at a time";
  End(kInCopies / 2);
  EXPECT_EQ(pacer_.Advise(scanned_).assist, Bytes(0));
}

TEST_F(PacerTest, WhatIsScannedWhereItIsCounts) {
  Flip();
  scanned_ = kKept * kRegionSize;
  End(kInCopies / 4);
  scanned_ = Bytes(0);
  Flip();
  Evacuate(RoomForEvacuation());
  TakeForMutators(RoomForMutators());
  EXPECT_EQ(pacer_.Advise(scanned_).assist, Pacer::kMostAssistance)
      << "as much is to be scanned as last time";
  scanned_ = kKept * kRegionSize;
  EXPECT_EQ(pacer_.Advise(scanned_).assist, kThreads * kRegionSize)
      << "it has been: what is left is kept to the end";
  End(kInCopies / 4);
}

TEST_F(PacerTest, AwaitRoomReturnsAtTheNextNews) {
  const int64_t seen = pacer_.room_noted();
  absl::Notification woken;
  auto waiter = platform::System::Real().StartThread("waiter", [&] {
    EXPECT_TRUE(pacer_.AwaitRoom(seen, absl::InfiniteDuration()));
    woken.Notify();
  });
  ASSERT_TRUE(waiter.ok()) << waiter.status();
  pacer_.NoteRoom();
  woken.WaitForNotification();
  EXPECT_TRUE(pacer_.AwaitRoom(seen, absl::InfiniteDuration()))
      << "what came before counts as well";
  EXPECT_FALSE(pacer_.AwaitRoom(pacer_.room_noted(), absl::Milliseconds(1)));
}

}  // namespace
}  // namespace ebb::internal
