// Finalizers, and what they revive.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"
#include "heap/rc/finalized_for_test.h"

namespace ebb::rc {
namespace {

Lines Sorted(Lines lines) {
  std::sort(lines.begin(), lines.end());
  return lines;
}

TEST(FinalizationTest, AnObjectWhoseCountGoesIsFinalizedAndThenDestroyed) {
  Counting c;
  Book book;
  Ptr<Mourned> object = New(book, 1);
  object->next = New(book, 2);
  object = nullptr;
  EXPECT_EQ(book.lines, Lines());  // dropping is no safepoint
  EXPECT_TRUE(c.owner.Step(1));
  EXPECT_EQ(book.lines, Lines({"finalize 1", "destroy 1"}));
  while (c.owner.Step()) {
  }
  EXPECT_EQ(book.lines, Lines({"finalize 1", "destroy 1", "finalize 2", "destroy 2"}));
  EXPECT_EQ(c.domain.stats().finalized, 2);
  EXPECT_EQ(c.alive(), 0);
}

TEST(FinalizationTest, MakingObjectsCallsFinalizers) {
  Counting c;
  Book book;
  New(book, 1);
  MakePtr<Link>();
  EXPECT_EQ(book.lines, Lines({"finalize 1", "destroy 1"}));
}

TEST(FinalizationTest, TheLastOwnerCallsWhatIsDue) {
  Book book;
  auto heap = NewHeap(Options{.collector = CollectorUnderTest()});
  Domain domain(*heap);
  {
    Mutator mutator(*heap);
    Owner owner(domain, mutator);
    New(book, 1);
  }
  EXPECT_EQ(book.lines, Lines({"finalize 1", "destroy 1"}));
}

// A list, of which each dies as the one before is finalized: until nothing is due any more.
TEST(FinalizationTest, TheLastOwnerCallsAllThatBecomesDue) {
  Book book;
  int calls = 0;
  auto heap = NewHeap(Options{.collector = CollectorUnderTest()});
  {
    Domain domain(*heap);
    Mutator mutator(*heap);
    Owner owner(domain, mutator);
    Ptr<Mourned> list;
    for (int i = 0; i < 10; ++i) {
      Ptr<Mourned> longer = New(book, i);
      longer->next = std::move(list);
      list = std::move(longer);
    }
    std::vector<WeakCallback> callbacks;
    for (Ptr<Mourned> at = list; at != nullptr; at = at->next) {
      callbacks.emplace_back(at, [&] { ++calls; });
    }
    list = nullptr;
    while (owner.Step(1)) {
      if (calls == 5) break;
    }
    callbacks.clear();
  }
  EXPECT_EQ(book.lines.size(), 20u);
  EXPECT_EQ(calls, 5);
}

// On threads without an Owner, which leave it to the next one.
TEST(FinalizationTest, WhatDiesElsewhereIsFinalizedByWhoComesNext) {
  Book book;
  auto heap = NewHeap(Options{.collector = CollectorUnderTest()});
  Domain domain(*heap);
  int calls = 0;
  WeakCallback callback;
  Ptr<Mourned> object;
  {
    Mutator mutator(*heap);
    Owner owner(domain, mutator);
    object = New(book, 1);
    callback = WeakCallback(object, [&] { ++calls; });
  }
  object = nullptr;
  EXPECT_EQ(book.lines, Lines());
  {
    Mutator mutator(*heap);
    Owner owner(domain, mutator);
    // It may call nothing here, and leaves it to the next one.
    const NoSafepoint scope(mutator);
    owner.Step();
    EXPECT_EQ(calls, 0);
    std::optional<Owner> inner(std::in_place, domain, mutator);
    inner->Step();
    inner.reset();
  }
  EXPECT_EQ(book.lines, Lines({"finalize 1", "destroy 1"}));
  EXPECT_EQ(calls, 1);
}

struct Heir : Mourned {
  int64_t more = 0;
  EBB_FIELDS(Heir, next, other, book, name, more)
};

TEST(FinalizationTest, AFinalizerIsInherited) {
  Counting c;
  Book book;
  Ptr<Heir> heir = MakePtr<Heir>();
  heir->book = &book;
  heir->name = 1;
  heir = nullptr;
  c.owner.Step();
  EXPECT_EQ(book.lines, Lines({"finalize 1", "destroy 1"}));
}

TEST(FinalizationTest, WhatIsRevivedIsFinalizedNoMore) {
  Counting c;
  Book book;
  book.finalize = [&](Ptr<Mourned> self) { book.kept = std::move(self); };
  Ptr<Mourned> object = New(book, 1);
  Weak<Mourned> weak = object;
  EXPECT_FALSE(Domain::IsFinalized(object));
  object = nullptr;
  EXPECT_EQ(weak.Upgrade(), nullptr);
  c.owner.Step();
  ASSERT_NE(book.kept, nullptr);
  EXPECT_EQ(book.kept->name, 1);
  EXPECT_EQ(book.kept.use_count(), 1);
  EXPECT_TRUE(Domain::IsFinalized(book.kept));
  // Weak references stay cleared, and new ones are.
  EXPECT_EQ(weak.Upgrade(), nullptr);
  EXPECT_EQ(Weak<Mourned>(book.kept).Upgrade(), nullptr);
  EXPECT_EQ(book.lines, Lines({"finalize 1"}));
  book.kept = nullptr;
  EXPECT_EQ(book.lines, Lines({"finalize 1", "destroy 1"}));
  EXPECT_EQ(c.alive(), 0);
}

TEST(FinalizationTest, ARingIsFinalizedWholeAndThenDestroyed) {
  Counting c;
  Book book;
  int intact = 0;
  book.finalize = [&](Ptr<Mourned> self) { intact += self->next != nullptr ? 1 : 0; };
  Ring(book, 1, 3);
  const Detection detection = Collect(c);
  EXPECT_EQ(detection.finalized, 3);
  EXPECT_EQ(detection.collected, 3);
  EXPECT_EQ(intact, 3);
  EXPECT_EQ(Sorted({book.lines.begin(), book.lines.begin() + 3}),
            Lines({"finalize 1", "finalize 2", "finalize 3"}));
  EXPECT_EQ(Sorted({book.lines.begin() + 3, book.lines.end()}),
            Lines({"destroy 1", "destroy 2", "destroy 3"}));
  EXPECT_EQ(c.alive(), 0);
}

TEST(FinalizationTest, WhatAFinalizerRevivesOfARingLives) {
  Counting c;
  Book book;
  book.finalize = [&](Ptr<Mourned> self) {
    if (self->name == 2) book.kept = self->next;
  };
  Ptr<Mourned> ring = Ring(book, 1, 3);
  ring->other = Ring(book, 11, 2);  // is revived too
  Weak<Mourned> weak = ring;
  ring = nullptr;
  Ring(book, 21, 2);
  Detection detection = Collect(c);
  EXPECT_EQ(detection.finalized, 7);
  EXPECT_EQ(detection.collected, 2);
  EXPECT_EQ(c.alive(), 5);
  EXPECT_EQ(weak.Upgrade(), nullptr);
  ASSERT_NE(book.kept, nullptr);
  EXPECT_EQ(book.kept->next->next->next, book.kept);
  EXPECT_EQ(book.kept->next->other->next->name, 12);
  book.kept = nullptr;
  detection = Collect(c);
  EXPECT_EQ(detection.finalized, 0);
  EXPECT_EQ(detection.collected, 5);
  EXPECT_EQ(c.domain.stats().finalized, 7);
  EXPECT_EQ(c.alive(), 0);
  ASSERT_TRUE(c.heap->Verify().ok());
}

// A ring of links with a finalizer hanging on it, and one that hangs on a finalizer.
struct Knot {
  Field<Knot> next;
  Field<Mourned> mourned;
};

TEST(FinalizationTest, OnlyWhatAFinalizerMayReachWaitsForIt) {
  Counting c;
  Book book;
  {
    Ptr<Knot> knot = MakePtr<Knot>();
    knot->next = knot;
    knot->mourned = New(book, 1);
    knot->mourned->next = knot->mourned;
  }
  const Detection detection = Collect(c);
  EXPECT_EQ(detection.finalized, 1);
  EXPECT_EQ(detection.collected, 2);
  EXPECT_EQ(book.lines, Lines({"finalize 1", "destroy 1"}));
}

TEST(FinalizationTest, AFinalizerMayDoWhatItLikes) {
  Counting c;
  Book book;
  Ptr<Mourned> made;
  book.finalize = [&](Ptr<Mourned> self) {
    if (self->name > 100) return;
    for (int i = 0; i < 1000; ++i) MakePtr<Link>();
    ASSERT_TRUE(c.heap->Collect().ok());
    // Breaks its ring, and hangs something new into it.
    made = self->other = New(book, self->name + 100);
    self->next = nullptr;
  };
  Ring(book, 1, 2);
  const Detection detection = Collect(c);
  EXPECT_EQ(detection.finalized, 2);
  made = nullptr;
  while (c.owner.Step()) {
  }
  Collect(c);
  EXPECT_EQ(Sorted(book.lines),
            Lines({"destroy 1", "destroy 101", "destroy 102", "destroy 2", "finalize 1",
                   "finalize 101", "finalize 102", "finalize 2"}));
  EXPECT_EQ(c.alive(), 0);
}

TEST(FinalizationTest, AFinalizerMayNotCollectInADetection) {
  Counting c;
  Book book;
  std::vector<absl::StatusCode> codes;
  book.finalize = [&](Ptr<Mourned>) { codes.push_back(c.domain.Collect().status().code()); };
  Ring(book, 1, 1);
  Collect(c);
  New(book, 2);
  c.owner.Step();
  EXPECT_EQ(codes, (std::vector<absl::StatusCode>{absl::StatusCode::kFailedPrecondition,
                                                  absl::StatusCode::kOk}));
}

// Nor by another Owner of the thread, nor one of another domain.
TEST(FinalizationTest, AFinalizerMayNotCollectInADetectionByWhateverWay) {
  Counting c;
  Counting other;
  Book book;
  std::vector<absl::Status> statuses;
  book.finalize = [&](Ptr<Mourned>) {
    Owner inner(c.domain, c.mutator);
    EXPECT_TRUE(c.domain.Objects().ok());
    statuses.push_back(c.domain.Collect().status());
    statuses.push_back(other.domain.Collect().status());
    statuses.push_back(other.domain.Objects().status());
  };
  Ptr<Mourned> ring;
  {
    Owner owner(c.domain, c.mutator);
    Ring(book, 1, 1);
  }
  Collect(c);
  ASSERT_EQ(statuses.size(), 3u);
  for (const absl::Status& status : statuses) {
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  }
  EXPECT_EQ(c.alive(), 0);
}

TEST(FinalizationTest, WhatItsFinalizerUntracksLives) {
  Counting c;
  Book book;
  book.finalize = [](Ptr<Mourned> self) { Domain::Untrack(self); };
  Ring(book, 1, 1);
  EXPECT_EQ(Collect(c).collected, 0);
  EXPECT_EQ(c.alive(), 1);
}

// Garbage without a finalizer leads to garbage with one: one detection finds both.
TEST(FinalizationTest, ARingThatHangsOnAnotherInALazyDomain) {
  Counting c({.reclaim = Reclaim::kLazy});
  Book book;
  {
    Ptr<Knot> knot = MakePtr<Knot>();
    knot->next = knot;
    knot->mourned = Ring(book, 1, 1);
  }
  EXPECT_EQ(Collect(c).collected, 2);
  while (c.owner.Step()) {
  }
  EXPECT_EQ(book.lines, Lines({"finalize 1", "destroy 1"}));
}

TEST(FinalizationTest, InALazyDomain) {
  Counting c({.reclaim = Reclaim::kLazy});
  Book book;
  Ring(book, 1, 3);
  New(book, 4);
  Collect(c);
  while (c.owner.Step(1)) {
  }
  EXPECT_EQ(book.lines.size(), 8u);
  EXPECT_EQ(c.alive(), 0);
}

TEST(FinalizationTest, WhatDiesWhereNothingMayBeCalledIsFinalizedLater) {
  Counting c;
  Book book;
  Ptr<Mourned> object = New(book, 1);
  {
    const NoSafepoint scope(c.mutator);
    object = nullptr;
    EXPECT_FALSE(c.owner.Step());  // nothing more, that is, while the scope lasts
  }
  EXPECT_EQ(book.lines, Lines());
  object = New(book, 2);
  EXPECT_EQ(book.lines, Lines({"finalize 1", "destroy 1"}));
  std::thread([&] { object = nullptr; }).join();
  c.owner.Step();
  EXPECT_EQ(c.alive(), 0);
}

TEST(FinalizationTest, ACallbackOfWhatIsFinalizedIsCalledOnce) {
  Counting c;
  Book book;
  book.finalize = [&](Ptr<Mourned> self) { book.kept = std::move(self); };
  int calls = 0;
  Ptr<Mourned> ring = Ring(book, 1, 2);
  const WeakCallback callback(ring, [&] { ++calls; });
  ring = nullptr;
  Collect(c);
  c.owner.Step();
  EXPECT_EQ(calls, 1);
  book.kept = nullptr;
  Collect(c);
  c.owner.Step();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(c.alive(), 0);
}

}  // namespace
}  // namespace ebb::rc
