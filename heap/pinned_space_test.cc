// PinnedSpace: against a naive model, and when the system refuses.

#include "heap/pinned_space.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "absl/log/check.h"
#include "copyspace/mutators_stopped_for_test.h"
#include "gtest/gtest.h"
#include "platform/fake_system.h"

namespace ebb::internal {
namespace {

using copyspace::Reference;
using platform::Bytes;
using platform::Call;
using platform::MiB;

constexpr Bytes kChunk(PinnedSpace::kChunkBytes);

class PinnedSpaceTest : public ::testing::Test {
 protected:
  ~PinnedSpaceTest() override { CHECK_OK(system_.Release(range_, "test")); }

  // Stamped from end to end; 0 if there is no memory.
  Reference Allocate(size_t bytes, Bytes keep_free = Bytes(0)) {
    absl::StatusOr<uintptr_t> header = space_.Allocate(bytes, keep_free);
    if (!header.ok()) {
      status_ = header.status();
      return 0;
    }
    const char* memory = reinterpret_cast<const char*>(*header);
    EXPECT_TRUE(std::all_of(memory, memory + bytes, [](char c) { return c == 0; }));
    std::memset(reinterpret_cast<void*>(*header), Stamp(*header + 8), bytes);
    EXPECT_EQ((*header + 8) % 16, 0u);
    return *header + 8;
  }
  static unsigned char Stamp(Reference object) {
    return static_cast<unsigned char>((object >> 4) % 255 + 1);
  }
  static bool Intact(Reference object, size_t bytes) {
    const auto* memory = reinterpret_cast<const unsigned char*>(object - 8);
    return std::all_of(memory, memory + bytes,
                       [stamp = Stamp(object)](unsigned char c) { return c == stamp; });
  }
  void Cycle(const std::vector<Reference>& live) {
    space_.ClearMarks(stopped_);
    for (Reference object : live) {
      EXPECT_TRUE(space_.TryMark(object));
      EXPECT_FALSE(space_.TryMark(object));
    }
    space_.Sweep(stopped_);
    ExpectSound();
  }
  void ExpectSound() {
    absl::Status status = space_.CheckInvariants();
    EXPECT_TRUE(status.ok()) << status;
  }

  platform::FakeSystem system_;
  const platform::AddressRange range_ = *system_.Reserve(MiB(64), MiB(64), "test");
  copyspace::Ledger ledger_{MiB(8)};
  PinnedSpace space_{system_, ledger_, range_};
  copyspace::MutatorsStoppedForTest stopped_;
  absl::Status status_;
};

TEST_F(PinnedSpaceTest, AgreesWithAModel) {
  std::mt19937_64 random(1);
  std::map<Reference, size_t> model;
  for (int round = 0; round < 40; ++round) {
    for (int i = 0; i < 200; ++i) {
      const size_t most = random() % 16 == 0 ? PinnedSpace::kMostObjectBytes : 400;
      const size_t bytes = std::max<size_t>(16, random() % most & ~size_t{7});
      const Reference object = Allocate(bytes);
      if (object == 0) {
        EXPECT_EQ(status_.code(), absl::StatusCode::kResourceExhausted);
        continue;
      }
      EXPECT_TRUE(model.emplace(object, bytes).second);
    }
    std::vector<Reference> live;
    for (const auto& [object, bytes] : model) {
      EXPECT_TRUE(Intact(object, bytes));
      if (random() % 2 == 0) live.push_back(object);
    }
    Cycle(live);
    std::set<Reference> marked;
    space_.ForEachMarked([&](Reference object) { marked.insert(object); });
    EXPECT_EQ(marked, std::set<Reference>(live.begin(), live.end()));
    Bytes least;
    for (auto it = model.begin(); it != model.end();) {
      const bool lives = marked.contains(it->first);
      EXPECT_EQ(space_.IsObject(it->first), lives);
      if (lives) least += Bytes(static_cast<int64_t>(it->second));
      it = lives ? std::next(it) : model.erase(it);
    }
    EXPECT_GE(space_.object_bytes(), least);
    if (round % 3 != 0) {
      EXPECT_TRUE(space_.ReleaseSwept().ok());
    }
    EXPECT_GE(ledger_.used(), space_.object_bytes());
    EXPECT_EQ(ledger_.used() % kChunk, Bytes(0));
  }
  Cycle({});
  EXPECT_EQ(space_.object_bytes(), Bytes(0));
  EXPECT_TRUE(space_.ReleaseSwept().ok());
  EXPECT_EQ(ledger_.used(), Bytes(0));
  ExpectSound();
}

TEST_F(PinnedSpaceTest, ObjectsOfOneSizeShareAChunk) {
  for (int i = 0; i < 1000; ++i) EXPECT_NE(Allocate(32), 0u);
  EXPECT_EQ(ledger_.used(), kChunk);
  EXPECT_EQ(space_.object_bytes(), Bytes(32) * 1000);
}

TEST_F(PinnedSpaceTest, TheLargestObjectFits) {
  const Reference object = Allocate(PinnedSpace::kMostObjectBytes);
  ASSERT_NE(object, 0u);
  EXPECT_TRUE(space_.Contains(object + PinnedSpace::kMostObjectBytes - 9));
  EXPECT_TRUE(Intact(object, PinnedSpace::kMostObjectBytes));
  ExpectSound();
}

TEST_F(PinnedSpaceTest, NewObjectsOutliveTheCycleTheyAreBornIn) {
  space_.ClearMarks(stopped_);
  const Reference object = Allocate(64);
  EXPECT_FALSE(space_.TryMark(object));
  space_.Sweep(stopped_);
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

TEST_F(PinnedSpaceTest, CommitFails) {
  system_.FailOn(Call::kCommit, 1);
  EXPECT_EQ(Allocate(64), 0u);
  EXPECT_EQ(ledger_.used(), Bytes(0));
  ExpectSound();
  EXPECT_NE(Allocate(64), 0u);
  ExpectSound();
}

TEST_F(PinnedSpaceTest, DiscardFails) {
  for (size_t size_class = 1; size_class <= 6; ++size_class) {
    EXPECT_NE(Allocate(100 << size_class), 0u);
  }
  EXPECT_EQ(ledger_.used(), kChunk * 6);
  Cycle({});
  system_.FailEvery(Call::kDiscard, 2);
  EXPECT_FALSE(space_.ReleaseSwept().ok());
  EXPECT_EQ(ledger_.used(), kChunk * 3);
  ExpectSound();
  system_.StopFailing();
  EXPECT_TRUE(space_.ReleaseSwept().ok());
  EXPECT_EQ(ledger_.used(), Bytes(0));
  ExpectSound();
}

}  // namespace
}  // namespace ebb::internal
