// How large heaps are: policies, the memory limit of the process, pressure, and programs that do
// little but collect.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "heap/heap_for_test.h"
#include "heap/sized_heap_for_test.h"
#include "platform/bytes.h"
#include "platform/fake_system.h"

namespace ebb {
namespace {

using platform::MiB;
using ::testing::HasSubstr;

class SizingTest : public SizedHeapTest {
 protected:
  SizingTest() { options_.min_bytes = 4 * kMiB; }

  static void Churn(Mutator& mutator, int64_t bytes) {
    for (int64_t i = 0; i < bytes / kLeafBytes; ++i) mutator.New<Leaf>();
  }
};

TEST_F(SizingTest, AGrowableHeapFollowsWhatLives) {
  options_.sizing = Sizing::kGrowable;
  auto heap = NewHeap(options_);
  EXPECT_EQ(heap->stats().limit_bytes, 4 * kMiB);
  EXPECT_EQ(heap->stats().max_bytes, 256 * kMiB);
  Mutator mutator(*heap);
  Churn(mutator, 40 * kMiB);
  EXPECT_GT(heap->stats().collections + heap->stats().minor_collections, 0)
      << "garbage does not make it grow";
  EXPECT_LT(heap->stats().peak_heap_bytes, 32 * kMiB);
  {
    Local<Leaf> root(mutator, List(mutator, 20 * kMiB));
    ASSERT_TRUE(heap->Collect().ok());
    EXPECT_GE(heap->stats().limit_bytes, 60 * kMiB);
    EXPECT_LE(heap->stats().limit_bytes, 90 * kMiB);
    EXPECT_TRUE(heap->Verify().ok());
  }
  ASSERT_TRUE(heap->Collect().ok());
  EXPECT_TRUE(Eventually([&] { return heap->stats().heap_bytes <= 8 * kMiB; }))
      << heap->stats().heap_bytes;
  EXPECT_LE(heap->stats().limit_bytes, 8 * kMiB);
  EXPECT_EQ(heap->stats().exhaustions, 0);
}

TEST_F(SizingTest, NoPolicyMakesAnAllocationFailBelowTheMaximum) {
  for (Sizing sizing : {Sizing::kFixed, Sizing::kGrowable, Sizing::kAdaptive}) {
    options_.sizing = sizing;
    options_.max_bytes = 64 * kMiB;
    auto heap = NewHeap(options_);
    Mutator mutator(*heap);
    Local<Leaf> root(mutator, List(mutator, 24 * kMiB));
    Local<Array<int64_t>> large(mutator, mutator.NewArray<int64_t>(kMiB));  // 8 MiB
    EXPECT_EQ(heap->stats().exhaustions, 0);
    EXPECT_LE(heap->stats().peak_heap_bytes, 64 * kMiB);
    EXPECT_TRUE(heap->Verify().ok());
  }
}

// Small objects, dropped at once, that each own a buffer outside. A buffer is freed, as a cleanup
// would, when the second cycle since has ended: that one began after its owner was dropped.
class OwnersOfBuffers {
 public:
  OwnersOfBuffers(Heap& heap, bool reports) : heap_(heap), mutator_(heap), reports_(reports) {}

  void Run(int count) {
    for (int i = 0; i < count; ++i) {
      const int64_t cycles = heap_.stats().collections;
      for (; !buffers_.empty() && buffers_.front().dropped_in + 2 <= cycles; Free()) {
      }
      mutator_.New<Leaf>();
      buffers_.push_back({std::make_unique<char[]>(kBufferBytes), cycles});
      Report(kBufferBytes);
      most_ = std::max(most_, Held());
    }
  }
  void FreeAll() {
    while (!buffers_.empty()) Free();
  }
  int64_t Held() const { return static_cast<int64_t>(buffers_.size()) * kBufferBytes; }
  int64_t most_held() const { return most_; }
  static constexpr int64_t kBufferBytes = 256 << 10;

 private:
  struct Buffer {
    std::unique_ptr<char[]> memory;
    int64_t dropped_in;  // the number of cycles that had ended
  };

  void Free() {
    buffers_.pop_front();
    Report(-kBufferBytes);
  }
  void Report(int64_t bytes) {
    if (!reports_) return;
    const absl::Status status = heap_.ReportExternal(bytes);
    ASSERT_TRUE(status.ok()) << status;
  }

