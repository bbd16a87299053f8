// InPlaceSpaceForTest: the fixture of the tests of LargeSpace and PinnedSpace, which mark their
// objects in place: stamped objects, a naive model, and what both must do when the system refuses.
// For tests only.

#ifndef EBB_HEAP_IN_PLACE_SPACE_FOR_TEST_H_
#define EBB_HEAP_IN_PLACE_SPACE_FOR_TEST_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <vector>

#include "absl/log/check.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "copyspace/geometry.h"
#include "copyspace/ledger.h"
#include "copyspace/mutators_stopped_for_test.h"
#include "gtest/gtest.h"
#include "platform/address_range.h"
#include "platform/bytes.h"
#include "platform/fake_system.h"

namespace ebb::internal {

// Sizes of objects include the header word, which a reference has in front of it.
template <typename Space>
class InPlaceSpaceForTest : public ::testing::Test {
 protected:
  using Bytes = platform::Bytes;
  using Reference = copyspace::Reference;

  InPlaceSpaceForTest(Bytes reserve, Bytes limit)
      : range_(*system_.Reserve(reserve, platform::MiB(64), "test")),
        ledger_(limit),
        space_(system_, ledger_, range_) {}
  ~InPlaceSpaceForTest() override { CHECK_OK(system_.Release(range_, "test")); }

  // Stamped from end to end; 0 if there is no memory, and status_ says why.
  Reference Allocate(size_t bytes, Bytes keep_free = Bytes(0)) {
    absl::StatusOr<uintptr_t> header = space_.Allocate(bytes, keep_free);
    if (!header.ok()) {
      status_ = header.status();
      return 0;
    }
    const Reference object = *header + 8;
    EXPECT_EQ(object % 16, 0u);
    EXPECT_TRUE(space_.Contains(object));
    EXPECT_TRUE(ConsistsOf(0, object, bytes));
    std::memset(reinterpret_cast<void*>(*header), Stamp(object), bytes);
    return object;
  }
  static bool Intact(Reference object, size_t bytes) {
    return ConsistsOf(Stamp(object), object, bytes);
  }

  void Cycle(const std::vector<Reference>& live) {
    space_.ClearMarks(stopped_);
    for (Reference object : live) {
      EXPECT_TRUE(space_.TryMark(object));
      EXPECT_FALSE(space_.TryMark(object));
    }
    std::vector<Reference> marked = Marked();
    std::ranges::sort(marked);
    EXPECT_EQ(marked, live);
    space_.Sweep();
    ExpectSound();
  }
  Reference AllocateDuringACycle(size_t bytes) {
    space_.ClearMarks(stopped_);
    const Reference object = Allocate(bytes);
    EXPECT_FALSE(space_.TryMark(object));
    space_.Sweep();
    return object;
  }
  std::vector<Reference> Marked() const {
    std::vector<Reference> marked;
    space_.ForEachMarked([&](Reference object) { marked.push_back(object); });
    return marked;
  }
  void ExpectSound() {
    absl::Status status = space_.CheckInvariants();
    EXPECT_TRUE(status.ok()) << status;
  }
  void ExpectAllIsReleased() {
    EXPECT_TRUE(space_.ReleaseSwept().ok());
    EXPECT_EQ(ledger_.used(), Bytes(0));
    ExpectSound();
  }

  // --- Against the model: what is in model_, and nothing else, is alive and intact.

  void AllocateInModel(size_t bytes) {
    const Reference object = Allocate(bytes);
    if (object == 0) {
      EXPECT_EQ(status_.code(), absl::StatusCode::kResourceExhausted);
      return;
    }
    EXPECT_TRUE(model_.emplace(object, bytes).second);
  }
  // About half of the model lives on.
  void CycleInModel() {
    std::vector<Reference> live;
    for (const auto& [object, bytes] : model_) {
      EXPECT_TRUE(Intact(object, bytes));
      if (random_() % 2 == 0) live.push_back(object);
    }
    Cycle(live);
    std::erase_if(model_, [&](const auto& entry) {
      const bool lives = std::ranges::binary_search(live, entry.first);
      EXPECT_EQ(space_.IsObject(entry.first), lives);
      return !lives;
    });
  }
  Bytes ModelBytes() const {
    Bytes sum;
    for (const auto& [object, bytes] : model_) sum += Bytes(static_cast<int64_t>(bytes));
    return sum;
  }
  void EmptyTheModel() {
    model_.clear();
    Cycle({});
    EXPECT_EQ(space_.object_bytes(), Bytes(0));
    ExpectAllIsReleased();
  }

  // --- When the system refuses.

  // The space is empty and has committed nothing.
  void ExpectRefusedCommitChangesNothing(size_t bytes) {
    system_.FailOn(platform::Call::kCommit, 1);
    EXPECT_EQ(Allocate(bytes), 0u);
    EXPECT_FALSE(status_.ok());
    EXPECT_EQ(ledger_.used(), Bytes(0));
    ExpectSound();
    EXPECT_NE(Allocate(bytes), 0u);
    ExpectSound();
  }
  // All that is in the space is garbage, and half of what it takes goes at the second attempt only.
  void ExpectRefusedDiscardIsTriedAgain() {
    const Bytes used = ledger_.used();
    Cycle({});
    system_.FailEvery(platform::Call::kDiscard, 2);
    EXPECT_FALSE(space_.ReleaseSwept().ok());
    EXPECT_EQ(ledger_.used(), used / 2);
    ExpectSound();
    system_.StopFailing();
    ExpectAllIsReleased();
  }

  platform::FakeSystem system_;
  const platform::AddressRange range_;
  copyspace::Ledger ledger_;
  Space space_;
  copyspace::MutatorsStoppedForTest stopped_;
  absl::Status status_;
  std::map<Reference, size_t> model_;
  std::mt19937_64 random_{1};

 private:
  // Never 0, as fresh memory is.
  static unsigned char Stamp(Reference object) {
    return static_cast<unsigned char>((object >> 4) % 255 + 1);
  }
  static bool ConsistsOf(unsigned char byte, Reference object, size_t bytes) {
    const auto* memory = reinterpret_cast<const unsigned char*>(object - 8);
    return memory[0] == byte && std::memcmp(memory, memory + 1, bytes - 1) == 0;
  }
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_IN_PLACE_SPACE_FOR_TEST_H_
