// A process forks at random moments, beside threads that do all that a heap is for.

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/log/check.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "heap/concurrent_for_test.h"
#include "heap/fork_for_test.h"
#include "heap/stress_for_test.h"
#include "platform/thread.h"

namespace ebb {
namespace {

// Forks at any moment, beside threads that do everything. A debug build of Abseil takes a lock of
// its own, which a fork does not know of, each time it looks for deadlocks: see
// docs/design/fork.md.
class ForkStressTest : public testing::TestWithParam<ForkCase> {
 protected:
  ForkStressTest() { absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore); }
  ~ForkStressTest() override { absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kAbort); }

  void Add(std::function<void()> body) {
    absl::Notification started;
    threads_.emplace_back([this, body = std::move(body), &started] {
      platform::MakeAbseilsRecord();
      started.Notify();
      while (!done_) body();
    });
    started.WaitForNotification();
  }
  void Join() {
    done_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }
  // Threads that do all that a heap is for.
  void AddUsers(Heap& heap) {
    Add([&heap] { EXPECT_TRUE(heap.Collect().ok()); });
    Add([&heap] {
      Mutator mutator(heap);
      Churn(heap, mutator);
    });
    Add([&heap] {
      for (int i = 0; i < 100; ++i) {
        Persistent<Node> root(heap);
        const Persistent<Node> copy(root);
        EXPECT_GE(heap.stats().persistents, 2);  // these
      }
      EXPECT_TRUE(heap.SetMaxBytes(heap.options().max_bytes).ok());
    });
  }

  std::atomic<bool> done_ = false;
  std::vector<std::thread> threads_;
};

TEST_P(ForkStressTest, AtAnyMoment) {
  const std::unique_ptr<Heap> heap = NewHeap(OptionsFor(GetParam().collector));
  Persistent<Node> old_list(*heap);
  {
    Mutator mutator(*heap);
    old_list = NewList(mutator, kListLength);
  }
  AddUsers(*heap);
  const absl::Time end = absl::Now() + WorkingTime(2);
  while (absl::Now() < end && !HasFailure()) {
    ForkersMutator forker(*heap, GetParam().forker);
    EXPECT_TRUE(Fork([&] {
      CHECK_EQ(ThreadCount(), 1);
      UseInChild(*heap, forker.Running(*heap), [&] { CHECK(IsList(old_list, kListLength)); });
    }));
    Churn(*heap, forker.Running(*heap));
    EXPECT_TRUE(IsList(old_list, kListLength));
  }
  Join();
  EXPECT_TRUE(heap->Verify().ok());
}

// Threads that run in both heaps and collect in either, and others that fork or make heaps.
TEST_P(ForkStressTest, TwoHeaps) {
  const std::unique_ptr<Heap> one = NewHeap(OptionsFor(GetParam().collector));
  const std::unique_ptr<Heap> two = NewHeap(OptionsFor(Collector::kConcurrent));
  const auto use_both = [](Heap& first, Heap& second) {
    Mutator a(first);
    Mutator b(second);
    Local<Node> in_a(a, NewList(a, 100));
    Local<Node> in_b(b, NewList(b, 100));
    Churn(first, a);
    EXPECT_TRUE(second.Collect().ok());
    EXPECT_TRUE(IsList(in_a, 100));
    EXPECT_TRUE(IsList(in_b, 100));
  };
  Add([&] { use_both(*one, *two); });
  Add([&] { use_both(*two, *one); });
  Add([&] {
    Mutator mutator(*one);
    const std::unique_ptr<Heap> third = NewHeap(OptionsFor(GetParam().collector));
    Mutator another(*third);
    NewList(another, 100);
  });
  // Another thread that forks.
  Add([&] {
    Mutator mutator(*one);
    EXPECT_TRUE(Fork([] {}));
  });
  const absl::Time end = absl::Now() + WorkingTime(2);
  while (absl::Now() < end && !HasFailure()) {
    ForkersMutator in_one(*one, GetParam().forker);
    ForkersMutator in_two(*two, Forker::kRuns);
    EXPECT_TRUE(Fork([&] {
      CHECK_EQ(ThreadCount(), 1);
      Mutator& a = in_one.Running(*one);
      Mutator& b = in_two.Running(*two);
      CheckVerifies(*one);
      CheckVerifies(*two);
      if (kChildMayStartThreads) {
        NewList(b, kListLength);
        CHECK_OK(two->Collect());
        Churn(*one, a);
        // A child of the child.
        CHECK(Fork([&] {
          CHECK_OK(one->Collect());
          CHECK_OK(two->Collect());
          CheckVerifies(*two);
        }));
      }
    }));
  }
  Join();
  EXPECT_TRUE(one->Verify().ok());
  EXPECT_TRUE(two->Verify().ok());
}

INSTANTIATE_TEST_SUITE_P(Cases, ForkStressTest, testing::ValuesIn(ForkCases()), ForkCaseName);

}  // namespace
}  // namespace ebb
