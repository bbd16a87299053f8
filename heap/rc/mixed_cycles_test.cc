// Cycles that pass through traced objects.

#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include "absl/log/log_entry.h"
#include "absl/log/log_sink.h"
#include "absl/log/log_sink_registry.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"
#include "heap/rc/holder_table.h"
#include "heap/weak.h"

namespace ebb::rc {
namespace {

struct Shelf;

// A counted object that leads to a traced one, which may lead back.
struct Book {
  ebb::Field<Shelf> shelf;
  Field<Book> next;
  std::vector<int64_t>* log = nullptr;
  int64_t name = 0;
  ~Book() {
    if (log != nullptr) log->push_back(name);
  }
};
struct Shelf {
  ebb::Field<Shelf> next;
  Field<Book> book;
  int64_t value = 0;
};

struct MixedCyclesTest : testing::Test, Counting {
  Ptr<Book> Make(int64_t name = 0) { return MakePtr<Book>(nullptr, nullptr, &log, name); }
  // A counted object and a traced one that lead to each other; through another traced one, too, if
  // it is `far`.
  Ptr<Book> MakeRing(int64_t name = 0, bool far = false) {
    Ptr<Book> book = Make(name);
    ebb::Local<Shelf> shelf(mutator, NewHolder<Shelf>(nullptr, book, name));
    if (far) shelf = NewHolder<Shelf>(shelf, nullptr, name);
    book->shelf = shelf;
    return book;
  }
  // After a cycle of the heap.
  int64_t holders() {
    EXPECT_TRUE(heap->Collect().ok());
    return domain.state()->holders().size();
  }

