// Which collectors a program can have: all, unless it is compiled with EBB_LOAD_BARRIER=0 and
// EBB_STORE_BARRIER=0 (bazel test --config=no_barrier).

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "heap/ebb.h"
#include "heap/load_barrier.h"

namespace ebb {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

struct Node {
  Field<Node> next;
  int64_t value;
};

absl::StatusOr<std::unique_ptr<Heap>> Create(Collector collector) {
  Options options;
  options.read_environment = false;
  options.max_bytes = 16 << 20;
  options.collector = collector;
  return Heap::Create(options);
}

// More than fits the heap, of which a list of a hundred lives.
void MakeAndCheckLists(Heap& heap) {
  Mutator mutator(heap);
  for (int round = 0; round < 10'000; ++round) {
    Local<Node> first(mutator);
    for (int64_t i = 0; i < 100; ++i) first = mutator.New<Node>(first, i);
    int64_t expected = 100;
    for (Ref<Node> node = first; node != nullptr; node = node->next) {
      ASSERT_EQ(node->value, --expected);
    }
    ASSERT_EQ(expected, 0);
  }
  EXPECT_GT(heap.stats().collections + heap.stats().minor_collections, 0);
}

TEST(WithoutBarriersTest, ParallelNeedsNone) {
  const auto heap = Create(Collector::kParallel);
  ASSERT_TRUE(heap.ok()) << heap.status();
  MakeAndCheckLists(**heap);
}

TEST(WithoutBarriersTest, OthersAreRefused) {
  for (const Collector collector : {Collector::kConcurrent, Collector::kGenerational}) {
    const auto heap = Create(collector);
    if (internal::kHasLoadBarrier) {
      ASSERT_TRUE(heap.ok()) << heap.status();
      MakeAndCheckLists(**heap);
      continue;
    }
    EXPECT_EQ(heap.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(heap.status().message()),
                AllOf(HasSubstr("option collector"), HasSubstr("EBB_LOAD_BARRIER=0"),
                      HasSubstr("choose parallel")));
  }
}

}  // namespace
}  // namespace ebb
