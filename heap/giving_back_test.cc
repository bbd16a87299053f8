// What a heap gives back to the system, as the system sees it: kernel mappings and resident memory.

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "heap/heap_for_test.h"
#include "platform/bytes.h"
#include "platform/fake_system.h"

namespace ebb {
namespace {

using platform::MiB;

constexpr int64_t kMiB = int64_t{1} << 20;

struct Leaf {
  Field<Leaf> left;
  int64_t words[30];
};
constexpr int64_t kLeafBytes = 256;
static_assert(sizeof(Leaf) + 8 == kLeafBytes);

class GivingBackTest : public ::testing::Test {
 protected:
  GivingBackTest() {
    options_.read_environment = false;
    options_.system = &system_;
    options_.collector = CollectorUnderTest();
    options_.nursery_bytes = kMiB;
    options_.max_bytes = 256 * kMiB;
    options_.page_out_tick = absl::Milliseconds(10);
    system_.SetMemoryLimit(MiB(16 << 10));
    system_.SetMemoryPressure(0);
  }

  // A list of about `bytes`.
  static Ref<Leaf> List(Mutator& mutator, int64_t bytes) {
    Local<Leaf> first(mutator);
    for (int64_t i = 0; i < bytes / kLeafBytes; ++i) first = mutator.New<Leaf>(first);
    return first;
  }
  static int64_t MappingsOf(const Heap& heap) {
    const absl::StatusOr<int64_t> mappings = heap.CountKernelMappings();
    EXPECT_TRUE(mappings.ok()) << mappings.status();
    return mappings.value_or(-1);
  }
  // Fills much of the heap and drops most of it, in another pattern each time: what is given back
  // has holes of all sizes.
  static void FillAndDrop(Heap& heap, Mutator& mutator, int64_t round) {
    Local<RefArray<Leaf>> kept(mutator, mutator.NewRefArray<Leaf>(100));
    for (int64_t i = 0; i < 100; ++i) {
      kept->at(i) = List(mutator, kMiB);
      mutator.NewArray<int64_t>(kMiB / 32);  // 256 KiB: a large object, dead at once
    }
    for (int64_t i = 0; i < 100; ++i) {
      if (i % (round + 2) != 0) kept->at(i) = nullptr;
    }
    ASSERT_TRUE(heap.Collect().ok());
  }

  platform::FakeSystem system_;
  Options options_;
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

}  // namespace
}  // namespace ebb
