// A process with domains that coalesce stores, or with holders, forks.

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/log/check.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "heap/fork_for_test.h"
#include "heap/rc/rc.h"
#include "heap/rc/rc_fork_for_test.h"
#include "platform/thread.h"

namespace ebb::rc {
namespace {

class CoalescedForkTest : public RcForkTest {
 protected:
  CoalescedForkTest() {
    Options options = RoomyOptions();
    options.field_logging = true;
    heap_ = NewHeap(options);
  }
};

// Cycles through traced objects, and holders that die, in a child.
struct Page;
struct Leaf {
  ebb::Field<Page> page;
};
struct Page {
  Field<Leaf> leaf;
};

TEST_P(CoalescedForkTest, HoldersInAChild) {
  if (!kChildMayStartThreads) GTEST_SKIP() << "the collector's thread is started in the child";
  Domain domain(*heap_);
  Mutator mutator(*heap_);
  Owner owner(domain, mutator);
  const auto make = [] {
    Ptr<Leaf> leaf = MakePtr<Leaf>();
    leaf->page = NewHolder<Page>(leaf);
    return leaf;
  };
  Ptr<Leaf> kept = make();
  make();
  EXPECT_TRUE(Fork([&] {
    CHECK_EQ(domain.Collect(absl::ZeroDuration())->collected, 1);
    make();
    ebb::Local<Page> held(mutator, NewHolder<Page>(MakePtr<Leaf>()));
    held = Ref<Page>();
    CHECK_OK(heap_->Collect());
    owner.Step();
    CHECK_EQ(Alive(domain), 2);
    kept = nullptr;
    CHECK_EQ(domain.Collect(absl::ZeroDuration())->collected, 2);
    CHECK_OK(heap_->Verify());
  }));
  EXPECT_EQ(domain.Collect()->collected, 1);
}

// What a thread has logged of its stores is counted in the child too, where it is not there.
TEST_P(CoalescedForkTest, StoresOfThreadsThatAreNotThere) {
  if (!kChildMayStartThreads) GTEST_SKIP() << "the collector's thread is started in the child";
  Domain domain(*heap_, {.stores = Stores::kCoalesced});
  Ptr<Link> kept, target;
  absl::Notification logged, done;
  std::thread thread([&] {
    Mutator mutator(*heap_);
    Owner owner(domain, mutator);
    kept = MakePtr<Link>();
    target = MakePtr<Link>();
    for (int i = 0; i < 3; ++i) CHECK_OK(heap_->Collect());
    kept->next = target;
    CHECK_EQ(target.use_count(), 1);
    const Blocking blocking(mutator);
    logged.Notify();
    done.WaitForNotification();
  });
  logged.WaitForNotification();
  Mutator mutator(*heap_);
  Owner owner(domain, mutator);
  EXPECT_TRUE(Fork([&] {
    owner.Step();
    CHECK_EQ(target.use_count(), 2);
    target = nullptr;
    owner.Step();
    CHECK_EQ(Alive(domain), 2);
    kept->next = nullptr;
    owner.Step();
    CHECK_EQ(Alive(domain), 1);
    Ring(5);
    CHECK_EQ(domain.Collect()->collected, 5);
    CHECK_OK(heap_->Verify());
  }));
  done.Notify();
  {
    const Blocking blocking(mutator);
    thread.join();
  }
  kept = nullptr;
  target = nullptr;
  owner.Step();
  EXPECT_EQ(Alive(domain), 0);
}

// An eager phase of a thread that is not there has ended: in the child stores are logged again.
struct Waiting {
  Field<Waiting> next;
  Mutator* mutator = nullptr;
  absl::Notification* called = nullptr;
  absl::Notification* done = nullptr;

  static void Finalize(Ptr<Waiting> self) {
    absl::Notification* const called = self->called;
    absl::Notification* const done = self->done;
    const Blocking blocking(*self->mutator);
    called->Notify();
    done->WaitForNotification();
  }
};

// In the child of a fork by what is called in a phase, that goes on.
struct Forking {
  Field<Forking> next;
  absl::FunctionRef<void()>* fork = nullptr;

