// Domains with Stores::kCoalesced. The differential test is counting_model_test.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "heap/rc/coalescer.h"
#include "heap/rc/counted_for_test.h"

template <>
inline constexpr bool ebb::kTriviallyRelocatable<std::optional<ebb::rc::Field<ebb::rc::Link>>> =
    true;

namespace ebb::rc {
namespace {

using internal::this_threads_log;

constexpr DomainOptions kCoalescedDomain = {.stores = Stores::kCoalesced};

struct CoalescingTest : testing::Test, Counting {
  CoalescingTest() : Counting(kCoalescedDomain) {
    // Large objects are logged in every collector: young ones are not.
    static_assert(sizeof(Board) > 32 << 10);
  }

  struct Board {
    std::array<Field<Link>, 5000> fields;
  };

  Ptr<Link> Make(int64_t value) { return MakePtr<Link>(nullptr, nullptr, value); }
  void EndEpoch() {
    while (owner.Step()) {
    }
  }
};

TEST_F(CoalescingTest, StoresAreCountedAtTheEpochsEnd) {
  const Ptr<Board> board = MakePtr<Board>();
  const Ptr<Link> a = Make(1), b = Make(2), c = Make(3);
  Field<Link>& field = board->fields[7];
  field = a;
  field = b;
  field = c;
  EXPECT_EQ(a.use_count(), 1);
  EXPECT_EQ(b.use_count(), 1);
  EXPECT_EQ(c.use_count(), 1);
  EndEpoch();
  EXPECT_EQ(a.use_count(), 1);
  EXPECT_EQ(b.use_count(), 1);
  EXPECT_EQ(c.use_count(), 2);
  board->fields[7] = a;
  board->fields[8] = b;
  board->fields[8] = nullptr;
  EXPECT_EQ(c.use_count(), 2);
  EndEpoch();
  EXPECT_EQ(a.use_count(), 2);
  EXPECT_EQ(b.use_count(), 1);
  EXPECT_EQ(c.use_count(), 1);
}

TEST_F(CoalescingTest, OnlyTheFirstStoreIsLogged) {
  const Ptr<Board> board = MakePtr<Board>();
  const Ptr<Link> link = Make(1);
  for (int i = 0; i < 10'000; ++i) board->fields[7] = link;
  EXPECT_FALSE(this_threads_log->empty());
  EXPECT_FALSE(this_threads_log->is_due());
  EXPECT_EQ(link.use_count(), 1);
  EndEpoch();
  EXPECT_TRUE(this_threads_log->empty());
  EXPECT_EQ(link.use_count(), 2);
}

TEST_F(CoalescingTest, AFullLogCounts) {
  const Ptr<Board> board = MakePtr<Board>();
  const Ptr<Link> link = Make(1);
  for (Field<Link>& field : board->fields) field = link;
  EXPECT_TRUE(this_threads_log->is_due());
  EXPECT_EQ(link.use_count(), 1 + 5000 - int64_t{internal::StoreLog::kEntries});
  EndEpoch();
  EXPECT_EQ(link.use_count(), 1 + 5000);
  // MakePtr ends the epoch, too.
  for (Field<Link>& field : board->fields) field = nullptr;
  for (int i = 0; i < 64; ++i) MakePtr<Link>();
  EXPECT_TRUE(this_threads_log->empty());
  EXPECT_EQ(link.use_count(), 1);
}

TEST_F(CoalescingTest, ObjectsDieAtTheEpochsEnd) {
  std::vector<int64_t> log;
  Ptr<Witness> root = MakePtr<Witness>(nullptr, nullptr, &log, 1);
  root->left = MakePtr<Witness>(nullptr, nullptr, &log, 2);
  root->left->left = MakePtr<Witness>(nullptr, nullptr, &log, 3);
  root = nullptr;
  EXPECT_TRUE(log.empty());
  EXPECT_FALSE(owner.Step());
  EXPECT_EQ(log, std::vector<int64_t>({1, 2, 3}));
}

// One pause, and no recursion.
TEST_F(CoalescingTest, ALongListGoesInOneEpoch) {
  const int64_t length = Many(100'000);
  Ptr<Link> head;
  for (int64_t i = 0; i < length; ++i) {
    Ptr<Link> link = MakePtr<Link>(nullptr, nullptr, i);
    link->next = std::move(head);
    head = std::move(link);
  }
  EndEpoch();
  EXPECT_EQ(alive(), length);
  head = nullptr;
  EXPECT_EQ(alive(), length);
  EXPECT_FALSE(owner.Step());
  EXPECT_EQ(alive(), 0);
}

TEST_F(CoalescingTest, MakePtrEndsEpochsWhereMuchSeemsDead) {
  for (int i = 0; i < 6'000; ++i) MakePtr<Link>();
  EXPECT_LT(alive(), 4'000);
}

// Its count is zero until the epoch's end.
TEST_F(CoalescingTest, WhatOnlyAFieldRefersToLives) {
  const Ptr<Board> board = MakePtr<Board>();
  for (int64_t i = 0; i < 100; ++i) board->fields[i] = Make(i);
  ASSERT_TRUE(heap->Collect().ok());
  EndEpoch();
  ASSERT_TRUE(heap->Collect().ok());
  for (int64_t i = 0; i < 100; ++i) ASSERT_EQ(board->fields[i]->value, i);
  EXPECT_EQ(alive(), 101);
}

// Cycles end epochs as they begin, whatever moves in them.
TEST_F(CoalescingTest, ObjectsMoveBetweenStores) {
  const Ptr<Link> root = Make(0);
  for (int64_t i = 1; i <= 50; ++i) {
    root->next = Make(i);
    if (i % 3 == 0) {
      ASSERT_TRUE(heap->Collect().ok());
    }
    root->next->other = root->next;
    if (i % 4 == 0) {
      ASSERT_TRUE(heap->Verify().ok());
    }
    root->next->other = nullptr;
    ASSERT_EQ(root->next->value, i);
  }
  EndEpoch();
  EXPECT_EQ(alive(), 2);
  EXPECT_EQ(root->next.use_count(), 1);
}

// What an rc::Local names may be stored by it alone, and lose the Local at once.
TEST_F(CoalescingTest, StoredFromALocal) {
  const Ptr<Board> board = MakePtr<Board>();
  {
    Ptr<Link> link = Make(5);
    const Local<Link> local(owner, link);
    link = nullptr;
    EndEpoch();
    EXPECT_EQ(local->value, 5);
    board->fields[3] = local;
  }
  EndEpoch();
  EXPECT_EQ(alive(), 2);
  EXPECT_EQ(board->fields[3]->value, 5);
  board->fields[3] = nullptr;
  EndEpoch();
  EXPECT_EQ(alive(), 1);
}

// A Field that another thread has logged.
TEST_F(CoalescingTest, ThreadsStoreInTurn) {
  const Ptr<Board> board = MakePtr<Board>();
  const Ptr<Link> a = Make(1), b = Make(2);
  board->fields[0] = a;
  RunOwner(*this, [&] { board->fields[0] = b; });
  RunThread(*this, [&] {
    Mutator second(*heap);  // and no Owner
    board->fields[0] = a;
    board->fields[0] = b;
    board->fields[1] = b;  // counted
  });
  EXPECT_EQ(board->fields[1].get(), board->fields[0].get());
  EndEpoch();
  EXPECT_EQ(a.use_count(), 1);
  EXPECT_EQ(b.use_count(), 3);
}

// It ends the epoch, or leaves its log to the next pause.
TEST_F(CoalescingTest, AThreadLeaves) {
  const Ptr<Board> board = MakePtr<Board>();
  const Ptr<Link> a = Make(1);
  RunOwner(*this, [&] {
    for (Field<Link>& field : board->fields) field = a;
  });
  EndEpoch();
  EXPECT_EQ(a.use_count(), 5001);
  RunThread(*this, [&] {
    Mutator second(*heap);
    const NoSafepoint scope(second);  // the Owner goes without one
    Owner other(domain, second);
    for (Field<Link>& field : board->fields) field = nullptr;
  });
  EndEpoch();
  EXPECT_EQ(a.use_count(), 1);
}

// Another domain's objects are counted at once, whether the Field is logged or not.
TEST_F(CoalescingTest, AnotherDomainsObjects) {
  Counting foreign;  // the newest Owner
  const Ptr<Board> board = [&] {
    Owner again(domain, mutator);
    return MakePtr<Board>();
  }();
  std::vector<Ptr<Link>> own;
  {
    Owner again(domain, mutator);
    own = {Make(1), Make(2)};
  }
  Ptr<Link> guest = MakePtr<Link>(nullptr, nullptr, 3);
  Field<Link>& field = board->fields[0];
  field = guest;  // not logged
  EXPECT_EQ(guest.use_count(), 2);
  field = own[0];  // counted: it refers to another's
  EXPECT_EQ(guest.use_count(), 1);
  EXPECT_EQ(own[0].use_count(), 2);
  field = own[1];  // logged
  EXPECT_EQ(own[1].use_count(), 1);
  field = guest;
  EXPECT_EQ(guest.use_count(), 2);
  field = guest;
  EXPECT_EQ(guest.use_count(), 2);
  field = own[0];
  EXPECT_EQ(guest.use_count(), 1);
  field = std::move(guest);
  EXPECT_EQ(foreign.alive(), 1);
  EndEpoch();
  EXPECT_EQ(own[0].use_count(), 1);
  EXPECT_EQ(own[1].use_count(), 1);
  EXPECT_EQ(foreign.alive(), 1);
  board->fields[0] = nullptr;
  EXPECT_EQ(foreign.alive(), 0);
}

struct Throws {
  std::array<Field<Link>, 5000> fields;
  Throws(const Ptr<Link>& a, const Ptr<Link>& b) {
    fields[0] = a;
    fields[0] = b;
    fields[1] = a;
    throw std::runtime_error("no");
  }
  EBB_FIELDS(Throws, fields)
};

TEST_F(CoalescingTest, AConstructorThrows) {
  const Ptr<Link> a = Make(1), b = Make(2);
  EXPECT_THROW(MakePtr<Throws>(a, b), std::runtime_error);
  EndEpoch();
  EXPECT_EQ(a.use_count(), 1);
  EXPECT_EQ(b.use_count(), 1);
  EXPECT_EQ(alive(), 2);
}

// A Field that goes within an epoch, and another one in its place.
struct Cage {
  std::optional<Field<Link>> one;
  std::array<int64_t, 6000> large = {};
};

TEST_F(CoalescingTest, FieldsComeAndGo) {
  const Ptr<Cage> cage = MakePtr<Cage>();
  const Ptr<Link> a = Make(1), b = Make(2), c = Make(3);
  cage->one.emplace(c);
  EndEpoch();
  *cage->one = a;
  cage->one.reset();
  cage->one.emplace(b);
  EndEpoch();
  EXPECT_EQ(a.use_count(), 1);
  EXPECT_EQ(b.use_count(), 2);
  EXPECT_EQ(c.use_count(), 1);
  *cage->one = a;
  cage->one.reset();
  cage->one.emplace(c);
  *cage->one = b;  // logged once more
  EndEpoch();
  EXPECT_EQ(a.use_count(), 1);
  EXPECT_EQ(b.use_count(), 2);
  EXPECT_EQ(c.use_count(), 1);
  *cage->one = a;
  cage->one.reset();
  EndEpoch();
  EXPECT_EQ(a.use_count(), 1);
  EXPECT_EQ(b.use_count(), 1);
  EXPECT_EQ(alive(), 4);
}

TEST_F(CoalescingTest, CyclesAreFound) {
  for (int i = 0; i < 100; ++i) {
    Ptr<Link> a = Make(1);
    a->next = Make(2);
    a->next->next = a;
  }
  const Ptr<Link> kept = Make(3);
  kept->next = Make(4);
  kept->next->next = kept;
  EXPECT_EQ(Collect(*this).collected, 200);
  EXPECT_EQ(alive(), 2);
  EXPECT_EQ(kept->next->value, 4);
  kept->next->next = nullptr;
}

TEST_F(CoalescingTest, QuestionsSeeWhatIsStored) {
  const Ptr<Link> a = Make(1), b = Make(2);
  a->next = b;
  absl::StatusOr<std::vector<AnyPtr>> referrers = domain.Referrers({b});
  ASSERT_TRUE(referrers.ok()) << referrers.status();
  ASSERT_EQ(referrers->size(), 1u);
  EXPECT_EQ((*referrers)[0], a);
}

TEST_F(CoalescingTest, ResizeSeesWhatIsStored) {
  const Ptr<Board> board = MakePtr<Board>();
  Ptr<Link> link = MakePtrWithBytes<Link>(8);
  board->fields[0] = link;
  EXPECT_TRUE(absl::IsFailedPrecondition(Resize(link, 100)));
  board->fields[0] = nullptr;
  EXPECT_TRUE(Resize(link, 100).ok());
}

TEST_F(CoalescingTest, WeaksOfWhatSeemsDead) {
  const Ptr<Board> board = MakePtr<Board>();
  Ptr<Link> link = Make(1);
  const Weak<Link> weak = link;
  board->fields[0] = std::move(link);
  EXPECT_EQ(link, nullptr);
  EXPECT_EQ(weak.Upgrade()->value, 1);
  board->fields[0] = nullptr;
  EndEpoch();
  EXPECT_EQ(weak.Upgrade(), nullptr);
}

TEST_F(CoalescingTest, LazyDomainsDestroyAFewAtATime) {
  Counting lazy({.reclaim = Reclaim::kLazy, .stores = Stores::kCoalesced});
  Ptr<Link> head;
  for (int64_t i = 0; i < 1'000; ++i) {
    Ptr<Link> link = MakePtr<Link>(nullptr, nullptr, i);
    link->next = std::move(head);
    head = std::move(link);
  }
  head = nullptr;
  EXPECT_TRUE(lazy.owner.Step(10));
  EXPECT_GT(lazy.alive(), 900);
  while (lazy.owner.Step(10)) {
  }
  EXPECT_EQ(lazy.alive(), 0);
}

TEST(CoalescedDomainTest, GoesWithWhatIsLogged) {
  std::vector<int64_t> log;
  {
    Counting c(kCoalescedDomain);
    {
      Domain eager(*c.heap);
      Owner owner(eager, c.mutator);
      MakePtr<Witness>(nullptr, nullptr, &log, 1);
    }
    const Ptr<Witness> a = MakePtr<Witness>(nullptr, nullptr, &log, 2);
    a->left = MakePtr<Witness>(nullptr, nullptr, &log, 3);
  }
  std::ranges::sort(log);
  EXPECT_EQ(log, std::vector<int64_t>({1, 2, 3}));
}

// The last Owner goes where it may not stop.
TEST(CoalescedDomainTest, DestroysWhatWasLoggedAtTheEnd) {
  struct Board {
    std::array<Field<Witness>, 5000> fields;
  };
  const std::unique_ptr<Heap> heap =
      NewHeap(Options{.collector = CollectorUnderTest(), .field_logging = true});
  Mutator mutator(*heap);
  std::vector<int64_t> log;
  {
    Domain domain(*heap, kCoalescedDomain);
    Ptr<Board> board;
    {
      Owner owner(domain, mutator);
      board = MakePtr<Board>();
      board->fields[0] = MakePtr<Witness>(nullptr, nullptr, &log, 1);
    }
    {
      const NoSafepoint scope(mutator);
      Owner owner(domain, mutator);
      board->fields[0] = nullptr;  // the last reference
    }
    EXPECT_TRUE(log.empty());
    board = nullptr;
  }
  EXPECT_EQ(log, std::vector<int64_t>({1}));
}

TEST(CoalescedDomainTest, MisuseIsTold) {
  const std::unique_ptr<Heap> plain = NewHeap(Options{.read_environment = false});
  EXPECT_THROW(Domain(*plain, kCoalescedDomain), MisuseError);
  Counting c(kCoalescedDomain);
  EXPECT_THROW(Domain(*c.heap, kCoalescedDomain), MisuseError);
  Domain eager(*c.heap);
  NoSafepoint scope(c.mutator);
  EXPECT_FALSE(c.domain.Collect().ok());
  EXPECT_FALSE(c.owner.Step());
}

}  // namespace
}  // namespace ebb::rc
