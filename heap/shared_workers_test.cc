// The heaps of a process share its helpers: these do not grow with the number of heaps.

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/log/check.h"
#include "absl/strings/match.h"
#include "absl/synchronization/barrier.h"
#include "gtest/gtest.h"
#include "heap/fork_for_test.h"
#include "heap/heap_for_test.h"
#include "platform/fake_system.h"

namespace ebb {
namespace {

using platform::Call;
using platform::FakeSystem;

constexpr int kDepth = 13;  // of trees that are worth help
constexpr int64_t kSum = (1 << (kDepth + 1)) - 1;

Options OptionsFor(platform::System& system, Collector collector, int workers = 4) {
  Options options{.max_bytes = 16 << 20,
                  .collector = collector,
                  .workers = workers,
                  .concurrent_workers = workers,
                  .page_out = false};
  options.read_environment = false;
  options.system = &system;
  return options;
}

// Collects once, in a heap with a tree of its own.
void CollectWithTree(Heap& heap) {
  Mutator mutator(heap);
  Local<Node> tree(mutator, NewTree(mutator, kDepth));
  EXPECT_TRUE(heap.Collect().ok());
  EXPECT_EQ(Sum(tree), kSum);
}

class SharedWorkersTest : public testing::TestWithParam<Collector> {
 protected:
  // Threads that have been started to help.
  int64_t helpers(int64_t heaps) const {
    const int64_t collectors = GetParam() == Collector::kConcurrent ? heaps : 0;
    return system_.uses(Call::kStartThread) - collectors;
  }
  std::unique_ptr<Heap> NewHeap(int workers = 4) {
    return ebb::NewHeap(OptionsFor(system_, GetParam(), workers));
  }

  FakeSystem system_;
};

INSTANTIATE_TEST_SUITE_P(Modes, SharedWorkersTest,
                         testing::Values(Collector::kParallel, Collector::kConcurrent),
                         [](const auto& info) {
                           return std::string(info.param == Collector::kParallel ? "Parallel"
                                                                                 : "Concurrent");
                         });

TEST_P(SharedWorkersTest, TwoHeapsThatCollectAtTheSameTime) {
  constexpr int kRounds = 30;
  const std::array heaps = {NewHeap(), NewHeap()};
  std::vector<absl::Barrier*> rounds;
  for (int i = 0; i < kRounds; ++i) rounds.push_back(new absl::Barrier(2));
  std::vector<std::thread> threads;
  for (const auto& heap : heaps) {
    threads.emplace_back([&heap, &rounds] {
      Mutator mutator(*heap);
      Local<Node> tree(mutator, NewTree(mutator, kDepth));
      for (absl::Barrier* begin : rounds) {
        if (begin->Block()) delete begin;
        EXPECT_TRUE(heap->Collect().ok());
        EXPECT_EQ(Sum(tree), kSum);
      }
      EXPECT_TRUE(heap->Verify().ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(helpers(2), 1);
  EXPECT_LE(helpers(2), 3);
  for (const auto& heap : heaps) EXPECT_EQ(heap->stats().workers, 1 + helpers(2));
}

TEST_P(SharedWorkersTest, AHeapUsesTheHelpersOfOneThatHasGone) {
  const auto first = NewHeap();
  auto second = NewHeap();
  CollectWithTree(*second);
  EXPECT_EQ(helpers(2), 3);
  second = nullptr;
  EXPECT_EQ(first->stats().workers, 4);
  CollectWithTree(*first);
  EXPECT_EQ(helpers(2), 3);
}

TEST_P(SharedWorkersTest, EachHeapHasAsManyAsItAskedFor) {
  const auto large = NewHeap(4);
  const auto small = NewHeap(2);
  const auto alone = NewHeap(1);
  for (const auto* heap : {&alone, &small, &large}) CollectWithTree(**heap);
  EXPECT_EQ(helpers(3), 3);
  EXPECT_EQ(large->stats().workers, 4);
  EXPECT_EQ(small->stats().workers, 2);
  EXPECT_EQ(alone->stats().workers, 1);
}

// A helper is as nice as the thread that started it.
TEST(NiceWorkersTest, OnlyHeapsOfOneNicenessShare) {
  FakeSystem system;
  Options options = OptionsFor(system, Collector::kConcurrent);
  options.collector_niceness = 3;
  const auto nice = NewHeap(options);
  const auto parallel = NewHeap(OptionsFor(system, Collector::kParallel));
  const auto concurrent = NewHeap(OptionsFor(system, Collector::kConcurrent));
  CollectWithTree(*nice);
  EXPECT_EQ(nice->stats().workers, 4);
  EXPECT_EQ(parallel->stats().workers, 1);
  CollectWithTree(*concurrent);
  EXPECT_EQ(parallel->stats().workers, 4);
}

int64_t HelperCount() {
  const std::set<std::string> names = ThreadNames();
  return std::count_if(names.begin(), names.end(),
                       [](const std::string& name) { return absl::StartsWith(name, "ebb-gc-"); });
}

TEST_P(SharedWorkersTest, AForkedChildHasAsFew) {
  auto first = NewHeap();
  auto second = NewHeap();
  CollectWithTree(*first);
  EXPECT_TRUE(Fork([&] {
    CHECK_EQ(HelperCount(), 0);
    CHECK_EQ(second->stats().workers, 1);
    if (!kChildMayStartThreads) return;
    CollectWithTree(*second);
    CollectWithTree(*first);
    CHECK_EQ(HelperCount(), 3);
    CHECK_EQ(second->stats().workers, 4);
    first = nullptr;
    CHECK_EQ(HelperCount(), 3);
    second = nullptr;
    CHECK_EQ(ThreadCount(), 1);
  }));
  CollectWithTree(*second);
  EXPECT_EQ(HelperCount(), 3);
}

}  // namespace
}  // namespace ebb
