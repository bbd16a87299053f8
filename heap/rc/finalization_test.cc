// Finalizers, what they revive, and what a Listener is told.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/log_severity.h"
#include "absl/log/scoped_mock_log.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"

namespace ebb::rc {
namespace {

using ::testing::_;
using ::testing::AllOf;
using ::testing::HasSubstr;

struct Mourned;

// What is told of objects, and what their finalizers do.
struct Book {
  std::vector<std::string> lines;
  std::function<void(Ptr<Mourned>)> finalize;
  Ptr<Mourned> kept;
};

// Has a finalizer.
struct Mourned {
  Field<Mourned> next, other;
  Book* book = nullptr;
  int64_t name = 0;

  static void Finalize(Ptr<Mourned> self) {
    Book& book = *self->book;
    book.lines.push_back(absl::StrCat("finalize ", self->name));
    if (book.finalize) book.finalize(std::move(self));
  }
  ~Mourned() {
    if (book != nullptr) book->lines.push_back(absl::StrCat("destroy ", name));
  }
};

using Lines = std::vector<std::string>;

Ptr<Mourned> New(Book& book, int64_t name) {
  return MakePtr<Mourned>(nullptr, nullptr, &book, name);
}

// Objects `first` and on, each the next of the one before; the first is returned.
Ptr<Mourned> Ring(Book& book, int64_t first, int64_t length) {
  Ptr<Mourned> begin = New(book, first);
  Ptr<Mourned> last = begin;
  for (int64_t i = 1; i < length; ++i) last = last->next = New(book, first + i);
  last->next = begin;
  return begin;
}

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

// Notes what a domain says.
class Notes : public Listener {
 public:
  void OnDetectionStart() override { lines.push_back("start"); }
  void OnDetectionEnd(const absl::StatusOr<Detection>& detection) override {
    lines.push_back(absl::StrCat("end ", detection->collected));
  }
  void OnException(Called called, std::string_view type) override {
    try {
      throw;
    } catch (const std::runtime_error& error) {
      lines.push_back(absl::StrCat(static_cast<int>(called), " ", error.what(), " ",
                                   type.substr(type.rfind(':') + 1)));
    }
  }

  Lines lines;
};

TEST(FinalizationTest, WhatIsThrownIsReported) {
  Notes notes;
  Counting c({.listener = &notes});
  Book book;
  book.finalize = [](Ptr<Mourned>) { throw std::runtime_error("no"); };
  New(book, 1);
  c.owner.Step();
  Ring(book, 2, 2);
  Collect(c);
  Ptr<Link> link = MakePtr<Link>();
  const WeakCallback callback(link, [] { throw std::runtime_error("never"); });
  link = nullptr;
  c.owner.Step();
  EXPECT_EQ(notes.lines,
            Lines({"1 no Mourned", "start", "1 no Mourned", "1 no Mourned", "end 2", "2 never "}));
  EXPECT_EQ(c.alive(), 0);
}

// Says what may be thrown, and by whom.
struct Thrower {
  bool armed = false;
  ~Thrower() noexcept(false) {
    if (armed) throw std::runtime_error("at last");
  }
};

// Throws itself, and tries what is an error.
class Faulty : public Listener {
 public:
  void OnDetectionStart() override {
    code = domain->Collect().status().code();
    throw 1;
  }
  void OnDetectionEnd(const absl::StatusOr<Detection>&) override { throw std::logic_error("end"); }

  Domain* domain = nullptr;
  absl::StatusCode code = absl::StatusCode::kOk;
};

TEST(ListenerTest, ItsOwnExceptionsAreLogged) {
  Faulty faulty;
  Counting c({.listener = &faulty});
  faulty.domain = &c.domain;
  absl::ScopedMockLog log;
  EXPECT_CALL(log, Log(absl::LogSeverity::kError, _, HasSubstr("no std::exception")));
  EXPECT_CALL(log, Log(absl::LogSeverity::kError, _, HasSubstr("has thrown end")));
  // Not overridden: logs.
  EXPECT_CALL(log,
              Log(absl::LogSeverity::kError, _,
                  AllOf(HasSubstr("the destructor"), HasSubstr("Thrower"), HasSubstr("at last"))));
  log.StartCapturingLogs();
  Collect(c);
  EXPECT_EQ(faulty.code, absl::StatusCode::kFailedPrecondition);
  Ptr<Thrower> thrower = MakePtr<Thrower>();
  thrower->armed = true;
  thrower = nullptr;
  EXPECT_EQ(c.alive(), 0);
}

TEST(ListenerTest, DetectionsSayWhatTheyFindOnRequest) {
  Book book;
  absl::ScopedMockLog log;
  Counting c;
  Ring(book, 1, 1);
  c.domain.SetDebug({.stats = true, .collectable = true});
  EXPECT_CALL(log, Log(absl::LogSeverity::kInfo, _, HasSubstr("1 collected, 1 finalized")));
  EXPECT_CALL(log, Log(absl::LogSeverity::kInfo, _, HasSubstr("is finalized: ")));
  EXPECT_CALL(log, Log(absl::LogSeverity::kInfo, _, HasSubstr("is destroyed: ")));
  log.StartCapturingLogs();
  Collect(c);
  EXPECT_CALL(log, Log(absl::LogSeverity::kInfo, _, HasSubstr("is kept: ")));
  c.domain.SetDebug({.uncollectable = true, .save_all = true});
  Ring(book, 2, 1);
  Collect(c);
  EXPECT_CALL(log, Log(absl::LogSeverity::kWarning, _, HasSubstr("1 objects in its list")));
  EXPECT_CALL(log, Log(absl::LogSeverity::kWarning, _, HasSubstr("in cycles")));
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
