// LargeSpace: against a naive model, and when the system refuses.

#include "heap/large_space.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "heap/in_place_space_for_test.h"
#include "platform/bytes.h"

namespace ebb::internal {
namespace {

using platform::MiB;

class LargeSpaceTest : public InPlaceSpaceForTest<LargeSpace> {
 protected:
  explicit LargeSpaceTest(Bytes reserve = MiB(128), Bytes limit = MiB(16))
      : InPlaceSpaceForTest(reserve, limit) {}
};

TEST_F(LargeSpaceTest, AgreesWithAModel) {
  for (int round = 0; round < 60; ++round) {
    for (int i = 0; i < 20; ++i) {
      AllocateInModel((8192 + random_() % (random_() % 8 == 0 ? 900'000 : 30'000)) & ~size_t{7});
    }
    CycleInModel();
    EXPECT_TRUE(std::ranges::is_sorted(Marked()));
    EXPECT_EQ(space_.object_bytes(), ModelBytes());
    if (round % 3 != 0) {
      EXPECT_TRUE(space_.ReleaseSwept().ok());
      Bytes used;
      for (const auto& [object, bytes] : model_) used += LargeSpace::Footprint(bytes);
      EXPECT_EQ(ledger_.used(), used);
      ExpectSound();
    }
  }
  EmptyTheModel();
}

TEST_F(LargeSpaceTest, NewObjectsOutliveTheCycleTheyAreBornIn) {
  const Reference object = AllocateDuringACycle(10'000);
  EXPECT_TRUE(space_.IsObject(object));
  EXPECT_FALSE(space_.IsObject(object + 8));
  EXPECT_FALSE(space_.IsObject(object + 4096));
}

// inv.marks-aside: a forked child that marks and sweeps leaves pages with objects shared.
TEST_F(LargeSpaceTest, ACycleWritesToNoPageWithObjects) {
  std::vector<Reference> live;
  for (size_t bytes = 8'192; bytes < 1'000'000; bytes *= 2) live.push_back(Allocate(bytes));
  const auto protect = [&](platform::Access access) {
    const platform::AddressRange objects{range_.begin, ledger_.used()};
    ASSERT_TRUE(system_.Protect(objects, access, "test").ok());
  };
  protect(platform::Access::kNone);
  space_.ClearMarks(stopped_);
  for (Reference object : live) EXPECT_TRUE(space_.TryMark(object));
  EXPECT_EQ(Marked(), live);
  space_.Sweep();
  protect(platform::Access::kReadWrite);
  ExpectSound();
}

TEST_F(LargeSpaceTest, KeepsFreeWhatItIsTold) {
  EXPECT_NE(Allocate(8 << 20, MiB(7)), 0u);
  EXPECT_EQ(Allocate(8'192, MiB(8)), 0u);
  EXPECT_EQ(status_.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(Allocate(8'192), 0u);
}

TEST_F(LargeSpaceTest, AddressesAreUsedAgain) {
  const Reference first = Allocate(1 << 20);
  const Reference second = Allocate(1 << 20);
  const Reference third = Allocate(1 << 20);
  Cycle({third});
  EXPECT_TRUE(space_.ReleaseSwept().ok());
  // The two neighbours have become one.
  EXPECT_EQ(Allocate((2 << 20) - 64), first);
  EXPECT_NE(Allocate(1 << 20), second);
  ExpectSound();
}

TEST_F(LargeSpaceTest, CommitFails) { ExpectRefusedCommitChangesNothing(10'000); }

TEST_F(LargeSpaceTest, DiscardFails) {
  for (int i = 0; i < 6; ++i) EXPECT_NE(Allocate(10'000), 0u);
  ExpectRefusedDiscardIsTriedAgain();
}

class SmallRangeTest : public LargeSpaceTest {
 protected:
  SmallRangeTest() : LargeSpaceTest(MiB(64), MiB(1024)) {}
};

TEST_F(SmallRangeTest, AddressSpaceIsUsedUp) {
  const Reference object = Allocate(40 << 20);
  EXPECT_NE(object, 0u);
  const Bytes used = ledger_.used();
  EXPECT_EQ(Allocate(40 << 20), 0u);
  EXPECT_EQ(status_.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(status_.message().find("reserve_bytes"), status_.message().npos);
  EXPECT_EQ(ledger_.used(), used);
  ExpectSound();
}

}  // namespace
}  // namespace ebb::internal