  static void Finalize(Ptr<Forking> self) { (*self->fork)(); }
};

TEST_P(CoalescedForkTest, InAPhase) {
  if (!kChildMayStartThreads) GTEST_SKIP() << "the collector's thread is started in the child";
  Domain domain(*heap_, {.stores = Stores::kCoalesced});
  Mutator mutator(*heap_);
  Owner owner(domain, mutator);
  Ptr<Link> kept = MakePtr<Link>(), target = MakePtr<Link>();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(heap_->Collect().ok());
  int64_t forked = 0;
  const auto fork = [&] {
    EXPECT_TRUE(Fork([&] {
      kept->next = target;
      CHECK_EQ(target.use_count(), 2);
      Ring(3);
      CHECK_OK(heap_->Collect());
      CHECK_OK(heap_->Verify());
    }));
    ++forked;
  };
  absl::FunctionRef<void()> called(fork);
  {
    const Ptr<Forking> ring = MakePtr<Forking>(nullptr, &called);
    ring->next = ring;
  }
  EXPECT_TRUE(domain.Collect().ok());
  EXPECT_EQ(forked, 1);
  kept->next = target;
  EXPECT_EQ(target.use_count(), 1);
}

TEST_P(CoalescedForkTest, APhaseOfAThreadThatIsNotThere) {
  if (!kChildMayStartThreads) GTEST_SKIP() << "the collector's thread is started in the child";
  Domain domain(*heap_, {.stores = Stores::kCoalesced});
  Mutator mutator(*heap_);
  Owner owner(domain, mutator);
  Ptr<Link> kept = MakePtr<Link>(), target = MakePtr<Link>();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(heap_->Collect().ok());
  absl::Notification called, done;
  std::thread thread([&] {
    Mutator its_mutator(*heap_);
    Owner its_owner(domain, its_mutator);
    Ptr<Waiting> waiting = MakePtr<Waiting>(nullptr, &its_mutator, &called, &done);
    waiting->next = waiting;
    waiting = nullptr;
    CHECK_OK(domain.Collect().status());
  });
  {
    const Blocking blocking(mutator);
    called.WaitForNotification();
  }
  EXPECT_TRUE(Fork([&] {
    kept->next = target;
    CHECK_EQ(target.use_count(), 1);
    owner.Step();
    CHECK_EQ(target.use_count(), 2);
  }));
  kept->next = target;
  EXPECT_EQ(target.use_count(), 2);
  done.Notify();
  {
    const Blocking blocking(mutator);
    thread.join();
  }
  kept = nullptr;
  target = nullptr;
  while (owner.Step()) {
  }
  EXPECT_EQ(Alive(domain), 0);
}

// At random moments, beside threads that log stores, make holders, and detect.
TEST_P(CoalescedForkTest, BesideThreadsOfACoalescedDomain) {
  Domain domain(*heap_,
                {.stores = Stores::kCoalesced, .detect = Detect::kBackground, .detect_after = 100});
  // Each link is taken out, and put back.
  const auto store_to_all = [](const Ptr<Link>& ring) {
    for (Ptr<Link> at = ring->next; at != ring; at = at->next) {
      const Ptr<Link> next = at->next;
      at->next = nullptr;
      at->next = next;
    }
  };
  std::atomic<bool> stop = false;
  absl::BlockingCounter begun(2);
  std::vector<std::thread> threads;
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
        ebb::Local<Page> held(mutator, NewHolder<Page>(MakePtr<Leaf>()));
        held->leaf->page = held;
        store_to_all(Ring(10));
        held->leaf = MakePtr<Leaf>();
      }
    });
  }
  begun.Wait();
  {
    Mutator mutator(*heap_);
    Owner owner(domain, mutator);
    Ptr<Link> kept = Ring(3);
    for (int i = 0; i < 10; ++i) {
      EXPECT_TRUE(Fork([&] {
        if (!kChildMayStartThreads) return;
        store_to_all(kept);
        Ring(3);
        CHECK_OK(domain.Collect(absl::ZeroDuration()).status());
        CHECK_OK(heap_->Collect());
        CHECK_OK(heap_->Verify());
        CHECK(kept->next->next->next == kept);
        while (owner.Step()) {
        }
      }));
      mutator.Safepoint();
    }
  }
  stop.store(true, std::memory_order_relaxed);  // publishes nothing
  for (std::thread& thread : threads) thread.join();
}

INSTANTIATE_TEST_SUITE_P(All, CoalescedForkTest, testing::ValuesIn(kCollectors),
                         &RcForkTest::NameOf);

}  // namespace
}  // namespace ebb::rc
