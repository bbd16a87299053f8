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
    pacer_.NoteFlip(space_.stopped());
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
  Pacer pacer_{*space_, space_.ledger()};
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

TEST_F(PacerTest, AsksSoonerIfTheFlipComesLate) {
  while (RoomForMutators() >= 16) TakeForMutators(1);
  EXPECT_TRUE(pacer_.Advise(scanned_).begin_cycle);
  Return();
  const auto room_at_request = [this] {
    while (!pacer_.Advise(scanned_).begin_cycle) TakeForMutators(1);
    return RoomForMutators();
  };
  // A heap of 160 blocks may ask when a sixteenth of it is left: 20 regions.
  ASSERT_EQ(room_at_request(), 15);
  TakeForMutators(9);
  Return();
  while (RoomForMutators() > 6) TakeForMutators(1);
  pacer_.NoteFlip(space_.stopped());
  Return();
  EXPECT_EQ(room_at_request(), 17) << "twice the 9 that went between";
  while (RoomForMutators() > 0) TakeForMutators(1);
  pacer_.NoteFlip(space_.stopped());
  Return();
  EXPECT_EQ(room_at_request(), 20) << "dry: twice as soon, but for a sixteenth of the limit";
}

TEST_F(PacerTest, KeepsRoomForWhatIsExpectedToLive) {
  Flip();
  EXPECT_EQ(RoomForEvacuation(), kKept);
  End(/*evacuated=*/16 * kRegionSize);  // a quarter, and nothing was wasted
  Flip();
  const int live = 16 + 48 * 3 / 16;  // as much as last time, and of the rest (1/2 + 1/4) / 2 / 2
  EXPECT_EQ(RoomForEvacuation(), live + 1 + kThreads);
  EXPECT_GT(RoomForMutators(), 16);
  Evacuate(live + 1);
  EXPECT_EQ(RoomForEvacuation(), kThreads);
  const int most_left = 64 + 64 / 8 + kThreads - (live + 1);
  EXPECT_EQ(RoomForMutators(), FreeRegions() - most_left) << "more lives than was expected";
  End(/*evacuated=*/16 * kRegionSize);
  for (int cycle = 0; cycle < 8; ++cycle) {
    Flip();
    End(/*evacuated=*/16 * kRegionSize);
  }
  Flip();
  EXPECT_EQ(RoomForEvacuation(), 16 + 1 + kThreads) << "as much lives every time";
  Evacuate(17);
  End(/*evacuated=*/16 * kRegionSize);
  Flip();
  EXPECT_EQ(RoomForEvacuation(), 16 + 2 + kThreads) << "a sixteenth was wasted";
  End(/*evacuated=*/Bytes(0));
}

TEST_F(PacerTest, KeepsLessTowardsTheEndOfATrace) {
  Flip();
  Evacuate(4);
  pacer_.NoteDrained();
  EXPECT_EQ(RoomForEvacuation(), kKept - 4) << "most of it may still come";
  Evacuate(8);
  const int room = RoomForMutators();
  pacer_.NoteDrained();
  EXPECT_EQ(RoomForEvacuation(), kThreads + 3) << "half of what is left of 18";
  EXPECT_EQ(RoomForMutators(), room + 3);
  pacer_.NoteDrained();
  pacer_.NoteDrained();
  pacer_.NoteDrained();
  EXPECT_EQ(RoomForEvacuation(), kThreads + 1) << "the bet still stands";
  Evacuate(1);
  EXPECT_EQ(RoomForMutators(), FreeRegions() - kThreads)
      << "an eighth more than was taken is not to be expected";
  End(kInCopies / 4);
}

TEST_F(PacerTest, AsksForHelpAsMutatorsRoomGoes) {
  Flip();
  EXPECT_EQ(pacer_.Advise(scanned_).assist, Bytes(0));
  const int room = RoomForMutators();
  TakeForMutators(room / 20);
  EXPECT_EQ(pacer_.Advise(scanned_).assist, Bytes(0)) << "the cycle may have hardly begun";
  TakeForMutators(room / 6 - room / 20);
  const Bytes behind = pacer_.Advise(scanned_).assist;
  // A quarter of the room is for the finish, so a sixth of the whole is 2/9 of the rest; an eighth
  // of the other 7/9 is granted.
  EXPECT_GE(behind, kKept * kRegionSize / 9) << "a sixth of the room has gone, and nothing done";
  EXPECT_LE(behind, kKept * kRegionSize / 7);
  Evacuate(kKept / 7 + 1);
  EXPECT_EQ(pacer_.Advise(scanned_).assist, Bytes(0)) << "others have done it";
  TakeForMutators(room / 3);
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

TEST_F(PacerTest, AsksNoSoonerThanTheLimitOfTodayAllows) {
  space_.ledger().SetLimit(copyspace::PriceOf(kBlocks) / 4);
  const Bytes most = space_.ledger().limit() / 16;
  while (RoomForMutators() > 0 && kRegionSize * RoomForMutators() >= most) {
    EXPECT_FALSE(pacer_.Advise(scanned_).begin_cycle);
    TakeForMutators(1);
  }
  EXPECT_TRUE(pacer_.Advise(scanned_).begin_cycle);
}

TEST_F(PacerTest, WhereThereIsNoRoomAtTheRequestAnEarlierOneWouldNotHelp) {
  while (RoomForMutators() > 0) TakeForMutators(1);
  for (int cycle = 0; cycle < 4; ++cycle) {
    EXPECT_TRUE(pacer_.Advise(scanned_).begin_cycle);
    pacer_.NoteFlip(space_.stopped());
  }
  Return();
  while (RoomForMutators() >= 16) {
    EXPECT_FALSE(pacer_.Advise(scanned_).begin_cycle);
    TakeForMutators(1);
  }
}

// A cycle is under way until NoteEnd, also when what it kept has long been given up: who waits for
// a whole one then waits for two ends.
TEST_F(PacerTest, AWholeCycleIsOneThatHasNotYetFlipped) {
  EXPECT_FALSE(pacer_.cycle_runs());
  EXPECT_EQ(pacer_.ends_of_a_whole_cycle(), 1);
  Flip();
  EXPECT_TRUE(pacer_.cycle_runs());
  EXPECT_EQ(pacer_.ends_of_a_whole_cycle(), 2);
  End(/*evacuated=*/Bytes(0));
  ASSERT_EQ(RoomForEvacuation(), 0);
  EXPECT_TRUE(pacer_.cycle_runs());
  EXPECT_EQ(pacer_.ends_of_a_whole_cycle(), 2) << "its garbage is still being given back";
  const int64_t seen = pacer_.room_noted();
  pacer_.NoteEnd();
  EXPECT_EQ(pacer_.cycles_ended(), 1);
  EXPECT_FALSE(pacer_.cycle_runs());
  EXPECT_EQ(pacer_.ends_of_a_whole_cycle(), 2);
  EXPECT_TRUE(pacer_.AwaitRoom(seen, absl::InfiniteDuration())) << "an end is news, too";
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
