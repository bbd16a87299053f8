// What a heap gives back to the system, as the system sees it: kernel mappings and resident memory.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "copyspace/copy_space.h"
#include "gtest/gtest.h"
#include "heap/heap_core.h"
#include "heap/heap_for_test.h"
#include "heap/sized_heap_for_test.h"
#include "platform/bytes.h"
#include "platform/fake_system.h"
#include "platform/memory_for_test.h"

namespace ebb {
namespace {

using platform::HugePageAdvice;
using platform::MiB;

class GivingBackTest : public SizedHeapTest {
 protected:
  static int64_t MappingsOf(const Heap& heap) {
    const absl::StatusOr<int64_t> mappings = heap.CountKernelMappings();
    EXPECT_TRUE(mappings.ok()) << mappings.status();
    return mappings.value_or(-1);
  }
  // Of a space's memory alone: sanitizers have memory of their own.
  static int64_t ResidentIn(const copyspace::CopySpace& space) {
    const absl::StatusOr<platform::Bytes> resident = platform::ResidentIn(space.committed());
    EXPECT_TRUE(resident.ok()) << resident.status();
    return resident.ok() ? resident->count() : 0;
  }
  // Fills much of the heap and drops most of it, in another pattern each time: what is given back
  // has holes of all sizes.
  static void FillAndDrop(Heap& heap, Mutator& mutator, int64_t round) {
    Local<RefArray<Leaf>> kept(mutator, mutator.NewRefArray<Leaf>(100));
    for (int64_t i = 0; i < 100; ++i) {
      const Ref<Leaf> list = List(mutator, kMiB);
      kept->at(i) = list;
      mutator.NewArray<int64_t>(kMiB / 32);  // 256 KiB: a large object, dead at once
    }
    for (int64_t i = 0; i < 100; ++i) {
      if (i % (round + 2) != 0) kept->at(i) = nullptr;
    }
    ASSERT_TRUE(heap.Collect().ok());
  }
};

TEST_F(GivingBackTest, KernelMappingsAreBounded) {
  options_.page_out = false;
  const auto heap = NewHeap(options_);
  EXPECT_GE(MappingsOf(*heap), 1);
  // The reservation's gaps, the committed parts of four spaces and of a table; and the slabs.
  const int64_t slabs = options_.max_bytes / (64 * kMiB) + 1;
  const int64_t most = 10 + 2 * slabs;
  Mutator mutator(*heap);
  for (int round = 0; round < 6; ++round) {
    FillAndDrop(*heap, mutator, round);
    EXPECT_LE(MappingsOf(*heap), most) << "in round " << round;
    ASSERT_TRUE(heap->Trim().ok());
    EXPECT_LE(MappingsOf(*heap), most) << "trimmed in round " << round;
  }
  EXPECT_GT(system_.uses(platform::Call::kDiscardBatch), 0);
  system_.FailOn(platform::Call::kCountMappings, 1);
  EXPECT_EQ(heap->CountKernelMappings().status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(GivingBackTest, DenseHugePagesCostTwoMappingsForEachSlab) {
  options_.page_out = false;
  options_.huge_pages = HugePages::kDense;
  const auto heap = NewHeap(options_);
  const int64_t slabs = options_.max_bytes / (64 * kMiB) + 1;
  Mutator mutator(*heap);
  for (int round = 0; round < 3; ++round) {
    FillAndDrop(*heap, mutator, round);
    ASSERT_TRUE(heap->Trim().ok());
    EXPECT_LE(MappingsOf(*heap), 12 + 2 * slabs) << "in round " << round;
  }
  bool thinned = false;
  bool dense_again = false;
  for (const platform::FakeSystem::Advised& advised : system_.advised()) {
    if (advised.range.size != MiB(64)) continue;
    if (advised.advice == HugePageAdvice::kNever) thinned = true;
    if (advised.advice == HugePageAdvice::kAlways) dense_again |= thinned;
  }
  // The kernel may know no huge pages.
  EXPECT_TRUE(thinned || !system_.AdviseHugePages({}, HugePageAdvice::kAlways, "test").ok());
  EXPECT_EQ(dense_again, thinned);
}

TEST_F(GivingBackTest, HugePagesAreAdvisedAgainstOrForTheWholeHeapAtFirst) {
  options_.page_out = false;
  for (const HugePages option : {HugePages::kNever, HugePages::kDense, HugePages::kAlways}) {
    platform::FakeSystem system;
    options_.system = &system;
    options_.huge_pages = option;
    const auto heap = NewHeap(options_);
    const auto advised = system.advised();
    if (option == HugePages::kAlways && advised.empty()) GTEST_SKIP() << "no huge pages here";
    ASSERT_FALSE(advised.empty());
    EXPECT_EQ(advised[0].range.size, system.reserved());
    EXPECT_EQ(advised[0].advice, option == HugePages::kAlways ? HugePageAdvice::kAlways
                                                              : HugePageAdvice::kNever);
    const size_t copy_spaces = HasGenerations(*heap) ? 2 : 1;
    const bool known = system.AdviseHugePages({}, HugePageAdvice::kAlways, "test").ok();
    EXPECT_EQ(advised.size(), option == HugePages::kDense && known ? 1 + copy_spaces : 1);
  }
}

TEST_F(GivingBackTest, AHeapDoesWithoutAdviceThatIsRefused) {
  for (const HugePages option : {HugePages::kNever, HugePages::kDense, HugePages::kAlways}) {
    options_.huge_pages = option;
    system_.FailEvery(platform::Call::kAdviseHugePages, 1);
    const auto heap = NewHeap(options_);
    Mutator mutator(*heap);
    FillAndDrop(*heap, mutator, 0);
    EXPECT_TRUE(heap->Trim().ok());
    EXPECT_TRUE(heap->Verify().ok());
  }
  EXPECT_EQ(system_.advised().size(), 0u);
}

// Both halves of blocks in use are resident after a cycle; one of them is for nothing.
TEST_F(GivingBackTest, AtRestAboutWhatLivesIsResident) {
  constexpr int64_t kLive = 60 * kMiB;
  options_.page_out = false;
  for (const bool ticks : {false, true}) {
    options_.page_out = ticks;
    const auto heap = NewHeap(options_);
    Mutator mutator(*heap);
    Local<Leaf> root(mutator, List(mutator, kLive));
    const auto resident = [&] { return ResidentIn(heap->core()->spaces().copy()); };
    if (!ticks) {
      // The second cycle comes back to where the first one has moved it from.
      ASSERT_TRUE(heap->Collect().ok());
      ASSERT_TRUE(heap->Collect().ok());
      EXPECT_GT(resident(), kLive * 7 / 4);
      EXPECT_TRUE(heap->Trim().ok());
    } else {
      ASSERT_TRUE(heap->Collect().ok());
    }
    EXPECT_TRUE(Eventually([&] { return resident() < kLive * 5 / 4; })) << resident();
    int64_t length = 0;
    for (Ref<Leaf> node = root; node != nullptr; node = node->left) ++length;
    EXPECT_EQ(length, kLive / kLeafBytes);
    EXPECT_TRUE(heap->Verify().ok());
  }
}

TEST_F(GivingBackTest, TheReserveIsTriedAgainWhenTheSystemRefuses) {
  const auto heap = NewHeap(options_);
  Mutator mutator(*heap);
  Local<Leaf> root(mutator, List(mutator, 20 * kMiB));
  system_.FailEvery(platform::Call::kDiscardBatch, 1);
  ASSERT_TRUE(heap->Collect().ok());
  EXPECT_TRUE(Eventually([&] { return heap->stats().page_out_failures > 20; }));
  const int64_t resident = ResidentIn(heap->core()->spaces().copy());
  system_.StopFailing();
  EXPECT_TRUE(Eventually([&] {
    return resident - ResidentIn(heap->core()->spaces().copy()) > 15 * kMiB;
  }));
}

TEST_F(GivingBackTest, TheNurseryIsGivenBackAsFarAsNothingIsInIt) {
  if (options_.collector != Collector::kGenerational) GTEST_SKIP() << "no nursery";
  options_.nursery_bytes = 16 * kMiB;
  options_.nursery_bypass = false;
  options_.minor_pause_target = absl::Minutes(1);  // so that much of it is used
  for (const bool ticks : {false, true}) {
    options_.page_out = ticks;
    const auto heap = NewHeap(options_);
    Mutator mutator(*heap);
    Local<Leaf> root(mutator, List(mutator, kMiB / 4));
    const auto resident = [&] { return ResidentIn(heap->core()->spaces().nursery()); };
    for (int i = 0; i < 100; ++i) mutator.NewArray<int64_t>(kMiB / 8 / 256);
    List(mutator, 20 * kMiB);
    ASSERT_TRUE(heap->Collect(CollectKind::kMinor).ok());
    if (!ticks) {
      EXPECT_GT(resident(), kMiB * 3 / 2);
      ASSERT_TRUE(heap->Trim().ok());
    }
    // What is young, the region that is being allocated in, and the block headers.
    EXPECT_TRUE(Eventually([&] { return resident() < kMiB; })) << resident();
    List(mutator, 20 * kMiB);
    EXPECT_TRUE(heap->Verify().ok());
    int64_t length = 0;
    for (Ref<Leaf> node = root; node != nullptr; node = node->left) ++length;
    EXPECT_EQ(length, kMiB / 4 / kLeafBytes);
  }
}

}  // namespace
}  // namespace ebb
