// Mutators and safepoints: attaching, blocking, stopping and being late. Runs as it is and under
// stress modes.

#include "heap/safepoints.h"

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/log/scoped_mock_log.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "heap/heap_for_test.h"

namespace ebb {
namespace {

using ::testing::_;
using ::testing::AllOf;
using ::testing::AnyNumber;
using ::testing::HasSubstr;

// Runs cycles on a thread of its own, attached or not, until it is destroyed.
class Collecting {
 public:
  explicit Collecting(Heap& heap) : thread_([this, &heap] { Run(heap); }) {
    begun_.WaitForNotification();
  }
  ~Collecting() {
    // Relaxed: only ends the loop; join orders the rest.
    done_.store(true, std::memory_order_relaxed);
    thread_.join();
  }

 private:
  void Run(Heap& heap) {
    begun_.Notify();
    // Relaxed: see the destructor.
    while (!done_.load(std::memory_order_relaxed)) {
      EXPECT_TRUE(heap.Collect().ok());
      std::this_thread::yield();
    }
  }

  std::atomic<bool> done_ = false;
  absl::Notification begun_;
  std::thread thread_;
};

TEST(SafepointsTest, OthersCollectDuringABlockingScope) {
  auto heap = NewHeap();
  Mutator mutator(*heap);
  Local<Node> root(mutator, NewTree(mutator, 3));
  const int64_t before = heap->stats().collections;
  {
    Blocking blocking(mutator);
    Blocking nested(mutator);
    EXPECT_EQ(Mutator::Current(*heap), nullptr);
    std::thread([&] { EXPECT_TRUE(heap->Collect().ok()); }).join();
    EXPECT_TRUE(heap->Collect().ok());  // by this thread, which counts as not attached
    EXPECT_EQ(heap->stats().collections, before + 2);
  }
  EXPECT_EQ(Mutator::Current(*heap), &mutator);
  EXPECT_EQ(Sum(root), 15);
  EXPECT_TRUE(heap->Verify().ok());
}

TEST(SafepointsTest, AllocationInABlockingScopeIsRefused) {
  auto heap = NewHeap();
  Mutator mutator(*heap);
  {
    Blocking blocking(mutator);
    EXPECT_THROW(mutator.New<Node>(), MisuseError);
    EXPECT_THROW(mutator.NewPinned<Node>(), MisuseError);
    EXPECT_THROW(mutator.NewArray<double>(5'000), MisuseError);
    const absl::Status status = mutator.TryNew<Node>().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), HasSubstr("Blocking"));
    EXPECT_THAT(std::string(status.message()), HasSubstr(mutator.thread_name()));
    EXPECT_EQ(mutator.TryNewString("x").status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(mutator.TryNewPinned<Node>().status().code(), absl::StatusCode::kFailedPrecondition);
  }
  EXPECT_TRUE(mutator.TryNew<Node>().ok());
}

TEST(SafepointsTest, NestedMutatorSuspendsTheOuterOne) {
  auto heap = NewHeap();
  Mutator outer(*heap);
  Local<Node> root(outer, NewTree(outer, 3));
  {
    Mutator inner(*heap);
    EXPECT_EQ(Mutator::Current(*heap), &inner);
    EXPECT_THROW(outer.New<Node>(), MisuseError);
    EXPECT_EQ(outer.TryNew<Node>().status().code(), absl::StatusCode::kFailedPrecondition);
    Local<Node> own(inner, NewTree(inner, 2));
    ASSERT_TRUE(heap->Collect().ok());
    ASSERT_TRUE(heap->Verify().ok());
    EXPECT_EQ(Sum(own), 7);
    EXPECT_EQ(heap->stats().mutators, 2);
  }
  EXPECT_EQ(Mutator::Current(*heap), &outer);
  EXPECT_EQ(Sum(root), 15);
  root = outer.New<Node>(root, nullptr, 1);
  ASSERT_TRUE(heap->Collect().ok());
  EXPECT_EQ(Sum(root), 16);
}

TEST(SafepointsTest, MutatorsDestroyedInAnyOrder) {
  auto heap = NewHeap();
  const Collecting collecting(*heap);
  for (int round = 0; round < 50 || heap->stats().collections < 300; ++round) {
    std::optional<Mutator> first(*heap);
    Local<Node> in_first(*first, NewTree(*first, 2));
    std::optional<Mutator> second(*heap);
    Local<Node> in_second(*second, NewTree(*second, 2));
    std::optional<Mutator> third(*heap);
    Local<Node> in_third(*third, NewTree(*third, 2));
    (round % 2 == 0 ? first : second).reset();
    EXPECT_EQ(Mutator::Current(*heap), &*third);
    EXPECT_EQ(Sum(in_third), 7);
    EXPECT_EQ(heap->stats().mutators, 2);
    third.reset();
    EXPECT_EQ(in_third, nullptr);
    std::optional<Mutator>& last = round % 2 == 0 ? second : first;
    EXPECT_EQ(Mutator::Current(*heap), &*last);
    EXPECT_EQ(Sum(round % 2 == 0 ? in_second : in_first), 7);
    EXPECT_TRUE(last->TryNew<Node>().ok());
  }
  EXPECT_EQ(heap->stats().mutators, 0);
}

TEST(SafepointsTest, NoSafepointRefusesSafepoints) {
  auto heap = NewHeap();
  Mutator mutator(*heap);
  Ref<Node> node = mutator.New<Node>(nullptr, nullptr, 3);
  {
    NoSafepoint scope(mutator);
    NoSafepoint nested(mutator);
    const absl::Status status = mutator.TryNew<Node>().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), HasSubstr("NoSafepoint"));
    EXPECT_EQ(heap->Collect().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(heap->Verify().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(node->value, 3);
#if EBB_DEBUG_REFS
    EXPECT_THROW(mutator.New<Node>(), MisuseError);
    EXPECT_THROW(mutator.Safepoint(), MisuseError);
    EXPECT_EQ(node->value, 3);
#endif
  }
  EXPECT_TRUE(heap->Collect().ok());
  EXPECT_TRUE(mutator.TryNew<Node>().ok());
}

TEST(SafepointsTest, APollLetsOthersCollect) {
  auto heap = NewHeap();
  absl::Notification attached, done;
  std::atomic<int64_t> polls = 0;
  std::thread polling([&] {
    Mutator mutator(*heap);
    Local<Node> root(mutator, NewTree(mutator, 3));
    attached.Notify();
    while (!done.HasBeenNotified()) {
      mutator.Safepoint();
      polls.fetch_add(1, std::memory_order_relaxed);  // publishes nothing
    }
    EXPECT_EQ(Sum(root), 15);
  });
  attached.WaitForNotification();
  const HeapStats before = heap->stats();
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(heap->Collect().ok());
    // Runs again: a thread that a new request finds still stopped is not counted once more.
    const int64_t polled = polls.load(std::memory_order_relaxed);
    while (polls.load(std::memory_order_relaxed) < polled + 2) std::this_thread::yield();
  }
  const HeapStats after = heap->stats();
  done.Notify();
  polling.join();
  EXPECT_EQ(after.collections, before.collections + 10);
  // The polling thread each time; this one is not attached. A concurrent cycle may have a pause
  // more, for its end.
  const int64_t stops = after.time_to_safepoint_ns.Count() - before.time_to_safepoint_ns.Count();
  EXPECT_GE(stops, 10);
  EXPECT_LE(stops, IsConcurrent(*heap) ? 30 : 10);
}

TEST(SafepointsTest, TimeToSafepointCountsTheRequesterAndNotTheBlocked) {
  auto heap = NewHeap();
  Mutator mutator(*heap);
  absl::Notification attached, done;
  std::thread blocked([&] {
    Mutator other(*heap);
    Blocking blocking(other);
    attached.Notify();
    done.WaitForNotification();
  });
  {
    Blocking blocking(mutator);
    attached.WaitForNotification();
  }
  const int64_t before = heap->stats().time_to_safepoint_ns.Count();
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(heap->Collect().ok());
  EXPECT_EQ(heap->stats().time_to_safepoint_ns.Count(), before + (IsConcurrent(*heap) ? 0 : 10));
  done.Notify();
  Blocking blocking(mutator);
  blocked.join();
}

TEST(SafepointsTest, ThreadsComeAndGoWhileOthersCollect) {
  auto heap = NewHeap();
  {
    const Collecting collecting(*heap);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 40; ++i) {
          Mutator mutator(*heap);
          Local<Node> list(mutator, NewList(mutator, 10));
          if (i % 3 == 0) Blocking blocking(mutator);
          if (i % 5 == 0) Persistent<Node> persistent(*heap, list);
          ASSERT_TRUE(IsList(list, 10));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_EQ(heap->stats().mutators, 0);
  absl::Status status = heap->Verify();
  EXPECT_TRUE(status.ok()) << status;
}

// Verify's account of large and pinned memory holds also while another thread is giving some back.
TEST(SafepointsTest, VerifyWhileOthersReleaseGarbage) {
  auto heap = NewHeap();
  absl::Notification done;
  std::thread allocating([&] {
    Mutator mutator(*heap);
    for (int i = 0; i < 60; ++i) {
      for (int j = 0; j < 4; ++j) mutator.NewArray<char>(20'000);
      mutator.NewPinned<Node>();
      EXPECT_TRUE(heap->Collect().ok());
    }
    done.Notify();
  });
  while (!done.HasBeenNotified()) {
    absl::Status status = heap->Verify();
    ASSERT_TRUE(status.ok()) << status;
  }
  allocating.join();
}

TEST(SafepointsTest, TheWatchdogNamesTheLateThread) {
  Options options;
  options.max_bytes = 4 << 20;
  options.safepoint_warning = absl::Milliseconds(5);
  auto heap = NewHeap(options);
  absl::Notification attached, warned;
  absl::ScopedMockLog log(absl::MockLogDefault::kIgnoreUnexpected);
  EXPECT_CALL(log, Log(_, _, _)).Times(AnyNumber());
  EXPECT_CALL(log,
              Log(absl::LogSeverity::kWarning, _,
                  AllOf(HasSubstr("waiting to stop thread late-one ("), HasSubstr("Blocking"))))
      .WillOnce([&] { warned.Notify(); })
      .WillRepeatedly([] {});
  log.StartCapturingLogs();
  std::thread late([&] {
    pthread_setname_np(pthread_self(), "late-one");
    Mutator mutator(*heap);
    attached.Notify();
    warned.WaitForNotification();  // without a Blocking scope: that is what the warning is about
  });
  attached.WaitForNotification();
  EXPECT_TRUE(heap->Collect().ok());
  late.join();
}

TEST(SafepointsTest, BlockingInOneHeapAndRunningInAnother) {
  auto a = NewHeap(4 << 20);
  auto b = NewHeap(4 << 20);
  Mutator in_a(*a);
  Mutator in_b(*b);
  Local<Node> root_a(in_a, NewTree(in_a, 3));
  Local<Node> root_b(in_b);
  {
    Blocking blocking(in_a);
    const Collecting collecting(*a);
    root_b = NewTree(in_b, 4);
    ASSERT_TRUE(b->Collect().ok());
    EXPECT_EQ(Sum(root_b), 31);
    EXPECT_EQ(in_a.TryNew<Node>().status().code(), absl::StatusCode::kFailedPrecondition);
  }
  EXPECT_EQ(Sum(root_a), 15);
  std::thread([&] { EXPECT_EQ(Mutator::Current(*a), nullptr); }).join();
}

// inv.park-all: threads of two heaps that stop each other in turns, by every way of waiting.
TEST(SafepointsTest, ThreadsOfTwoHeapsDoNotWaitForEachOther) {
  auto a = NewHeap(2 << 20);
  auto b = NewHeap(2 << 20);
  const int64_t rounds = a->options().stress.collect_every == 0 ? 300 : 10;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Heap& first = t % 2 == 0 ? *a : *b;
      Heap& second = t % 2 == 0 ? *b : *a;
      Mutator in_first(first);
      Local<Node> root_first(in_first, NewList(in_first, 5));
      for (int64_t i = 0; i < rounds; ++i) {
        Mutator in_second(second);
        Local<Node> root_second(in_second, NewList(in_second, 3));
        Heap& collected = i % 2 == 0 ? first : second;
        EXPECT_TRUE(collected.Collect().ok());
        if (i % 5 == 0) {
          const Blocking blocking(in_first);
          NewList(in_second, 20);
        }
        EXPECT_TRUE(IsList(root_first, 5));
        EXPECT_TRUE(IsList(root_second, 3));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(a->Verify().ok());
  EXPECT_TRUE(b->Verify().ok());
}

TEST(SafepointsTest, BlockingInANoSafepointScopeIsRefused) {
  auto heap = NewHeap();
  Mutator mutator(*heap);
  const NoSafepoint scope(mutator);
  EXPECT_THROW(Blocking blocking(mutator), MisuseError);
  EXPECT_THROW(Mutator nested(*heap), MisuseError);
  auto other = NewHeap();
  EXPECT_THROW(Mutator in_other(*other), MisuseError);
  EXPECT_EQ(other->Collect().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(other->Verify().code(), absl::StatusCode::kFailedPrecondition);
}

// A lock-free stack, pushed by several threads while cycles move it.
TEST(SafepointsTest, CompareExchangeFromSeveralThreads) {
  constexpr int kThreads = 3;
  auto heap = NewHeap();
  const int64_t pushes = heap->options().stress.collect_every == 0 ? 2'000 : 40;
  std::optional<Mutator> mutator(*heap);
  Persistent<Node> stack(*heap, mutator->New<Node>());
  mutator.reset();
  std::vector<std::thread> threads;
  {
    const Collecting collecting(*heap);
    for (int64_t t = 1; t <= kThreads; ++t) {
      threads.emplace_back([&, t] {
        Mutator own(*heap);
        Local<Node> shared(own, stack);
        Local<Node> node(own);
        for (int64_t i = 0; i < pushes; ++i) {
          node = own.New<Node>(nullptr, nullptr, t);
          Ref<Node> head = shared->left;
          do {
            node->left = head;
          } while (!shared->left.CompareExchange(head, node));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  mutator.emplace(*heap);
  std::vector<int64_t> counts(kThreads + 1);
  for (Ref<Node> node = stack->left; node != nullptr; node = node->left) ++counts[node->value];
  for (int t = 1; t <= kThreads; ++t) EXPECT_EQ(counts[t], pushes);
}

}  // namespace
}  // namespace ebb
