// JobThread: who gets which job (here: cycles), how it ends, and a heap that cannot have one.

#include "heap/job_thread.h"

#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/log/check.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
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

std::unique_ptr<JobThread> NewCollector(platform::System& system,
                                        absl::AnyInvocable<void()> run_cycle) {
  auto collector = JobThread::Create(system, "job", /*niceness=*/0, std::move(run_cycle));
  CHECK_OK(collector.status());
  return *std::move(collector);
}

std::unique_ptr<JobThread> NewCollector(absl::AnyInvocable<void()> run_cycle) {
  return NewCollector(platform::System::Real(), std::move(run_cycle));
}

// Cycles of which the first one lasts until it is let go.
class Cycles {
 public:
  void Run() {
    absl::MutexLock lock(&mu_);
    ++begun_;
    mu_.Await(absl::Condition(&let_go_));
    ++ended_;
  }
  void AwaitBegun(int count) {
    absl::MutexLock lock(&mu_);
    const auto begun = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return begun_ >= count; };
    mu_.Await(absl::Condition(&begun));
  }
  void LetGo() {
    absl::MutexLock lock(&mu_);
    let_go_ = true;
  }
  int begun() const {
    absl::MutexLock lock(&mu_);
    return begun_;
  }
  int ended() const {
    absl::MutexLock lock(&mu_);
    return ended_;
  }

 private:
  mutable absl::Mutex mu_;
  bool let_go_ ABSL_GUARDED_BY(mu_) = false;
  int begun_ ABSL_GUARDED_BY(mu_) = 0;
  int ended_ ABSL_GUARDED_BY(mu_) = 0;
};

// Begins while the first cycle is running.
class DuringACycleTest : public testing::Test {
 protected:
  DuringACycleTest() {
    collector_->Request();
    cycles_.AwaitBegun(1);
  }

  Cycles cycles_;
  std::unique_ptr<JobThread> collector_ = NewCollector([this] { cycles_.Run(); });
};

TEST(JobThreadTest, RunOneRunsOne) {
  int cycles = 0;  // the lock orders the cycles before what waits for them
  auto collector = NewCollector([&] { ++cycles; });
  for (int i = 1; i <= 100; ++i) {
    collector->RunOne();
    ASSERT_EQ(cycles, i);
  }
}

TEST_F(DuringACycleTest, RequestReturnsAtOnceAndIsHeard) {
  EXPECT_EQ(cycles_.ended(), 0);
  cycles_.LetGo();
}

// A request while a cycle is running is met by that one.
TEST_F(DuringACycleTest, RequestsDuringACycleBringNoOther) {
  for (int i = 0; i < 3; ++i) collector_->Request();
  cycles_.LetGo();
  collector_->RunOne();
  ASSERT_EQ(cycles_.begun(), 2);
  // The next request is heard again.
  collector_->Request();
  cycles_.AwaitBegun(3);
  collector_->RunOne();
  EXPECT_EQ(cycles_.begun(), 4);
}

// A cycle that has begun is not good enough: what died since may have been marked already.
TEST_F(DuringACycleTest, RunOneDuringACycleWaitsForTheNext) {
  std::thread caller([&] {
    collector_->RunOne();
    EXPECT_EQ(cycles_.begun(), 2);
    EXPECT_EQ(cycles_.ended(), 2);
  });
  cycles_.LetGo();
  caller.join();
}

TEST_F(DuringACycleTest, CallersShareACycle) {
  constexpr int kCallers = 16;
  absl::BlockingCounter calling(kCallers);
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&] {
      const int begun = cycles_.begun();
      calling.DecrementCount();
      collector_->RunOne();
      EXPECT_GT(cycles_.ended(), begun);
    });
  }
  calling.Wait();
  cycles_.LetGo();
  for (std::thread& caller : callers) caller.join();
  // 2, unless a caller was held up just before it could ask.
  EXPECT_GE(cycles_.begun(), 2);
  EXPECT_LT(cycles_.begun(), kCallers / 2);
}

TEST(JobThreadTest, CallersRequestsAndCyclesInAnyOrder) {
  // Relaxed throughout: what is compared is ordered by the collector's lock.
  std::atomic<int64_t> begun = 0;
  std::atomic<int64_t> ended = 0;
  std::atomic<int> running = 0;
  auto collector = NewCollector([&] {
    // Relaxed: as said above.
    begun.fetch_add(1, std::memory_order_relaxed);
    EXPECT_EQ(running.fetch_add(1, std::memory_order_relaxed), 0);
    std::this_thread::yield();
    // Relaxed: as said above.
    running.fetch_sub(1, std::memory_order_relaxed);
    ended.fetch_add(1, std::memory_order_relaxed);
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        if (t == 0) collector->Request();
        // Relaxed: as said above.
        const int64_t before = begun.load(std::memory_order_relaxed);
        collector->RunOne();
        EXPECT_GT(ended.load(std::memory_order_relaxed), before);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(JobThreadTest, IsAsNiceAsToldTo) {
  const int before = getpriority(PRIO_PROCESS, 0);
  int niceness = before - 1;
  const auto collector =
      JobThread::Create(platform::System::Real(), "job", /*niceness=*/5,
                        [&niceness] { niceness = getpriority(PRIO_PROCESS, 0); });
  CHECK_OK(collector.status());
  (*collector)->RunOne();
  EXPECT_EQ(niceness, std::min(before + 5, 19));
  EXPECT_EQ(getpriority(PRIO_PROCESS, 0), before);
}

TEST_F(DuringACycleTest, DestructionWaitsForTheCycle) {
  std::thread later([&] {
    // Time for a destructor that does not wait, which is what is tested: nothing tells from outside
    // that one waits.
    absl::SleepFor(absl::Milliseconds(20));
    EXPECT_EQ(cycles_.ended(), 0);
    cycles_.LetGo();
  });
  collector_ = nullptr;
  EXPECT_EQ(cycles_.ended(), 1);
  EXPECT_EQ(cycles_.begun(), 1);
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

TEST(JobThreadTest, DestructionForgetsACycleThatIsOnlyWanted) {
  LateSystem system;
  int cycles = 0;
  auto collector = NewCollector(system, [&] { ++cycles; });
  JobThread* raw = collector.get();
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

TEST(JobThreadTest, DestructionRacesWithRequest) {
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

TEST(JobThreadTest, ThreadIsRefused) {
  FakeSystem system;
  system.FailOn(Call::kStartThread, 1);
  int cycles = 0;
  const auto collector = JobThread::Create(system, "job", /*niceness=*/0, [&] { ++cycles; });
  EXPECT_TRUE(absl::IsResourceExhausted(collector.status())) << collector.status();
  EXPECT_EQ(cycles, 0);
}

// A heap for which no thread can be started at all collects in pauses, by the threads that
// allocate.
TEST(JobThreadTest, HeapWithoutCollectorThread) {
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
