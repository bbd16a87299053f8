// A process with counted objects forks: the child counts, makes, detects and destroys, whatever the
// parent's other threads were doing.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/log/check.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "heap/fork_for_test.h"
#include "heap/rc/rc.h"
#include "heap/rc/rc_fork_for_test.h"
#include "platform/thread.h"

namespace ebb::rc {
namespace {

// All that a child may want to do with objects that there were at the fork, and new ones.
void UseInChild(Heap& heap, Domain& domain, Ptr<Link>& kept) {
  for (int round = 0; round < 2; ++round) {
    Ptr<Link> copy = kept;
    for (int i = 0; i < 1000; ++i) copy = copy->next;
    Ring(3);
    const int64_t before = Alive(domain);
    const absl::StatusOr<Detection> detection = domain.Collect(absl::ZeroDuration());
    CHECK_OK(detection.status());
    CHECK_GE(detection->collected, 3);
    CHECK_EQ(Alive(domain), before - detection->collected);
    CHECK(copy->next->next->next == copy);
    CHECK_OK(heap.Collect());
    CHECK_OK(heap.Verify());
  }
  Weak<Link> weak = kept;
  kept = nullptr;
  CHECK_OK(domain.Collect().status());
  CHECK(weak.Upgrade() == nullptr);
  CHECK_OK(domain.TrimCells().status());
  CHECK_EQ(MakePtr<Link>(nullptr, 2)->value, 2);
}

TEST_P(RcForkTest, AChildUsesWhatThereIs) {
  if (!kChildMayStartThreads) GTEST_SKIP() << "the collector's thread is started in the child";
  Domain domain(*heap_);
  Mutator mutator(*heap_);
  Owner owner(domain, mutator);
  Ptr<Link> kept = Ring(3);
  Ring(4);
  EXPECT_TRUE(Fork([&] { UseInChild(*heap_, domain, kept); }));
  EXPECT_EQ(domain.Collect()->collected, 4);
  EXPECT_EQ(Alive(domain), 3);
}

// A thread that owns objects and is not there in the child: they are merged as they are dropped,
// and its figures stay.
TEST_P(RcForkTest, ObjectsOfThreadsThatAreNotThere) {
  if (!kChildMayStartThreads) GTEST_SKIP() << "the collector's thread is started in the child";
  Domain domain(*heap_);
  Ptr<Link> kept, others;
  absl::Notification made, done;
  std::thread thread([&] {
    Mutator mutator(*heap_);
    Owner owner(domain, mutator);
    kept = Ring(3);
    others = MakePtr<Link>();
    Ring(5);
    const Blocking blocking(mutator);
    made.Notify();
    done.WaitForNotification();
  });
  made.WaitForNotification();
  Mutator mutator(*heap_);
  Owner owner(domain, mutator);
  Weak<Link> weak = others;
  EXPECT_TRUE(Fork([&] {
    CHECK_EQ(Alive(domain), 9);
    others = nullptr;
    owner.Step();
    CHECK(weak.Upgrade() == nullptr);
    CHECK_EQ(domain.Collect(absl::ZeroDuration())->collected, 5);
    UseInChild(*heap_, domain, kept);
    CHECK_EQ(Alive(domain), 0);
    // A new thread gets its index.
    std::thread([&] {
      Mutator its_mutator(*heap_);
      Owner its_owner(domain, its_mutator);
      Ring(2);
      CHECK_EQ(domain.Collect()->collected, 2);
    }).join();
  }));
  done.Notify();
  {
    const Blocking blocking(mutator);
    thread.join();
  }
  EXPECT_EQ(Alive(domain), 9);
}

// What a Local named, of a thread that is not there, stays; whoever has its index next has places
// of its own.
TEST_P(RcForkTest, LocalsOfThreadsThatAreNotThere) {
  if (!kChildMayStartThreads) GTEST_SKIP() << "the collector's thread is started in the child";
  Domain domain(*heap_);
  Ptr<Link> named;
  absl::Notification made, done;
  std::thread thread([&] {
    Mutator mutator(*heap_);
    Owner owner(domain, mutator);
    named = MakePtr<Link>(nullptr, 7);
    const Local<Link> local(owner, named);
    {
      const Blocking blocking(mutator);
      made.Notify();
      done.WaitForNotification();
    }
    CHECK_EQ(local->value, 7);
  });
  made.WaitForNotification();
  Mutator mutator(*heap_);
  Owner owner(domain, mutator);
  EXPECT_TRUE(Fork([&] {
    Weak<Link> weak = named;
    named = nullptr;
    std::thread([&] {
      Mutator its_mutator(*heap_);
      Owner its_owner(domain, its_mutator);
      const Local<Link> local(its_owner, MakePtr<Link>(nullptr, 8));
      its_owner.Step();
      CHECK_EQ(local->value, 8);
    }).join();
    owner.Step();
    CHECK_EQ(Alive(domain), 1);
    CHECK_EQ(weak.Upgrade()->value, 7);
  }));
  named = nullptr;
  done.Notify();
  {
    const Blocking blocking(mutator);
    thread.join();
  }
  owner.Step();
  EXPECT_EQ(Alive(domain), 0);
}

// In the child nothing is mistaken for what the parent was about to destroy.
struct Noted {
  Field<Noted> next, other;
  std::atomic<int>* destroyed = nullptr;
  ~Noted() {
    if (destroyed != nullptr) destroyed->fetch_add(1, std::memory_order_relaxed);  // a count
  }
};

TEST_P(RcForkTest, WhileADetectionDestroys) {
  if (!kChildMayStartThreads) GTEST_SKIP() << "the collector's thread is started in the child";
  constexpr int kLength = 3000;
  Domain domain(*heap_);
  std::atomic<int> leaves_destroyed = 0, mine_destroyed = 0;
  std::atomic<bool> stop = false;
  std::thread thread([&] {
    platform::MakeAbseilsRecord();
    Mutator mutator(*heap_);
    Owner owner(domain, mutator);
    {
      std::vector<Ptr<Noted>> leaves;
      for (int i = 0; i < kLength; ++i) {
        leaves.push_back(MakePtr<Noted>(nullptr, nullptr, &leaves_destroyed));
      }
      Ptr<Noted> first = MakePtr<Noted>(nullptr, leaves[0]);
      Ptr<Noted> last = first;
      for (int i = 1; i < kLength; ++i) last = last->next = MakePtr<Noted>(nullptr, leaves[i]);
      last->next = first;
    }
    CHECK_EQ(domain.Collect()->collected, 2 * kLength);
    while (!stop.load(std::memory_order_relaxed)) mutator.Safepoint();  // publishes nothing
  });
  {
    Mutator mutator(*heap_);
    Owner owner(domain, mutator);
    // Relaxed: a hint.
    while (leaves_destroyed.load(std::memory_order_relaxed) < 2000) mutator.Safepoint();
    EXPECT_TRUE(Fork([&] {
      std::vector<Ptr<Noted>> mine;
      for (int i = 0; i < 1500; ++i) {
        mine.push_back(MakePtr<Noted>(nullptr, nullptr, &mine_destroyed));
      }
      CHECK_OK(domain.Collect().status());
      CHECK_EQ(mine_destroyed.load(std::memory_order_relaxed), 0);  // a count
    }));
    stop.store(true, std::memory_order_relaxed);  // publishes nothing
  }
  thread.join();
}

// Forks at random moments beside threads that do everything. (But begin, end, or wait for the first
// time: docs/design/fork.md, "What users must know".)
TEST_P(RcForkTest, BesideThreadsThatCountAndDetect) {
  Domain domain(*heap_, {.detect = Detect::kBackground, .detect_after = 100});
  std::atomic<bool> stop = false;
  absl::BlockingCounter begun(3);
  AtomicPtr<Link> handed;
  std::vector<std::thread> threads;
  // One that is not attached: it drops what others have made.
  threads.emplace_back([&] {
    platform::MakeAbseilsRecord();
    begun.DecrementCount();
    while (!stop.load(std::memory_order_relaxed)) {  // publishes nothing
      if (handed.exchange(nullptr) == nullptr) std::this_thread::yield();
    }
  });
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      platform::MakeAbseilsRecord();
      begun.DecrementCount();
      Mutator mutator(*heap_);
      Owner owner(domain, mutator);
      while (!stop.load(std::memory_order_relaxed)) {  // publishes nothing
        owner.Step(10);
        mutator.Safepoint();
        // So that garbage leaves room: detections may be slower than these threads.
        if (Alive(domain) > kMostAlive) continue;
        Ptr<Link> ring = Ring(10);
        handed = std::move(ring);
        Ring(100);
      }
    });
  }
  begun.Wait();
  {
    Mutator mutator(*heap_);
    Owner owner(domain, mutator);
    Ptr<Link> kept = Ring(3);
    for (int i = 0; i < 20; ++i) {
      EXPECT_TRUE(Fork([&] {
        CHECK(kept->next->next->next == kept);
        if (kChildMayStartThreads) UseInChild(*heap_, domain, kept);
      }));
      mutator.Safepoint();
    }
  }
  stop.store(true, std::memory_order_relaxed);  // publishes nothing
  for (std::thread& thread : threads) thread.join();
  handed = nullptr;
  EXPECT_TRUE(domain.Collect().ok());
  EXPECT_EQ(Alive(domain), 0);
}

INSTANTIATE_TEST_SUITE_P(All, RcForkTest, testing::ValuesIn(kCollectors), &RcForkTest::NameOf);

}  // namespace
}  // namespace ebb::rc
