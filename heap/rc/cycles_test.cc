// Domain::Collect: what only each other's Fields refer to goes, and nothing else.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"
#include "platform/fake_system.h"

namespace ebb::rc {
namespace {

// `length` objects, each the left of the one before; the first is returned.
Ptr<Witness> Ring(int length, std::vector<int64_t>* log = nullptr) {
  Ptr<Witness> first = MakePtr<Witness>(nullptr, nullptr, log, 0);
  Ptr<Witness> last = first;
  for (int i = 1; i < length; ++i) {
    last = last->left = MakePtr<Witness>(nullptr, nullptr, log, i);
  }
  last->left = first;
  return first;
}

TEST(CyclesTest, ARingGoesWhenNothingElseRefersToIt) {
  Counting c;
  for (int length : {1, 2, 10, 1000}) {
    std::vector<int64_t> log;
    Ptr<Witness> ring = Ring(length, &log);
    EXPECT_EQ(Collect(c).collected, 0);
    ring = ring->left;
    EXPECT_EQ(Collect(c).collected, 0);
    ring = nullptr;
    EXPECT_EQ(c.alive(), length);
    EXPECT_EQ(Collect(c).collected, length);
    EXPECT_EQ(c.alive(), 0);
    std::sort(log.begin(), log.end());
    ASSERT_EQ(log.size(), static_cast<size_t>(length));
    for (int i = 0; i < length; ++i) EXPECT_EQ(log[i], i);
  }
  EXPECT_EQ(Collect(c).collected, 0);
  EXPECT_EQ(c.domain.stats().detections, 13);
  EXPECT_EQ(c.domain.stats().detected.collected, 1013);
  ASSERT_TRUE(c.heap->Verify().ok());
}

TEST(CyclesTest, FiguresSayWhatWasLookedAt) {
  Counting c;
  Ptr<Witness> alive = Ring(7);
  Ring(5);
  absl::StatusOr<Detection> detection = c.domain.Collect();
  ASSERT_TRUE(detection.ok());
  EXPECT_EQ(detection->visited, 12);
  EXPECT_EQ(detection->suspects, 5);
  EXPECT_EQ(detection->collected, 5);
  EXPECT_GT(detection->time, absl::ZeroDuration());
}

TEST(CyclesTest, WhatARingLeadsToIsDropped) {
  Counting c;
  std::vector<int64_t> log;
  Ptr<Witness> kept = MakePtr<Witness>(nullptr, nullptr, &log, 7);
  {
    Ptr<Witness> ring = Ring(3);
    ring->right = kept;
    ring->left->right = MakePtr<Witness>(nullptr, nullptr, &log, 8);
  }
  EXPECT_EQ(kept.use_count(), 2);
  EXPECT_EQ(Collect(c).collected, 4);
  EXPECT_EQ(log, std::vector<int64_t>({8}));
  EXPECT_EQ(kept.use_count(), 1);
  EXPECT_EQ(kept->name, 7);
}

TEST(CyclesTest, WhatIsReferredToFromOutsideKeepsWhatItLeadsTo) {
  Counting c;
  Ptr<Witness> front = MakePtr<Witness>();
  front->left = Ring(3);
  front->left->left->right = Ring(4);
  EXPECT_EQ(Collect(c).collected, 0);
  EXPECT_EQ(c.alive(), 8);
  front->left = nullptr;
  EXPECT_EQ(Collect(c).collected, 7);
  EXPECT_EQ(Collect(c).collected, 0);
  EXPECT_EQ(c.alive(), 1);
}

struct Bag {
  std::vector<Ptr<Bag>> held;
  Field<Bag> next;
};

}  // namespace
}  // namespace ebb::rc

template <>
inline constexpr bool ebb::kTriviallyRelocatable<std::vector<ebb::rc::Ptr<ebb::rc::Bag>>> = true;

