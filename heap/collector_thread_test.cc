// CollectorThread: who gets which cycle, how it ends, and a heap that cannot have one.

#include "heap/collector_thread.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/log/check.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "heap/heap_for_test.h"
#include "platform/fake_system.h"

namespace ebb::internal {
namespace {

using platform::Call;
using platform::FakeSystem;

std::unique_ptr<CollectorThread> NewCollector(platform::System& system,
                                              absl::AnyInvocable<void()> run_cycle) {
  auto collector = CollectorThread::Create(system, /*niceness=*/0, std::move(run_cycle));
  CHECK_OK(collector.status());
  return *std::move(collector);
}

std::unique_ptr<CollectorThread> NewCollector(absl::AnyInvocable<void()> run_cycle) {
  return NewCollector(platform::System::Real(), std::move(run_cycle));
}

// Cycles of which the first one lasts until it is let go.
class Cycles {
 public:
  void Run() {
    const int number = begun_.fetch_add(1, std::memory_order_relaxed) + 1;
    if (number == 1) {
      first_begun_.Notify();
      let_go_.WaitForNotification();
    }
    ended_.fetch_add(1, std::memory_order_relaxed);
  }
  void AwaitFirst() { first_begun_.WaitForNotification(); }
  void LetGo() { let_go_.Notify(); }
  // Relaxed: what is compared is ordered by the collector's lock.
  int begun() const { return begun_.load(std::memory_order_relaxed); }
  int ended() const { return ended_.load(std::memory_order_relaxed); }

 private:
  absl::Notification first_begun_;
  absl::Notification let_go_;
  std::atomic<int> begun_ = 0;
  std::atomic<int> ended_ = 0;
};

TEST(CollectorThreadTest, RunOneRunsOne) {
  int cycles = 0;  // the lock orders the cycles before what waits for them
  auto collector = NewCollector([&] { ++cycles; });
  for (int i = 1; i <= 100; ++i) {
    collector->RunOne();
    ASSERT_EQ(cycles, i);
  }
}

TEST(CollectorThreadTest, RequestReturnsAtOnceAndIsHeard) {
  Cycles cycles;
  auto collector = NewCollector([&] { cycles.Run(); });
  collector->Request();
  cycles.AwaitFirst();
  EXPECT_EQ(cycles.ended(), 0);
  cycles.LetGo();
}

// A request while a cycle is running is met by that one.
TEST(CollectorThreadTest, RequestsDuringACycleBringNoOther) {
  Cycles cycles;
  auto collector = NewCollector([&] { cycles.Run(); });
  collector->Request();
  cycles.AwaitFirst();
  for (int i = 0; i < 3; ++i) collector->Request();
  cycles.LetGo();
  collector->RunOne();
  EXPECT_EQ(cycles.begun(), 2);
  // The next request is heard again.
  collector->Request();
  while (cycles.begun() < 3) absl::SleepFor(absl::Milliseconds(1));
  collector->RunOne();
  EXPECT_EQ(cycles.begun(), 4);
}

// A cycle that has begun is not good enough: what died since may have been marked already.
TEST(CollectorThreadTest, RunOneDuringACycleWaitsForTheNext) {
  Cycles cycles;
  auto collector = NewCollector([&] { cycles.Run(); });
  collector->Request();
  cycles.AwaitFirst();
  std::thread caller([&] {
    collector->RunOne();
    EXPECT_EQ(cycles.begun(), 2);
    EXPECT_EQ(cycles.ended(), 2);
  });
  cycles.LetGo();
  caller.join();
}

TEST(CollectorThreadTest, CallersShareACycle) {
  constexpr int kCallers = 16;
  Cycles cycles;
  auto collector = NewCollector([&] { cycles.Run(); });
  collector->Request();
  cycles.AwaitFirst();
  std::atomic<int> calling = 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&] {
      const int begun = cycles.begun();
      calling.fetch_add(1, std::memory_order_relaxed);
      collector->RunOne();
      EXPECT_GT(cycles.ended(), begun);
    });
  }
  while (calling.load(std::memory_order_relaxed) < kCallers) absl::SleepFor(absl::Milliseconds(1));
  cycles.LetGo();
  for (std::thread& caller : callers) caller.join();
  // 2, unless a caller was held up just before it could ask.
  EXPECT_GE(cycles.begun(), 2);
  EXPECT_LT(cycles.begun(), kCallers / 2);
}