  Heap& heap_;
  Mutator mutator_;
  const bool reports_;
  std::deque<Buffer> buffers_;
  int64_t most_ = 0;
};

TEST_F(SizingTest, WhatObjectsHoldOutsideIsBoundedIfItIsReported) {
  constexpr int kOwners = 2000;
  options_.max_bytes = 16 * kMiB;
  for (Sizing sizing : {Sizing::kFixed, Sizing::kGrowable, Sizing::kAdaptive}) {
    options_.sizing = sizing;
    auto heap = NewHeap(options_);
    OwnersOfBuffers owners(*heap, /*reports=*/true);
    owners.Run(kOwners);
    EXPECT_EQ(heap->stats().external_bytes, owners.Held());
    // A portion is at most half of the heap, two are reported from one cycle's begin to the next,
    // and a buffer is held for less than three of these. (An eighth of that is no larger portion.)
    EXPECT_LE(owners.most_held(), 3 * 16 * kMiB * 5 / 4);
    EXPECT_GE(heap->stats().collections, kOwners * owners.kBufferBytes / (3 * 16 * kMiB));
    EXPECT_EQ(heap->stats().exhaustions, 0);
    owners.FreeAll();
    EXPECT_EQ(heap->stats().external_bytes, 0);
    EXPECT_TRUE(heap->Verify().ok());
  }
}

TEST_F(SizingTest, WithoutReportsItIsNot) {
  options_.max_bytes = 16 * kMiB;
  auto heap = NewHeap(options_);
  OwnersOfBuffers owners(*heap, /*reports=*/false);
  owners.Run(400);
  EXPECT_EQ(heap->stats().collections, 0);
  EXPECT_EQ(owners.most_held(), 400 * owners.kBufferBytes);
}

TEST_F(SizingTest, AReportAloneMakesACycleBegin) {
  options_.max_bytes = 16 * kMiB;
  auto heap = NewHeap(options_);
  Mutator mutator(*heap);
  // Of a thread that is not attached.
  std::thread([&] { EXPECT_TRUE(heap->ReportExternal(9 * kMiB).ok()); }).join();
  if (!IsConcurrent(*heap)) {
    EXPECT_EQ(heap->stats().collections, 0);
    mutator.New<Leaf>();  // nobody else could run it
    EXPECT_EQ(heap->stats().collections, 1);
  } else {
    const Blocking blocking(mutator);
    EXPECT_TRUE(Eventually([&] { return heap->stats().collections == 1; }));
  }
  // Once: what is reported no more is not fresh again.
  for (int i = 0; i < 1000; ++i) mutator.New<Leaf>();
  EXPECT_EQ(heap->stats().collections, 1);
  const absl::Status status = heap->ReportExternal(-10 * kMiB);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("less than nothing"));
  EXPECT_EQ(heap->stats().external_bytes, 9 * kMiB);
}

TEST_F(SizingTest, WhatIsHeldOutsideCountsAgainstTheMemoryLimit) {
  system_.SetMemoryLimit(MiB(100));
  auto heap = NewHeap(options_);
  EXPECT_EQ(heap->stats().limit_bytes, 90 * kMiB);
  ASSERT_TRUE(heap->ReportExternal(50 * kMiB).ok());
  ASSERT_TRUE(heap->Collect().ok());
  EXPECT_EQ(heap->stats().limit_bytes, 40 * kMiB);
  ASSERT_TRUE(heap->ReportExternal(1000 * kMiB).ok());
  ASSERT_TRUE(heap->Collect().ok());
  EXPECT_EQ(heap->stats().limit_bytes, 90 * kMiB / 8) << "so much is the heap's in any case";
  ASSERT_TRUE(heap->ReportExternal(-1050 * kMiB).ok());
  ASSERT_TRUE(heap->Collect().ok());
  EXPECT_EQ(heap->stats().limit_bytes, 90 * kMiB);
}

TEST_F(SizingTest, AnAdaptiveHeapIsLargerWhereThatIsCheap) {
  options_.sizing = Sizing::kAdaptive;
  int64_t limits[2];
  for (int i = 0; i < 2; ++i) {
    options_.processors_per_gib = i == 0 ? 100 : 0.1;
    auto heap = NewHeap(options_);
    Mutator mutator(*heap);
    Local<Leaf> root(mutator, List(mutator, 10 * kMiB));
    Churn(mutator, 100 * kMiB);
    ASSERT_TRUE(heap->Collect().ok());
    limits[i] = heap->stats().limit_bytes;
    EXPECT_GE(limits[i], 22 * kMiB);
    EXPECT_LE(heap->stats().peak_heap_bytes, 256 * kMiB);
  }
  EXPECT_LT(limits[0], limits[1]);
}

TEST_F(SizingTest, TheMemoryLimitIsHeededAndLookedUpAgain) {
  system_.SetMemoryLimit(MiB(100));
  auto heap = NewHeap(options_);
  EXPECT_EQ(heap->stats().limit_bytes, 90 * kMiB);
  EXPECT_EQ(heap->stats().max_bytes, 256 * kMiB);
  Mutator mutator(*heap);
  Churn(mutator, 100 * kMiB);
  EXPECT_LE(heap->stats().peak_heap_bytes, 90 * kMiB);
  system_.SetMemoryLimit(MiB(40));
  EXPECT_TRUE(Eventually([&] {
    Churn(mutator, kMiB);
    return heap->stats().limit_bytes == 36 * kMiB && heap->stats().heap_bytes <= 36 * kMiB;
  })) << heap->stats().heap_bytes;
  Local<Leaf> root(mutator);
  absl::Status status;
  while (status.ok()) {
    auto node = mutator.TryNew<Leaf>(root);
    status = node.status();
    if (node.ok()) root = *node;
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("control group (now 40.0 MiB"));
  EXPECT_LE(heap->stats().heap_bytes, 36 * kMiB);
  system_.SetMemoryLimit(MiB(80));
  EXPECT_TRUE(Eventually([&] { return heap->stats().limit_bytes == 72 * kMiB; }));
  EXPECT_TRUE(mutator.TryNew<Leaf>(root).ok());
}

TEST_F(SizingTest, TheMemoryLimitCanBeIgnored) {
  system_.SetMemoryLimit(MiB(100));
  options_.memory_limit_share = 0;
  EXPECT_EQ(NewHeap(options_)->stats().limit_bytes, 256 * kMiB);
}

TEST_F(SizingTest, UnderPressureTheHeapShrinks) {
  auto heap = NewHeap(options_);
  Mutator mutator(*heap);
  Local<Leaf> root(mutator, List(mutator, 8 * kMiB));
  Churn(mutator, 300 * kMiB);
  ASSERT_TRUE(heap->Collect().ok());
  ASSERT_EQ(heap->stats().limit_bytes, 256 * kMiB);
  system_.SetMemoryPressure(0.3);
  {
    const Blocking waiting(mutator);
    EXPECT_TRUE(Eventually([&] {
      const HeapStats stats = heap->stats();
      return stats.limit_bytes < 60 * kMiB && stats.heap_bytes <= stats.limit_bytes;
    })) << heap->stats().heap_bytes;
  }
  Churn(mutator, 100 * kMiB);
  EXPECT_LT(heap->stats().heap_bytes, 60 * kMiB);
  system_.SetMemoryPressure(0);
  const Blocking waiting(mutator);
  EXPECT_TRUE(Eventually([&] { return heap->stats().limit_bytes == 256 * kMiB; }));
}

// Each cycle makes a little room, which is used up at once: without a bound the program would go on
// for ever, and do nothing but collect.
TEST_F(SizingTest, AProgramThatOnlyCollectsIsToldSo) {
  options_.max_bytes = 8 * kMiB;
  auto heap = NewHeap(options_);
  Mutator mutator(*heap);
  Local<Leaf> root(mutator);
  absl::Status full;
  int64_t length = 0;
  while (full.ok()) {
    auto node = mutator.TryNew<Leaf>(root);
    full = node.status();
    if (!node.ok()) break;
    root = *node;
    ++length;
  }
  // As the room grows, from none at all to enough.
  bool told = false;
  absl::Status status = full;
  while (!status.ok()) {
    ASSERT_GT(length, 0);
    for (int i = 0; i < 125; ++i) root = root->left;  // 32 KB
    length -= 125;
    int made = 0;
    do {
      status = mutator.TryNew<Leaf>().status();
    } while (status.ok() && ++made < 30'000);
    if (absl::StrContains(status.message(), "hardly anything else")) {
      told = true;
      EXPECT_TRUE(heap->Verify().ok());
    }
  }
  // Beside a concurrent cycle a program may get some room, or none, but never as little as that
  // eight times in a row; and minor cycles find some at little cost. What all must do is to come to
  // an end.
  EXPECT_TRUE(told || CollectorUnderTest() != Collector::kParallel);
  EXPECT_TRUE(heap->Verify().ok());
}

TEST_F(SizingTest, TrimGivesBackWhatNoObjectNeeds) {
  options_.page_out = false;
  auto heap = NewHeap(options_);
  Mutator mutator(*heap);
  List(mutator, 80 * kMiB);
  Local<Leaf> root(mutator, List(mutator, 20 * kMiB));
  Churn(mutator, 150 * kMiB);
  mutator.NewArray<int64_t>(kMiB);  // 8 MiB, dead at once
  ASSERT_TRUE(heap->Collect().ok());
  const auto before = system_.ResidentMemory();
  ASSERT_TRUE(before.ok()) << before.status();
  EXPECT_GT(heap->stats().heap_bytes, 150 * kMiB);
  ASSERT_TRUE(heap->Trim().ok());
  const auto after = system_.ResidentMemory();
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_LT(heap->stats().heap_bytes, 60 * kMiB);
  EXPECT_GT(*before - *after, MiB(100));
  Churn(mutator, 50 * kMiB);
  int64_t length = 0;
  for (Ref<Leaf> node = root; node != nullptr; node = node->left) ++length;
  EXPECT_EQ(length, 20 * kMiB / kLeafBytes);
  EXPECT_TRUE(heap->Verify().ok());
  ASSERT_TRUE(heap->Collect().ok());
  system_.FailEvery(platform::Call::kDiscardBatch, 1);
  EXPECT_EQ(heap->Trim().code(), absl::StatusCode::kResourceExhausted);
  system_.StopFailing();
  EXPECT_TRUE(heap->Trim().ok());
}

TEST_F(SizingTest, LargeObjectsThatHaveDiedDoNotMakeItGrow) {
  options_.sizing = Sizing::kGrowable;
  auto heap = NewHeap(options_);
  Mutator mutator(*heap);
  for (int i = 0; i < 300; ++i) mutator.NewArray<int64_t>(kMiB / 8);
  ASSERT_TRUE(heap->Collect().ok());
  EXPECT_LE(heap->stats().limit_bytes, 8 * kMiB);
  EXPECT_LE(heap->stats().peak_heap_bytes, 32 * kMiB);
}

TEST_F(SizingTest, TheHandlerCanGrowAHeapWhosePolicyKeepsItSmall) {
  options_.sizing = Sizing::kGrowable;
  options_.max_bytes = 16 * kMiB;
  options_.reserve_bytes = 256 * kMiB;
  options_.on_exhaustion = [](const Exhaustion&) { return ExhaustionAction::kGrow; };
  auto heap = NewHeap(options_);
  Mutator mutator(*heap);
  const auto array = mutator.TryNewArray<int64_t>(4 * kMiB);  // 32 MiB
  EXPECT_TRUE(array.ok()) << array.status();
  EXPECT_GT(heap->stats().max_bytes, 32 * kMiB);
}

TEST_F(SizingTest, TheHandlerCannotGrowAHeapBeyondTheMemoryLimit) {
  options_.max_bytes = 64 * kMiB;
  options_.reserve_bytes = 256 * kMiB;
  int asked = 0;
  options_.on_exhaustion = [&asked](const Exhaustion&) {
    ++asked;
    return ExhaustionAction::kGrow;
  };
  system_.SetMemoryLimit(MiB(40));
  auto heap = NewHeap(options_);
  Mutator mutator(*heap);
  const auto array = mutator.TryNewArray<int64_t>(8 * kMiB);  // 64 MiB
  EXPECT_EQ(array.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(heap->stats().max_bytes, 64 * kMiB);
}

}  // namespace
}  // namespace ebb
