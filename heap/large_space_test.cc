// LargeSpace: against a naive model, and when the system refuses.

#include "heap/large_space.h"

#include <cstdint>
#include <cstring>
#include <map>
#include <random>
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

class LargeSpaceTest : public ::testing::Test {
 protected:
  explicit LargeSpaceTest(Bytes reserve = MiB(128), Bytes limit = MiB(16))
      : range_(*system_.Reserve(reserve, MiB(64), "test")),
        ledger_(limit),
        space_(system_, ledger_, range_) {}
  ~LargeSpaceTest() override { CHECK_OK(system_.Release(range_, "test")); }

  // Stamped from end to end; 0 if there is no memory.
  Reference Allocate(size_t bytes, Bytes keep_free = Bytes(0)) {
    absl::StatusOr<uintptr_t> header = space_.Allocate(bytes, keep_free);
    if (!header.ok()) {
      status_ = header.status();
      return 0;
    }
    const char* memory = reinterpret_cast<const char*>(*header);
    for (size_t i = 0; i < bytes; i += 512) EXPECT_EQ(memory[i], 0);
    EXPECT_EQ(memory[bytes - 1], 0);
    std::memset(reinterpret_cast<void*>(*header), Stamp(*header + 8), bytes);
    EXPECT_EQ((*header + 8) % 16, 0u);
    return *header + 8;
  }
  static int Stamp(Reference object) { return static_cast<int>(object >> 12) | 1; }
  static bool Intact(Reference object, size_t bytes) {
    const auto* memory = reinterpret_cast<const unsigned char*>(object - 8);
    const auto stamp = static_cast<unsigned char>(Stamp(object));
    return memory[0] == stamp && memory[bytes / 2] == stamp && memory[bytes - 1] == stamp;
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
  const platform::AddressRange range_;
  copyspace::Ledger ledger_;
  LargeSpace space_;
  copyspace::MutatorsStoppedForTest stopped_;
  absl::Status status_;
};

TEST_F(LargeSpaceTest, AgreesWithAModel) {
  std::mt19937_64 random(1);
  std::map<Reference, size_t> model;
  for (int round = 0; round < 60; ++round) {
    for (int i = 0; i < 20; ++i) {
      const size_t bytes = (8192 + random() % (random() % 8 == 0 ? 900'000 : 30'000)) & ~size_t{7};
      const Reference object = Allocate(bytes);
      if (object == 0) {
        EXPECT_EQ(status_.code(), absl::StatusCode::kResourceExhausted);
        continue;
      }
      EXPECT_TRUE(space_.Contains(object));
      EXPECT_TRUE(model.emplace(object, bytes).second);
    }
    std::vector<Reference> live;
    for (const auto& [object, bytes] : model) {
      EXPECT_TRUE(Intact(object, bytes));
      if (random() % 2 == 0) live.push_back(object);
    }
    Cycle(live);
    std::vector<Reference> marked;
    space_.ForEachMarked([&](Reference object) { marked.push_back(object); });
    EXPECT_EQ(marked, live);
    std::map<Reference, size_t> survivors;
    for (Reference object : live) survivors[object] = model[object];
    for (const auto& [object, bytes] : model) {
      EXPECT_EQ(space_.IsObject(object), survivors.contains(object));
    }
    model = survivors;
    if (round % 3 != 0) {
      EXPECT_TRUE(space_.ReleaseSwept().ok());
      Bytes used, objects;
      for (const auto& [object, bytes] : model) {
        used += LargeSpace::Footprint(bytes);
        objects += Bytes(static_cast<int64_t>(bytes));
      }
      EXPECT_EQ(ledger_.used(), used);
      EXPECT_EQ(space_.object_bytes(), objects);
      ExpectSound();
    }
  }
  Cycle({});
  EXPECT_TRUE(space_.ReleaseSwept().ok());
  EXPECT_EQ(ledger_.used(), Bytes(0));
  EXPECT_EQ(space_.object_bytes(), Bytes(0));
  ExpectSound();
}

TEST_F(LargeSpaceTest, NewObjectsOutliveTheCycleTheyAreBornIn) {
  space_.ClearMarks(stopped_);
  const Reference object = Allocate(10'000);
  EXPECT_FALSE(space_.TryMark(object));
  space_.Sweep(stopped_);
  EXPECT_TRUE(space_.IsObject(object));
  EXPECT_FALSE(space_.IsObject(object + 8));
  EXPECT_FALSE(space_.IsObject(object + 4096));
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

TEST_F(LargeSpaceTest, CommitFails) {
  system_.FailOn(Call::kCommit, 1);
  EXPECT_EQ(Allocate(10'000), 0u);
  EXPECT_FALSE(status_.ok());
  EXPECT_EQ(ledger_.used(), Bytes(0));
  ExpectSound();
  EXPECT_NE(Allocate(10'000), 0u);
  ExpectSound();
}

TEST_F(LargeSpaceTest, DiscardFails) {
  for (int i = 0; i < 6; ++i) EXPECT_NE(Allocate(10'000), 0u);
  const Bytes used = ledger_.used();
  Cycle({});
  system_.FailEvery(Call::kDiscard, 2);
  EXPECT_FALSE(space_.ReleaseSwept().ok());
  EXPECT_EQ(ledger_.used(), used / 2);
  ExpectSound();
  system_.StopFailing();
  EXPECT_TRUE(space_.ReleaseSwept().ok());
  EXPECT_EQ(ledger_.used(), Bytes(0));
  ExpectSound();
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