TEST(CollectorThreadTest, CallersRequestsAndCyclesInAnyOrder) {
  std::atomic<int64_t> begun = 0;
  std::atomic<int64_t> ended = 0;
  std::atomic<int> running = 0;
  auto collector = NewCollector([&] {
    begun.fetch_add(1, std::memory_order_relaxed);
    EXPECT_EQ(running.fetch_add(1, std::memory_order_relaxed), 0);
    std::this_thread::yield();
    running.fetch_sub(1, std::memory_order_relaxed);
    ended.fetch_add(1, std::memory_order_relaxed);
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        if (t == 0) collector->Request();
        const int64_t before = begun.load(std::memory_order_relaxed);
        collector->RunOne();
        EXPECT_GT(ended.load(std::memory_order_relaxed), before);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(CollectorThreadTest, DestructionWaitsForTheCycle) {
  Cycles cycles;
  auto collector = NewCollector([&] { cycles.Run(); });
  collector->Request();
  cycles.AwaitFirst();
  std::thread later([&] {
    absl::SleepFor(absl::Milliseconds(20));
    EXPECT_EQ(cycles.ended(), 0);
    cycles.LetGo();
  });
  collector = nullptr;
  EXPECT_EQ(cycles.ended(), 1);
  EXPECT_EQ(cycles.begun(), 1);
  later.join();
}

// Threads of this system begin their work when they are let.
class LateSystem : public FakeSystem {
 public:
  absl::StatusOr<std::unique_ptr<platform::Thread>> StartThread(
      absl::string_view name, absl::AnyInvocable<void() &&> body) override {
    return FakeSystem::StartThread(name, [this, body = std::move(body)]() mutable {
      let_go_.WaitForNotification();
      std::move(body)();
    });
  }
  void LetGo() { let_go_.Notify(); }

 private:
  absl::Notification let_go_;
};

TEST(CollectorThreadTest, DestructionForgetsACycleThatIsOnlyWanted) {
  LateSystem system;
  int cycles = 0;
  auto collector = NewCollector(system, [&] { ++cycles; });
  CollectorThread* raw = collector.get();
  raw->Request();
  // The destructor waits for the thread, and the thread for a caller that only the destructor
  // releases.
  std::thread caller([&] {
    raw->RunOne();
    system.LetGo();
  });
  collector = nullptr;
  caller.join();
  EXPECT_EQ(cycles, 0);
}

TEST(CollectorThreadTest, DestructionRacesWithRequest) {
  for (int i = 0; i < 200; ++i) {
    int begun = 0;
    int ended = 0;
    auto collector = NewCollector([&] {
      ++begun;
      std::this_thread::yield();
      ++ended;
    });
    if (i % 2 == 0) collector->RunOne();
    collector->Request();
    collector = nullptr;
    EXPECT_EQ(begun, ended);
    EXPECT_LE(begun, 1 + (i % 2 == 0 ? 1 : 0));
  }
}

TEST(CollectorThreadTest, ThreadIsRefused) {
  FakeSystem system;
  system.FailOn(Call::kStartThread, 1);
  int cycles = 0;
  const auto collector = CollectorThread::Create(system, /*niceness=*/0, [&] { ++cycles; });
  EXPECT_TRUE(absl::IsResourceExhausted(collector.status())) << collector.status();
  EXPECT_EQ(cycles, 0);
}

// A heap for which no thread can be started at all collects in pauses, by the threads that
// allocate.
TEST(CollectorThreadTest, HeapWithoutCollectorThread) {
  FakeSystem system;
  system.FailEvery(Call::kStartThread, 1);
  Options options{.max_bytes = 4 << 20, .collector = Collector::kConcurrent, .workers = 2};
  options.system = &system;
  options.read_environment = false;
  auto heap = NewHeap(options);
  EXPECT_GE(system.uses(Call::kStartThread), 1);
  Mutator mutator(*heap);
  Local<Node> tree(mutator, NewTree(mutator, 8));
  for (int i = 0; i < 100; ++i) NewList(mutator, 1000);
  EXPECT_GE(heap->stats().collections, 1);
  EXPECT_EQ(Sum(tree), 511);
  const int64_t collections = heap->stats().collections;
  EXPECT_TRUE(heap->Collect().ok());
  EXPECT_EQ(heap->stats().collections, collections + 1);
  {
    Blocking blocking(mutator);
    std::thread([&] {
      Mutator other(*heap);
      Local<Node> list(other, NewList(other, 1000));
      EXPECT_TRUE(heap->Collect().ok());
      EXPECT_TRUE(IsList(list, 1000));
    }).join();
  }
  EXPECT_EQ(Sum(tree), 511);
  EXPECT_TRUE(heap->Verify().ok());
  const absl::StatusOr<Ref<Array<int64_t>>> too_large = mutator.TryNewArray<int64_t>(1 << 20);
  EXPECT_TRUE(absl::IsResourceExhausted(too_large.status())) << too_large.status();
}

}  // namespace
}  // namespace ebb::internal