namespace ebb::rc {
namespace {

// A Ptr is a reference from outside wherever it lies.
TEST(CyclesTest, APtrInAnObjectKeepsACycleAlive) {
  Counting c;
  Ptr<Bag> bag = MakePtr<Bag>();
  bag->next = MakePtr<Bag>();
  bag->next->held.push_back(bag);
  Weak<Bag> weak = bag;
  bag = nullptr;
  EXPECT_EQ(Collect(c).collected, 0);
  bag = weak.Upgrade();
  ASSERT_NE(bag, nullptr);
  bag->next->held.clear();
  bag = nullptr;
  EXPECT_EQ(c.alive(), 0);
}

// Looks, when it goes, at what it refers to.
struct Curious {
  Field<Curious> next, outside;
  Weak<Curious> weak;
  int* nulls = nullptr;
  int* intact = nullptr;
  ~Curious() {
    if (nulls == nullptr) return;
    if (next == nullptr && weak.Upgrade() == nullptr) ++*nulls;
    if (outside != nullptr && outside->nulls == nullptr) ++*intact;
  }
};

TEST(CyclesTest, ADestructorSeesNothingDead) {
  Counting c;
  int nulls = 0, intact = 0;
  Ptr<Curious> outside = MakePtr<Curious>();
  Weak<Curious> weak;
  {
    Ptr<Curious> a = MakePtr<Curious>(nullptr, outside, nullptr, &nulls, &intact);
    Ptr<Curious> b = MakePtr<Curious>(a, outside, a, &nulls, &intact);
    a->next = b;
    a->weak = b;
    weak = a;
  }
  EXPECT_NE(weak.Upgrade(), nullptr);
  EXPECT_EQ(Collect(c).collected, 2);
  EXPECT_EQ(nulls, 2);
  EXPECT_EQ(intact, 2);
  EXPECT_EQ(weak.Upgrade(), nullptr);
  EXPECT_EQ(outside.use_count(), 1);
  weak = nullptr;
  EXPECT_EQ(Collect(c).collected, 0);
}

TEST(CyclesTest, WhatIsImmortalKeepsItsCycle) {
  Counting c;
  Ring(3)->left.MakeImmortal();
  EXPECT_EQ(Collect(c).collected, 0);
  EXPECT_EQ(c.alive(), 3);
}

TEST(CyclesTest, WhatMovesOutOfAFieldIsHeldByThePtr) {
  Counting c;
  Ptr<Witness> a = MakePtr<Witness>();
  a->left = MakePtr<Witness>();
  Ptr<Witness> moved = std::move(a->left);
  EXPECT_EQ(a->left, nullptr);
  EXPECT_EQ(moved.use_count(), 1);
  a->right = std::move(moved);
  EXPECT_EQ(moved, nullptr);
  std::swap(a->left, a->right);
  EXPECT_EQ(a->right, nullptr);
  ASSERT_NE(a->left, nullptr);
  EXPECT_EQ(a->left.use_count(), 1);
  a->right = std::move(a->left);
  EXPECT_EQ(a->left, nullptr);
  EXPECT_EQ(a->right.use_count(), 1);
  a->left = a->right;
  EXPECT_EQ(a->right.use_count(), 2);
  EXPECT_EQ(Collect(c).collected, 0);
  EXPECT_EQ(c.alive(), 2);
}

TEST(CyclesTest, LazyDomainsDestroyStepByStep) {
  Counting c({.reclaim = Reclaim::kLazy});
  Ring(10);
  EXPECT_EQ(Collect(c).collected, 10);
  EXPECT_EQ(c.alive(), 10);
  EXPECT_TRUE(c.owner.Step(4));
  EXPECT_EQ(c.alive(), 6);
  EXPECT_EQ(Collect(c).collected, 0);
  EXPECT_EQ(c.alive(), 0);
}

TEST(CyclesTest, AutomaticDetectionBoundsWhatPilesUp) {
  Counting c({.detect = Detect::kAutomatic, .detect_after = 2'000}, /*max_bytes=*/32 << 20);
  EXPECT_TRUE(c.domain.IsEnabled());
  // What is at threads' hand comes on top, and a chunk.
  constexpr int64_t kMost = 25'000;
  for (int i = 0; i < 100'000; ++i) {
    Ring(2);
    if (i % 100 == 0) {
      ASSERT_LT(c.alive(), kMost);
    }
  }
  EXPECT_GT(c.domain.stats().detections, 0);
  c.domain.Disable();
  EXPECT_FALSE(c.domain.IsEnabled());
  const int64_t detections = c.domain.stats().detections;
  for (int i = 0; i < 20'000; ++i) Ring(2);
  EXPECT_EQ(c.domain.stats().detections, detections);
  EXPECT_GT(c.alive(), 39'000);
  c.domain.Enable();
  for (int i = 0; i < 10'000; ++i) Ring(2);
  EXPECT_LT(c.alive(), kMost);
}

// Not bounded: whoever makes objects does not wait for the thread. But it keeps up in the end.
TEST(CyclesTest, ABackgroundThreadDetects) {
  Counting c({.detect = Detect::kBackground, .detect_after = 2'000}, /*max_bytes=*/64 << 20);
  Ptr<Witness> kept = Ring(3);
  const absl::Time end = absl::Now() + absl::Seconds(60);
  while (c.domain.stats().detected.collected < 50'000 && absl::Now() < end) {
    for (int i = 0; i < 100; ++i) Ring(2);
    c.mutator.Safepoint();
  }
  EXPECT_GE(c.domain.stats().detected.collected, 50'000);
  EXPECT_EQ(kept->left->left->left, kept);
}

// So it is done by whoever makes objects.
TEST(CyclesTest, ABackgroundThreadIsRefused) {
  platform::FakeSystem system;
  system.FailEvery(platform::Call::kStartThread, 1);
  Options options{.max_bytes = 32 << 20, .collector = CollectorUnderTest()};
  options.system = &system;
  auto heap = NewHeap(options);
  Domain domain(*heap, {.detect = Detect::kBackground, .detect_after = 2'000});
  Mutator mutator(*heap);
  Owner owner(domain, mutator);
  for (int i = 0; i < 20'000; ++i) Ring(2);
  EXPECT_GT(domain.stats().detected.collected, 10'000);
}

TEST(CyclesTest, WithoutMemoryNothingHappens) {
  platform::FakeSystem system;
  Options options{.max_bytes = 32 << 20, .collector = CollectorUnderTest()};
  options.system = &system;
  auto heap = NewHeap(options);
  Domain domain(*heap);
  Mutator mutator(*heap);
  Owner owner(domain, mutator);
  const Ptr<Witness> kept = Ring(3);
  Ring(2);
  for (const platform::Call call : {platform::Call::kReserve, platform::Call::kCommit}) {
    system.FailEvery(call, 1);
    EXPECT_EQ(domain.Collect().status().code(), absl::StatusCode::kResourceExhausted);
    system.StopFailing();
  }
  EXPECT_EQ(kept.use_count(), 2);
  const absl::StatusOr<Detection> detection = domain.Collect();
  ASSERT_TRUE(detection.ok());
  EXPECT_EQ(detection->collected, 2);
}

TEST(CyclesTest, ADomainGoesWhileItsThreadDetects) {
  for (int i = 0; i < 20; ++i) {
    Counting c({.detect = Detect::kBackground, .detect_after = 0, .detect_share = 0});
    for (int j = 0; j < 500 * i; ++j) Ring(2);
  }
}

struct Collecting {
  Domain* domain = nullptr;
  absl::StatusCode* code = nullptr;
  ~Collecting() {
    if (domain != nullptr) *code = domain->Collect().status().code();
  }
};

TEST(CyclesTest, SaysWhereItMayNotBeCalled) {
  Counting c;
  absl::StatusCode code = absl::StatusCode::kOk;
  MakePtr<Collecting>(&c.domain, &code);  // and drops it
  EXPECT_EQ(code, absl::StatusCode::kFailedPrecondition);
  {
    const NoSafepoint scope(c.mutator);
    EXPECT_EQ(c.domain.Collect().status().code(), absl::StatusCode::kFailedPrecondition);
  }
  {
    const Blocking scope(c.mutator);
    EXPECT_EQ(c.domain.Collect().status().code(), absl::StatusCode::kFailedPrecondition);
  }
  Ring(2);
  // By a thread that is not attached.
  {
    const Blocking scope(c.mutator);
    std::thread([&] { EXPECT_TRUE(c.domain.Collect(absl::ZeroDuration()).ok()); }).join();
  }
  EXPECT_EQ(Collect(c).collected, 2);
}

// What another thread counts without atomics is found once that thread has merged it.
TEST(CyclesTest, AnotherThreadsCycleGoesWhenThatHasSteppedOrEnded) {
  Counting c;
  absl::Notification made, step, stepped, end;
  std::atomic<bool> stepping = false;
  std::thread thread([&] {
    Mutator mutator(*c.heap);
    Owner owner(c.domain, mutator);
    Ring(3);
    {
      const Blocking blocking(mutator);
      made.Notify();
      step.WaitForNotification();
    }
    // Relaxed: the notifications order the rest.
    while (stepping.load(std::memory_order_relaxed)) {
      owner.Step();
      mutator.Safepoint();
    }
    Ring(4);
    const Blocking blocking(mutator);
    stepped.Notify();
    end.WaitForNotification();
  });
  {
    const Blocking blocking(c.mutator);
    made.WaitForNotification();
  }
  EXPECT_EQ(c.domain.Collect(absl::Milliseconds(1))->collected, 0);
  EXPECT_EQ(c.alive(), 3);
  stepping.store(true, std::memory_order_relaxed);  // published by Notify
  step.Notify();
  EXPECT_EQ(c.domain.Collect(absl::Minutes(1))->collected, 3);
  stepping.store(false, std::memory_order_relaxed);  // nothing is read on its strength
  {
    const Blocking blocking(c.mutator);
    stepped.WaitForNotification();
  }
  EXPECT_EQ(c.domain.Collect(absl::ZeroDuration())->collected, 0);
  end.Notify();
  {
    const Blocking blocking(c.mutator);
    thread.join();
  }
  EXPECT_EQ(Collect(c).collected, 4);
  EXPECT_EQ(c.alive(), 0);
}

// Domains do not look into each other: a reference from another domain is one from outside.
TEST(CyclesTest, AnotherDomainsReferencesAreFromOutside) {
  Counting c;
  Ptr<Witness> here = MakePtr<Witness>();
  {
    Domain other(*c.heap);
    Owner owner(other, c.mutator);
    Ptr<Witness> there = MakePtr<Witness>();
    there->left = here;
    here->left = there;
    Weak<Witness> weak = here;
    here = nullptr;
    there = nullptr;
    EXPECT_EQ(other.Collect()->collected, 0);
    EXPECT_EQ(Collect(c).collected, 0);
    here = weak.Upgrade();
    ASSERT_NE(here, nullptr);
    here->left = nullptr;
    EXPECT_EQ(other.stats().destroyed, 1);
  }
  EXPECT_EQ(c.alive(), 1);
}

// A Field may be all that is left of a domain that has been closed: its cells are nobody's to read.
TEST(CyclesTest, AClosedDomainsCellsAreLeftAlone) {
  Counting c;
  Ptr<Witness> here = MakePtr<Witness>();
  {
    Domain other(*c.heap);
    Owner owner(other, c.mutator);
    here->left = MakePtr<Witness>();
  }
  EXPECT_EQ(Collect(c).collected, 0);
  EXPECT_EQ(here->left.get(), nullptr);
  here->right = here;
  here = nullptr;
  EXPECT_EQ(Collect(c).collected, 1);
  EXPECT_EQ(c.alive(), 0);
}

// Each waits for its turn and for the other to merge; with no end of patience.
TEST(CyclesTest, ThreadsThatCollectDoNotWaitForEachOther) {
  Counting c;
  const auto work = [&] {
    Mutator mutator(*c.heap);
    Owner owner(c.domain, mutator);
    for (int i = 0; i < 100; ++i) {
      Ptr<Witness> ring = Ring(5);
      const Weak<Witness> weak = ring;
      ASSERT_TRUE(c.domain.Collect(absl::InfiniteDuration()).ok());
      ring = nullptr;
      ASSERT_TRUE(c.domain.Collect(absl::InfiniteDuration()).ok());
      ASSERT_EQ(weak.Upgrade(), nullptr);
    }
  };
  const Blocking blocking(c.mutator);
  std::thread one(work), other(work);
  one.join();
  other.join();
}

}  // namespace
}  // namespace ebb::rc