  std::vector<int64_t> log;
};

TEST_F(MixedCyclesTest, AreFound) {
  for (int i = 0; i < 50; ++i) MakeRing(i, i % 2 == 0);
  const Ptr<Book> kept = MakeRing(100);
  EXPECT_EQ(alive(), 51);
  ASSERT_TRUE(heap->Collect().ok());
  EXPECT_EQ(alive(), 51);
  const Detection detection = Collect(*this);
  EXPECT_EQ(detection.collected, 50);
  EXPECT_EQ(detection.holders, 50);  // that hold anything
  EXPECT_GT(detection.pause, absl::ZeroDuration());
  EXPECT_EQ(log.size(), 50u);
  EXPECT_EQ(kept->shelf->book, kept);
  EXPECT_EQ(holders(), 1);
  ASSERT_TRUE(heap->Collect().ok());
  ASSERT_TRUE(heap->Verify().ok());
  EXPECT_EQ(kept->shelf->value, 100);
}

// Live holders of objects that lead to nothing traced, but for what has no references itself.
TEST_F(MixedCyclesTest, NoLongPauseForLeaves) {
  struct Leaf {
    ebb::Field<ebb::String> title;
    Field<Book> book;
  };
  struct Branch {
    ebb::Field<Branch> next;
    Field<Leaf> leaf;
  };
  ebb::Local<Branch> branches(mutator);
  for (int i = 0; i < 20; ++i) {
    Ptr<Book> book = Make(i);
    Ptr<Leaf> leaf = MakePtr<Leaf>(mutator.NewString("title"), std::move(book));
    branches = NewHolder<Branch>(branches, leaf);
  }
  for (int i = 0; i < 10; ++i) {
    Ptr<Book> book = Make();
    book->next = book;
  }
  const Detection detection = Collect(*this);
  EXPECT_EQ(detection.collected, 10);
  EXPECT_EQ(detection.pause, absl::ZeroDuration());
  EXPECT_EQ(branches->leaf->title->view(), "title");
}

TEST_F(MixedCyclesTest, NoLongPauseWithoutThem) {
  ebb::Local<Shelf> shelf(mutator, NewHolder<Shelf>(nullptr, Make(), 0));
  for (int i = 0; i < 10; ++i) {
    Ptr<Book> book = Make();
    book->next = book;
  }
  const Ptr<Book> other = Make();
  shelf->next = NewHolder<Shelf>(nullptr, other, 1);
  shelf->book = nullptr;
  const Detection detection = Collect(*this);
  EXPECT_EQ(detection.collected, 10);
  EXPECT_EQ(detection.pause, absl::ZeroDuration());
}

// From a root, by a traced object, to a counted one, and so on.
TEST_F(MixedCyclesTest, WhatRootsLeadToLives) {
  Persistent<Shelf> root(*heap, NewHolder<Shelf>(nullptr, MakeRing(1), 7));
  for (int64_t name = 2; name < 10; ++name) {
    Ptr<Book> ring = MakeRing(name);
    Ptr<Book> last = root->book;
    while (last->shelf->next != nullptr) last = last->shelf->next->book;
    ebb::Local<Shelf> holder(mutator, NewHolder<Shelf>(nullptr, ring, name));
    last->shelf->next = holder;
  }
  MakeRing(20);
  EXPECT_EQ(Collect(*this).collected, 1);
  EXPECT_EQ(alive(), 9);
  EXPECT_EQ(Collect(*this).collected, 0);
  root = Persistent<Shelf>();
  EXPECT_EQ(Collect(*this).collected, 9);
  EXPECT_EQ(holders(), 0);
}

// What is dead may hold something that lives.
TEST_F(MixedCyclesTest, HoldersOfTheDeadGiveUpWhatLives) {
  const Ptr<Book> kept = Make(1);
  {
    Ptr<Book> ring = MakeRing(2);
    ring->shelf->next = NewHolder<Shelf>(nullptr, kept, 0);
    ring->next = kept;
  }
  EXPECT_EQ(kept.use_count(), 3);
  EXPECT_EQ(Collect(*this).collected, 1);
  while (owner.Step()) {
  }
  EXPECT_EQ(kept.use_count(), 1);
  EXPECT_EQ(alive(), 1);
}

// A destructor sees the traced objects of its cycle, and in them null.
struct Lid;
struct Curious {
  ebb::Field<Shelf> shelf;
  Field<Lid> lid;
  Persistent<Shelf>* saves = nullptr;
  ~Curious() {
    if (saves == nullptr) return;
    EXPECT_EQ(shelf->value, 3);
    EXPECT_EQ(shelf->book, nullptr);
    *saves = shelf;
  }
};
struct Case {
  Field<Curious> curious;
  int64_t value = 0;
};
struct Lid {
  ebb::Field<Case> box;
};

TEST_F(MixedCyclesTest, DestructorsSeeEmptyHolders) {
  Persistent<Shelf> saved(*heap, Ref<Shelf>());
  const Ptr<Book> kept = Make(1);
  {
    Ptr<Curious> curious = MakePtr<Curious>();
    ebb::Local<Shelf> shelf(mutator, NewHolder<Shelf>(nullptr, kept, 3));
    curious->shelf = shelf;
    curious->saves = &saved;
    // What leads back.
    ebb::Local<Case> box(mutator, NewHolder<Case>(curious, 0));
    curious->lid = MakePtr<Lid>(box);
  }
  EXPECT_EQ(kept.use_count(), 2);
  EXPECT_EQ(Collect(*this).collected, 2);
  while (owner.Step()) {
  }
  EXPECT_EQ(kept.use_count(), 1);
  // What a destructor has saved works as before.
  saved->book = kept;
  EXPECT_EQ(kept.use_count(), 2);
  EXPECT_EQ(holders(), 1);
  saved = Persistent<Shelf>();
  EXPECT_EQ(holders(), 0);
  while (owner.Step()) {
  }
  EXPECT_EQ(kept.use_count(), 1);
}

// By turns counted and traced, with no recursion.
TEST_F(MixedCyclesTest, ALongRing) {
  Counting c(DomainOptions(), 64 << 20);
  const int64_t length = Many(50'000);
  {
    Ptr<Book> first = MakePtr<Book>();
    Ptr<Book> last = first;
    for (int64_t i = 1; i < length; ++i) {
      Ptr<Book> book = MakePtr<Book>();
      ebb::Local<Shelf> shelf(c.mutator, NewHolder<Shelf>(nullptr, book, i));
      last->shelf = shelf;
      last = std::move(book);
    }
    ebb::Local<Shelf> shelf(c.mutator, NewHolder<Shelf>(nullptr, first, 0));
    last->shelf = shelf;
    EXPECT_EQ(rc::Collect(c).collected, 0);
  }
  EXPECT_EQ(rc::Collect(c).collected, length);
  EXPECT_EQ(c.alive(), 0);
}

// A Weak reads as null from the moment that its object is garbage.
TEST_F(MixedCyclesTest, WeakReferences) {
  ebb::Weak<Shelf> weak(*heap, Ref<Shelf>());
  rc::Weak<Book> counted;
  ebb::Weak<Shelf> of_kept(*heap, Ref<Shelf>());
  const Ptr<Book> kept = MakeRing(1);
  {
    Ptr<Book> ring = MakeRing(2);
    weak = ebb::Weak<Shelf>(*heap, ring->shelf.load());
    counted = ring;
    of_kept = ebb::Weak<Shelf>(*heap, kept->shelf.load());
  }
  int cleanups = 0;
  ASSERT_TRUE(heap->AddCleanup(weak.load(), [&cleanups] { ++cleanups; }).ok());
  EXPECT_NE(weak.load(), nullptr);
  EXPECT_EQ(Collect(*this).collected, 1);
  EXPECT_EQ(weak.load(), nullptr);
  EXPECT_EQ(counted.Upgrade(), nullptr);
  EXPECT_EQ(of_kept.load()->value, 1);
  EXPECT_EQ(heap->RunCleanups(), 1);
  EXPECT_EQ(cleanups, 1);
}

// Named by an rc::Local only, or by a handle of the heap's.
TEST_F(MixedCyclesTest, NamedByLocals) {
  Ptr<Book> ring = MakeRing(1);
  Ptr<Book> other = MakeRing(2);
  {
    const Local<Book> named(owner, ring);
    ebb::Local<Shelf> shelf(mutator, other->shelf.load());
    ring = nullptr;
    other = nullptr;
    EXPECT_EQ(Collect(*this).collected, 0);
    EXPECT_EQ(named->shelf->book->name, 1);
    EXPECT_EQ(shelf->book->name, 2);
  }
  EXPECT_EQ(Collect(*this).collected, 2);
}

// Is finalized once, and may be revived by it.
struct Mourned {
  ebb::Field<Shelf> shelf;
  Field<Book> book;
  Persistent<Shelf>* saved_by = nullptr;
  int64_t* finalized = nullptr;

  static void Finalize(Ptr<Mourned> self) {
    ++*self->finalized;
    EXPECT_EQ(self->shelf->book->name, 4);
    if (self->saved_by != nullptr) *self->saved_by = self->shelf;
  }
};
struct Urn {
  Field<Mourned> mourned;
  int64_t value = 0;
};
struct Tomb {
  ebb::Field<Urn> urn;
  ebb::Field<Shelf> shelf;
};

TEST_F(MixedCyclesTest, Finalizers) {
  for (const bool saves : {false, true}) {
    log.clear();
    int64_t finalized = 0;
    Persistent<Shelf> saved(*heap, Ref<Shelf>());
    {
      // The shelf's book leads, by another traced object, back to what is mourned.
      Ptr<Mourned> mourned = MakePtr<Mourned>();
      mourned->finalized = &finalized;
      if (saves) mourned->saved_by = &saved;
      Ptr<Book> book = Make(4);
      ebb::Local<Shelf> shelf(mutator, NewHolder<Shelf>(nullptr, book, 4));
      book->shelf = shelf;
      mourned->shelf = shelf;
      mourned->book = book;
      ebb::Local<Urn> urn(mutator, NewHolder<Urn>(mourned, 1));
      Ptr<Tomb> tomb = MakePtr<Tomb>();
      tomb->urn = urn;
      ebb::Local<Shelf> back(mutator, NewHolder<Shelf>(nullptr, nullptr, 0));
      tomb->shelf = back;
      book->shelf->next = back;
    }
    Collect(*this);
    while (owner.Step()) {
    }
    ASSERT_TRUE(heap->Collect().ok());
    while (owner.Step()) {
    }
    Collect(*this);
    EXPECT_EQ(finalized, 1);
    EXPECT_EQ(log.size(), saves ? 0u : 1u);
    if (saves) {
      EXPECT_EQ(saved->book->name, 4);
    }
    saved = Persistent<Shelf>();
    ASSERT_TRUE(heap->Collect().ok());
    while (owner.Step()) {
    }
    Collect(*this);
    EXPECT_EQ(alive(), 0);
  }
}

// Automatic detections look for cycles through traced objects, which takes a pause, if so much is
// left that there might be some.
TEST(MixedAutomaticTest, PausesAreForWhatPilesUp) {
  struct CountsPauses : Listener {
    void OnDetectionEnd(const absl::StatusOr<Detection>& detection) override {
      ASSERT_TRUE(detection.ok()) << detection.status();
      ++(detection->pause > absl::ZeroDuration() ? with_pause : without);
    }
    int64_t with_pause = 0, without = 0;
  };
  constexpr int64_t kLive = 3'000;
  constexpr int64_t kMost = 40'000;  // what is at threads' hand comes on top, and a chunk
  CountsPauses counts;
  Counting c({.detect = Detect::kAutomatic, .detect_after = 2'000, .listener = &counts}, 64 << 20);
  const auto make = [&] {
    Ptr<Book> book = MakePtr<Book>();
    ebb::Local<Shelf> shelf(c.mutator, NewHolder<Shelf>(nullptr, book));
    book->shelf = NewHolder<Shelf>(shelf, nullptr);
    return book;
  };
  std::vector<Ptr<Book>> live;
  for (int64_t i = 0; i < c.Many(kLive); ++i) live.push_back(make());
  for (int64_t i = 0; i < c.Many(100'000); ++i) {
    make();
    ASSERT_LT(c.alive(), kMost);
  }
  if (c.Many(100) == 100) {
    EXPECT_GT(counts.with_pause, 2);
  }
  rc::Collect(c);
  EXPECT_EQ(c.alive(), c.Many(kLive));
  counts = CountsPauses();
  for (int64_t i = 0; i < c.Many(100'000); ++i) {
    Ptr<Book> book = MakePtr<Book>();
    book->next = book;
  }
  EXPECT_EQ(counts.with_pause, 0);
  if (c.Many(100) == 100) {
    EXPECT_GT(counts.without, 2);
  }
  EXPECT_LT(c.alive(), kMost);
}

// A log that uses the heap: nothing is logged in the pause.
TEST_F(MixedCyclesTest, ALogMayUseTheHeap) {
  struct Collecting : absl::LogSink {
    explicit Collecting(Heap& collected) : heap(collected) { absl::AddLogSink(this); }
    ~Collecting() override { absl::RemoveLogSink(this); }
    void Send(const absl::LogEntry& entry) override {
      if (!absl::StrContains(entry.text_message(), "garbage that is")) return;
      ++sent;
      EXPECT_TRUE(heap.Collect().ok()) << entry.text_message();
    }

    Heap& heap;
    int sent = 0;
  };
  struct Holding;
  struct Finalized {
    ebb::Field<Holding> holding;
    static void Finalize(Ptr<Finalized>) {}
  };
  struct Holding {
    ebb::Field<Holding> next;
    Field<Finalized> object;
  };
  const auto make = [this] {
    const Ptr<Finalized> made = MakePtr<Finalized>();
    ebb::Local<Holding> holding(mutator, NewHolder<Holding>(nullptr, made));
    made->holding = NewHolder<Holding>(holding, nullptr);
  };
  Collecting sink(*heap);
  domain.SetDebug({.collectable = true});
  make();
  EXPECT_EQ(Collect(*this).finalized, 1);
  EXPECT_EQ(sink.sent, 2);  // and it is destroyed
  domain.SetDebug({.uncollectable = true, .save_all = true});
  make();
  EXPECT_EQ(Collect(*this).kept, 1);
  EXPECT_EQ(sink.sent, 3);
  domain.SetDebug({});
  domain.TakeGarbage();
  Collect(*this);
  EXPECT_EQ(alive(), 0);
}

TEST_F(MixedCyclesTest, OwnedByAnotherThread) {
  Ptr<Book> ring;
  RunOwner(*this, [&] {
    Mutator& other = *Mutator::Current(*heap);
    Ptr<Book> book = Make(1);
    ebb::Local<Shelf> shelf(other, NewHolder<Shelf>(nullptr, book, 1));
    book->shelf = shelf;
    ring = std::move(book);
  });
  ring = nullptr;
  EXPECT_EQ(Collect(*this).collected, 1);
}

TEST_F(MixedCyclesTest, InACoalescedDomain) {
  Counting c({.stores = Stores::kCoalesced});
  for (int i = 0; i < 20; ++i) {
    Ptr<Book> book = MakePtr<Book>();
    ebb::Local<Shelf> shelf(c.mutator, NewHolder<Shelf>());
    shelf->book = book;
    book->shelf = shelf;
  }
  EXPECT_EQ(rc::Collect(c).collected, 20);
  EXPECT_EQ(c.alive(), 0);
}

}  // namespace
}  // namespace ebb::rc
