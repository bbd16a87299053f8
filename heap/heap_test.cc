// Heap: collection, sizes, figures. Runs as it is and under stress modes (see BUILD).

#include "heap/heap.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "heap/heap_for_test.h"

namespace ebb {
namespace {

using ::testing::HasSubstr;

TEST(HeapTest, ExampleOfTheDesign) {
  auto heap = NewHeap();
  Mutator mutator(*heap);
  Local<Node> root(mutator, mutator.New<Node>());
  root->left = mutator.New<Node>();
  root->left->value = 7;
  ASSERT_TRUE(heap->Collect().ok());
  EXPECT_EQ(root->left->value, 7);
  EXPECT_TRUE(heap->Verify().ok());
}

TEST(HeapTest, KeepsWhatIsReachableAndNothingElse) {
  auto heap = NewHeap();
  Mutator mutator(*heap);
  Local<Node> root(mutator, NewTree(mutator, 6));
  for (int i = 0; i < 3; ++i) {
    NewTree(mutator, 5);
    ASSERT_TRUE(heap->Collect().ok());
    absl::Status status = heap->Verify();
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(Sum(root), (1 << 7) - 1);
  }
  if (LiveBytesAreExact(*heap)) {
    EXPECT_EQ(heap->stats().live_bytes, ((1 << 7) - 1) * 32);
  }
}

TEST(HeapTest, CollectsCycles) {
  auto heap = NewHeap();
  Mutator mutator(*heap);
  {
    Local<Node> a(mutator, mutator.New<Node>());
    a->left = mutator.New<Node>(a, a, 3);
    ASSERT_TRUE(heap->Collect().ok());
    EXPECT_EQ(a->left->left, a);
    EXPECT_EQ(heap->stats().live_bytes, 2 * 32);
  }
  ASSERT_TRUE(heap->Collect().ok());
  EXPECT_EQ(heap->stats().live_bytes, 0);
}

TEST(HeapTest, CollectsWhenFull) {
  auto heap = NewHeap(1 << 20);
  Mutator mutator(*heap);
  Local<Node> root(mutator, NewTree(mutator, 4));
  const int64_t rounds = heap->options().stress.collect_every == 0 ? 100'000 : 1'000;
  for (int64_t i = 0; i < rounds; ++i) mutator.New<Node>();
  EXPECT_GE(heap->stats().collections + heap->stats().minor_collections, 2);
  EXPECT_LE(heap->stats().peak_heap_bytes, heap->stats().max_bytes);
  EXPECT_EQ(Sum(root), (1 << 5) - 1);
}

TEST(HeapTest, LongListNeedsNoDeepStack) {
  auto heap = NewHeap(64 << 20);
  const int64_t length = heap->options().stress.collect_every == 0 ? 200'000 : 200;
  Mutator mutator(*heap);
  Local<Node> list(mutator, NewList(mutator, length));
  ASSERT_TRUE(heap->Collect().ok());
  EXPECT_TRUE(IsList(list, length));
}

TEST(HeapTest, ManyHeapsAndSeveralPerThread) {
  auto a = NewHeap(1 << 20);
  auto b = NewHeap(1 << 20);
  Mutator in_a(*a);
  Mutator in_b(*b);
  Local<Node> root_a(in_a, NewTree(in_a, 3));
  Local<Node> root_b(in_b, NewTree(in_b, 4));
  const int64_t before = b->stats().collections;
  ASSERT_TRUE(a->Collect().ok());
  EXPECT_EQ(b->stats().collections, before);
  ASSERT_TRUE(b->Collect().ok());
  EXPECT_EQ(Sum(root_a), (1 << 4) - 1);
  EXPECT_EQ(Sum(root_b), (1 << 5) - 1);
  EXPECT_EQ(Mutator::Current(*a), &in_a);
  EXPECT_EQ(Mutator::Current(*b), &in_b);
}

TEST(HeapTest, CollectByAThreadThatIsNotAttached) {
  auto heap = NewHeap();
  EXPECT_TRUE(heap->Collect().ok());
  EXPECT_TRUE(heap->Verify().ok());
  EXPECT_EQ(heap->stats().collections, 1);
}

// The memory stays until the last mutator has gone, so nothing it does is undefined.
TEST(HeapTest, OutlivedByItsMutators) {
  auto heap = NewHeap();
  std::optional<Mutator> mutator(*heap);
  Persistent<Node> persistent(*heap, mutator->New<Node>());
  Local<Node> root(*mutator, NewTree(*mutator, 3));
  heap.reset();
  EXPECT_EQ(persistent, nullptr);
  EXPECT_EQ(Sum(root), 15);
  EXPECT_TRUE(mutator->New<Node>() != nullptr);
  mutator.reset();
  EXPECT_FALSE(root);
}

TEST(HeapTest, StatsConserve) {
  auto heap = NewHeap();
  Mutator mutator(*heap);
  Local<Node> root(mutator, NewTree(mutator, 5));
  ASSERT_TRUE(heap->Collect().ok());
  const HeapStats stats = heap->stats();
  if (LiveBytesAreExact(*heap)) {
    EXPECT_EQ(stats.live_bytes, 63 * 32);
    EXPECT_EQ(stats.allocated_bytes, 63 * 32);
  }
  EXPECT_GT(stats.pause_ns.Max(), 0);
  if (IsConcurrent(*heap)) {
    EXPECT_GE(stats.pause_ns.Count(), stats.collections);
  } else {
    EXPECT_EQ(stats.pause_ns.Count(), stats.collections);
    EXPECT_GE(stats.time_to_safepoint_ns.Count(), stats.collections);
  }
  EXPECT_EQ(stats.mutators, 1);
  EXPECT_GT(stats.collector_bytes, 0);
  EXPECT_GE(stats.heap_bytes, stats.live_bytes + stats.collector_bytes);
  EXPECT_LE(stats.heap_bytes, stats.max_bytes);
}

TEST(HeapTest, SetMaxBytes) {
  auto heap = NewHeap(4 << 20);
  Mutator mutator(*heap);
  EXPECT_EQ(heap->options().max_bytes, 4 << 20);
  ASSERT_TRUE(heap->SetMaxBytes(8 << 20).ok());
  EXPECT_EQ(heap->options().max_bytes, 8 << 20);
  absl::Status status = heap->SetMaxBytes(17 << 20);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("reserve_bytes"));
  EXPECT_EQ(heap->SetMaxBytes(1).code(), absl::StatusCode::kInvalidArgument);
}

TEST(HeapTest, LoweringMaxBytesShrinksTheHeap) {
  auto heap = NewHeap(8 << 20);
  Mutator mutator(*heap);
  Local<Node> root(mutator, NewTree(mutator, 4));
  // (A nursery is collected in its stead.)
  if (heap->options().stress.collect_every == 0 && !HasGenerations(*heap)) {
    while (heap->stats().collections == 0) mutator.New<Node>();
  }
  ASSERT_TRUE(heap->SetMaxBytes(2 << 20).ok());
  ASSERT_TRUE(heap->Collect().ok());
  ASSERT_TRUE(heap->Collect().ok());
  EXPECT_LE(heap->stats().heap_bytes, 2 << 20);
  EXPECT_EQ(Sum(root), 31);
  EXPECT_TRUE(heap->Verify().ok());
}

// One cycle serves those that asked before it began.
TEST(HeapTest, ConcurrentCollectCallsShareCycles) {
  auto heap = NewHeap();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      Mutator mutator(*heap);
      Local<Node> root(mutator, NewTree(mutator, 3));
      for (int i = 0; i < 20; ++i) ASSERT_TRUE(heap->Collect().ok());
      EXPECT_EQ(Sum(root), 15);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(heap->stats().collections, 20);
}

// Where it takes the slow path anyway.
TEST(HeapTest, AMutatorIsItsThreadsAlone) {
  auto heap = NewHeap();
  Mutator mutator(*heap);
  std::thread([&] {
    const absl::Status status = mutator.TryNewArray<int64_t>(10'000).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), HasSubstr("each thread makes an ebb::Mutator"));
    EXPECT_THROW(Blocking blocking(mutator), MisuseError);
  }).join();
  EXPECT_TRUE(mutator.TryNewArray<int64_t>(10'000).ok());
}

}  // namespace
}  // namespace ebb
