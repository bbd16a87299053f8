// What counted objects cost in memory, and what a forked child that detects cycles writes to.

#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/config.h"
#include "absl/log/check.h"
#include "absl/log/log.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "heap/fork_for_test.h"
#include "heap/rc/rc.h"
#include "platform/system.h"

namespace ebb::rc {
namespace {

constexpr int kObjects = 1'000'000;

// 16 bytes of payload.
struct Link {
  Field<Link> next;
  int64_t value = 0;
};

// A list of so many, which refers to its first one too.
Ptr<Link> MakeObjects() {
  Ptr<Link> last = MakePtr<Link>();
  Ptr<Link> first = last;
  for (int i = 1; i < kObjects; ++i) first = MakePtr<Link>(first, i);
  last->next = first;
  return first;
}

int64_t Resident() { return platform::System::Real().ResidentMemory()->count(); }

// Pages of this process that it shares with no other, and that were written.
int64_t PrivateDirty() {
  std::ifstream file("/proc/self/smaps_rollup");
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    int64_t kibibytes = 0;
    if (words[0] == "Private_Dirty:" && absl::SimpleAtoi(words[1], &kibibytes)) {
      return kibibytes << 10;
    }
  }
  return -1;
}

#if defined(ABSL_HAVE_ADDRESS_SANITIZER) || defined(ABSL_HAVE_THREAD_SANITIZER)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

class FootprintTest : public testing::Test {
 protected:
  void SetUp() override {
    if (kSanitized) GTEST_SKIP() << "the sanitizer takes memory of its own";
  }

  explicit FootprintTest(Collector collector = Options().collector)
      : heap_(NewHeap(PlainOptions(collector))) {}

  static Options PlainOptions(Collector collector) {
    Options options{.max_bytes = 256 << 20, .collector = collector, .page_out = false};
    options.read_environment = false;
    return options;
  }

  const std::unique_ptr<Heap> heap_;
  Domain domain_{*heap_};
  Mutator mutator_{*heap_};
  Owner owner_{domain_, mutator_};
};

TEST_F(FootprintTest, AnObjectCostsItsPayloadAndFortyBytes) {
  MakePtr<Link>();
  const int64_t before = Resident();
  Ptr<Link> objects = MakeObjects();
  const double each = static_cast<double>(Resident() - before) / kObjects;
  RecordProperty("bytes_each", std::to_string(each));
  EXPECT_GT(each, 40);
  EXPECT_LE(each, 56);
  objects->next = nullptr;
}

// 16 bytes beside the heap for each; what the heap gives back of it is its own affair.
TEST_F(FootprintTest, CellsThatNobodyNeedsAreGivenBack) {
  for (const char* const round : {"first", "again"}) {
    Ptr<Link> objects = MakeObjects();
    objects->next = nullptr;
    objects = nullptr;
    const int64_t before = Resident();
    CHECK_OK(domain_.TrimCells().status());
    const double each = static_cast<double>(before - Resident()) / kObjects;
    RecordProperty(round, std::to_string(each));
    EXPECT_GT(each, 15);
    EXPECT_EQ(domain_.stats().cells, 0);
  }
}

TEST_F(FootprintTest, ADetectionInAChildLeavesItsPagesShared) {
  const int64_t before = Resident();
  Ptr<Link> objects = MakeObjects();
  const int64_t resident = Resident() - before;
  EXPECT_TRUE(Fork([&] {
    const int64_t dirty_before = PrivateDirty();
    const absl::StatusOr<Detection> detection = domain_.Collect();
    CHECK_OK(detection.status());
    CHECK_EQ(detection->visited, kObjects);
    CHECK_EQ(detection->collected, 0);
    const int64_t detected = PrivateDirty() - dirty_before;
    // Each is counted, and read: that writes to counts, 4 bytes each, and not to objects.
    int64_t sum = 0;
    for (Ptr<Link> at = objects; at->value != 0; at = at->next) sum += at->value;
    CHECK_GT(sum, 0);
    const int64_t counted = PrivateDirty() - dirty_before;
    LOG(INFO) << "of " << resident << " bytes " << detected << " were written to by a detection, "
              << counted << " when all had been counted";
    CHECK_LE(detected, resident / 20);
    CHECK_LE(counted, resident / 20 + 4 * kObjects);
  }));
  objects->next = nullptr;
}

class FrozenFootprintTest : public FootprintTest, public testing::WithParamInterface<Collector> {
 protected:
  FrozenFootprintTest() : FootprintTest(GetParam()) {}
};

// What Freeze has moved, no cycle moves again.
TEST_P(FrozenFootprintTest, ACycleInAChildLeavesItsPagesShared) {
  const int64_t before = Resident();
  Ptr<Link> objects = MakeObjects();
  const absl::Time begin = absl::Now();
  ASSERT_TRUE(domain_.Freeze().ok());
  const absl::Duration took = absl::Now() - begin;
  ASSERT_TRUE(heap_->Trim().ok());
  const int64_t resident = Resident() - before;
  EXPECT_TRUE(Fork([&] {
    const int64_t dirty_before = PrivateDirty();
    CHECK_OK(heap_->Collect());
    const int64_t collected = PrivateDirty() - dirty_before;
    CHECK_OK(domain_.Collect().status());
    const int64_t detected = PrivateDirty() - dirty_before;
    int64_t sum = 0;
    for (const Link* at = objects.get(); at->value != 0; at = at->next.get()) sum += at->value;
    CHECK_EQ(sum, int64_t{kObjects} * (kObjects - 1) / 2);
    LOG(INFO) << "Freeze took " << took << "; of " << resident << " bytes " << collected
              << " were written to by a cycle, " << detected << " when a detection had ended";
    CHECK_LE(detected, resident / 10);
  }));
  objects->next = nullptr;
}

std::string NameOf(const testing::TestParamInfo<Collector>& info) {
  return ForkCase{info.param, Forker::kRuns}.name();
}

INSTANTIATE_TEST_SUITE_P(All, FrozenFootprintTest, testing::ValuesIn(kCollectors), NameOf);

}  // namespace
}  // namespace ebb::rc
