#include "heap/rc/ptr.h"

#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"

namespace ebb::rc {
namespace {

static_assert(sizeof(Ptr<Link>) == 8 && sizeof(Field<Link>) == 8);
static_assert(Managed<internal::Counted<Witness>>, "a counted object may have a destructor");
static_assert(!Managed<Witness> && !Managed<Link>, "a traced object may not count");

void MakePtrs(int count) {
  for (int i = 0; i < count; ++i) MakePtr<Link>();
}

TEST(PtrTest, DestroyedBeforeTheNextStatement) {
  Counting c;
  std::vector<int64_t> log;
  {
    Ptr<Witness> a = MakePtr<Witness>(nullptr, nullptr, &log, 1);
    Ptr<Witness> b = a;
    EXPECT_EQ(a.use_count(), 2);
    EXPECT_EQ(a, b);
    a = nullptr;
    EXPECT_TRUE(log.empty());
    EXPECT_EQ(b->name, 1);
    b = nullptr;
    EXPECT_EQ(log, std::vector<int64_t>({1}));
  }
  EXPECT_EQ(log.size(), 1u);
  EXPECT_EQ(c.alive(), 0);
}

// As by destructors that call each other, but for an object's own, which ends first: members go
// from last to first, and what hangs on one before the next.
TEST(PtrTest, DestroyedInOrder) {
  Counting c;
  std::vector<int64_t> log;
  auto make = [&log](int64_t name, Ptr<Witness> left, Ptr<Witness> right) {
    return MakePtr<Witness>(std::move(left), std::move(right), &log, name);
  };
  Ptr<Witness> left = make(2, make(3, nullptr, nullptr), make(4, nullptr, nullptr));
  Ptr<Witness> right = make(5, make(6, nullptr, nullptr), make(7, nullptr, nullptr));
  Ptr<Witness> root = make(1, std::move(left), std::move(right));
  EXPECT_EQ(left, nullptr);
  root = nullptr;
  EXPECT_EQ(log, std::vector<int64_t>({1, 5, 7, 6, 2, 4, 3}));
}

TEST(PtrTest, LazyDomainsBoundEachStep) {
  Counting c({.reclaim = Reclaim::kLazy});
  constexpr int64_t kLength = 1000;
  Ptr<Link> head;
  for (int64_t i = 0; i < kLength; ++i) head = MakePtr<Link>(std::move(head), nullptr, i);
  head = nullptr;
  EXPECT_EQ(c.alive(), kLength);
  EXPECT_TRUE(c.owner.Step(10));
  EXPECT_EQ(c.alive(), kLength - 10);
  EXPECT_TRUE(c.owner.Step(INT64_MAX, absl::ZeroDuration()));
  EXPECT_EQ(c.alive(), kLength - 10);
  Ptr<Link> other = MakePtr<Link>();
  EXPECT_LT(c.alive(), kLength - 10);
  EXPECT_FALSE(c.owner.Step());
  EXPECT_EQ(c.alive(), 1);
}

// References stay what they are while their objects move.
TEST(PtrTest, ObjectsMoveUnderTheirReferences) {
  Counting c;
  Ptr<Link> kept;
  for (int64_t i = 0; i < 100; ++i) {
    kept = MakePtr<Link>(std::move(kept), nullptr, i);
    MakePtr<Link>(kept, nullptr, -1);  // garbage between them
  }
  for (int cycle = 0; cycle < 3; ++cycle) {
    ASSERT_TRUE(c.heap->Collect().ok());
    int64_t i = 99;
    for (const internal::Reference<Link>* link = &kept; *link; link = &(*link)->next) {
      ASSERT_EQ((*link)->value, i--);
    }
    ASSERT_EQ(i, -1);
  }
  EXPECT_EQ(c.alive(), 100);
  ASSERT_TRUE(c.heap->Verify().ok());
}

struct Holder {
  ebb::Field<Node> traced;
  Field<Link> counted;
};

// A counted object's traced Fields keep their objects alive until it is destroyed.
TEST(PtrTest, CountedObjectsHoldTracedOnes) {
  Counting c;
  Ptr<Link> link = MakePtr<Link>();
  Ptr<Holder> holder = MakePtr<Holder>(c.mutator.New<Node>(nullptr, nullptr, 5), std::move(link));
  ASSERT_TRUE(c.heap->Collect().ok());
  EXPECT_EQ(holder->traced->value, 5);
  holder->traced = c.mutator.New<Node>(nullptr, nullptr, 6);
  ASSERT_TRUE(c.heap->Collect().ok());
  EXPECT_EQ(holder->traced->value, 6);
  EXPECT_EQ(c.alive(), 2);
  holder = nullptr;
  EXPECT_EQ(c.alive(), 0);
}

struct Base {
  int64_t of_base = 1;
};
struct Derived : Base {
  int64_t of_derived = 2;
  EBB_FIELDS(Derived, of_base, of_derived)
};

TEST(PtrTest, DerivedToBase) {
  Counting c;
  Ptr<Derived> derived = MakePtr<Derived>();
  Ptr<Base> base = derived;
  EXPECT_EQ(base->of_base, 1);
  EXPECT_EQ(derived.use_count(), 2);
  base = std::move(derived);
  EXPECT_EQ(base.use_count(), 1);
  base = nullptr;
  EXPECT_EQ(c.alive(), 0);
}

TEST(PtrTest, ImmortalObjectsAreNotCounted) {
  Counting c;
  Ptr<Link> link = MakePtr<Link>();
  link.MakeImmortal();
  {
    std::vector<Ptr<Link>> copies(100, link);
    std::thread([&copies] { copies.clear(); }).join();
  }
  Link* object = link.get();
  link = nullptr;
  EXPECT_EQ(object->value, 0);
  EXPECT_EQ(c.alive(), 1);
}

TEST(PtrTest, AThreadWithoutAnOwnerIsTold) {
  Counting c;
  std::thread([&c] {
    EXPECT_THROW(MakePtr<Link>(), MisuseError);
    EXPECT_THROW(Owner(c.domain, c.mutator), MisuseError);
    std::unique_ptr<Heap> other = NewHeap();
    Mutator mutator(*other);
    EXPECT_THROW(Owner(c.domain, mutator), MisuseError);
  }).join();
}

// References dropped by other threads: by one that has no Mutator even the last.
TEST(PtrTest, DroppedByOtherThreads) {
  Counting c;
  std::vector<int64_t> log;
  Ptr<Witness> kept = MakePtr<Witness>(nullptr, nullptr, &log, 1);
  Ptr<Witness> handed_over = MakePtr<Witness>(nullptr, nullptr, &log, 2);
  std::thread([&kept, taken = std::move(handed_over)]() mutable {
    Ptr<Witness> copy = kept;
    copy = taken;
    taken = nullptr;
  }).join();
  EXPECT_TRUE(log.empty());
  EXPECT_FALSE(c.owner.Step());
  EXPECT_EQ(log, std::vector<int64_t>({2}));
  EXPECT_EQ(kept.use_count(), 1);
}

// A Field that is an argument may move with its object at MakePtr's safepoint.
TEST(PtrTest, ArgumentsMayLieInObjects) {
  Counting c;
  Ptr<Link> head = MakePtr<Link>(nullptr, nullptr, 0);
  for (int64_t i = 1; i <= 40; ++i) {
    if (i % 2 == 0) {
      head->next = MakePtr<Link>(head->next, nullptr, i);
    } else {
      head->next = MakePtr<Link>(std::move(head->next), nullptr, i);
    }
  }
  Ptr<Link> link = head->next;
  EXPECT_EQ(link.use_count(), 2);
  for (int64_t i = 40; i >= 1; --i, link = link->next) ASSERT_EQ(link->value, i);
  EXPECT_EQ(link, nullptr);
  head = nullptr;
  EXPECT_EQ(c.alive(), 0);
}

struct Throws {
  Field<Link> held;
  explicit Throws(Ptr<Link> link) : held(std::move(link)) { throw std::runtime_error("no"); }
  EBB_FIELDS(Throws, held)
};

TEST(PtrTest, AConstructorMayThrow) {
  Counting c;
  EXPECT_THROW(MakePtr<Throws>(MakePtr<Link>()), std::runtime_error);
  EXPECT_EQ(c.alive(), 0);
  ASSERT_TRUE(c.heap->Collect().ok());
}

struct DropsLoudly {
  int64_t value = 0;
  ~DropsLoudly() noexcept(false) {
    if (value != 0) throw std::runtime_error("no");
  }
};

TEST(PtrTest, ADestructorMayThrow) {
  Counting c;
  Ptr<DropsLoudly> loud = MakePtr<DropsLoudly>(1);
  loud = nullptr;
  EXPECT_EQ(c.alive(), 0);
}

TEST(PtrTest, MisuseIsTold) {
  Counting c;
  {
    NoSafepoint scope(c.mutator);
    EXPECT_THROW(MakePtrs(20'000), MisuseError);  // where a safepoint would really happen
  }
  {
    Blocking scope(c.mutator);
    EXPECT_THROW(MakePtr<Link>(), MisuseError);
    EXPECT_THROW(Owner(c.domain, c.mutator), MisuseError);
  }
  {
    Mutator second(*c.heap);
    EXPECT_THROW(Owner(c.domain, c.mutator), MisuseError);
    Owner owner(c.domain, second);
    EXPECT_EQ(MakePtr<Link>(nullptr, nullptr, 3)->value, 3);
  }
  EXPECT_FALSE(c.owner.Step());
  EXPECT_EQ(c.alive(), 0);
}

// When memory runs out: reclaim_test.
TEST(PtrTest, TryMakePtrHasAStatus) {
  Counting c;
  absl::StatusOr<Ptr<Link>> made = TryMakePtr<Link>(nullptr, nullptr, 3);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ((*made)->value, 3);
  {
    Blocking scope(c.mutator);
    EXPECT_EQ(TryMakePtr<Link>().status().code(), absl::StatusCode::kFailedPrecondition);
  }
  std::thread([] {
    EXPECT_EQ(TryMakePtr<Link>().status().code(), absl::StatusCode::kFailedPrecondition);
  }).join();
  EXPECT_EQ(c.alive(), 1);
}

TEST(PtrTest, KeysOfContainers) {
  Counting c;
  const Ptr<Link> a = MakePtr<Link>();
  const Ptr<Link> b = MakePtr<Link>();
  const std::unordered_map<Ptr<Link>, int> hashed = {{a, 1}, {b, 2}};
  const std::map<Ptr<Link>, int> sorted = {{a, 1}, {b, 2}, {nullptr, 3}};
  const absl::flat_hash_map<Ptr<Link>, int> flat = {{a, 1}, {b, 2}};
  ASSERT_TRUE(c.heap->Collect().ok());  // objects move, and keys stay
  EXPECT_EQ(hashed.at(Ptr<Link>(b)), 2);
  EXPECT_EQ(sorted.at(a), 1);
  EXPECT_EQ(sorted.at(nullptr), 3);
  EXPECT_EQ(flat.at(b), 2);
}

// Threads that drop the last references, and a domain that goes meanwhile.
TEST(PtrTest, ADomainGoesWhileReferencesAreDropped) {
  std::unique_ptr<Heap> heap = NewHeap();
  for (int round = 0; round < 20; ++round) {
    std::vector<std::thread> threads;
    {
      Mutator mutator(*heap);
      Domain domain(*heap);
      Owner owner(domain, mutator);
      for (int i = 0; i < 4; ++i) threads.emplace_back([link = MakePtr<Link>()] {});
    }
    for (std::thread& thread : threads) thread.join();
  }
}

// What a thread owned outlives it; who drops it last destroys it, or takes its owner's place.
TEST(PtrTest, OutlivesItsOwner) {
  Counting c;
  std::vector<int64_t> log;
  std::vector<Ptr<Witness>> left;
  RunThread(c, [&] {
    Mutator mutator(*c.heap);
    Owner owner(c.domain, mutator);
    for (int64_t i = 0; i < 10; ++i) {
      left.push_back(MakePtr<Witness>(nullptr, nullptr, &log, i));
    }
  });
  left.erase(left.begin());
  EXPECT_EQ(log, std::vector<int64_t>({0}));
  // Another thread, which may have its index.
  RunThread(c, [&] {
    Mutator mutator(*c.heap);
    Owner owner(c.domain, mutator);
    left.erase(left.begin());
    EXPECT_EQ(log, std::vector<int64_t>({0, 1}));
  });
  left.clear();
  EXPECT_EQ(log.size(), 10u);
}

TEST(PtrTest, ReadsAsNullWhenItsDomainHasGone) {
  std::unique_ptr<Heap> heap = NewHeap();
  Mutator mutator(*heap);
  Ptr<Link> left, copy;
  {
    Domain domain(*heap);
    Owner owner(domain, mutator);
    left = MakePtr<Link>();
    copy = left;
  }
  EXPECT_EQ(left.get(), nullptr);
  ASSERT_TRUE(heap->Collect().ok());
  copy = nullptr;
  EXPECT_EQ(left.get(), nullptr);
}

// A thread in a Blocking scope must not touch the heap: what it drops is destroyed later.
TEST(PtrTest, NothingIsDestroyedInABlockingScope) {
  Counting c;
  Ptr<Link> link = MakePtr<Link>();
  {
    Blocking scope(c.mutator);
    link = nullptr;
    EXPECT_FALSE(c.owner.Step());  // nothing that could be done here, that is
    EXPECT_EQ(c.alive(), 1);
  }
  EXPECT_FALSE(c.owner.Step());
  EXPECT_EQ(c.alive(), 0);
}

// Two heaps, two domains, one thread.
TEST(PtrTest, DomainsAreApart) {
  Counting a;
  Ptr<Link> of_a = MakePtr<Link>();
  {
    Counting b;
    Ptr<Link> of_b = MakePtr<Link>();
    EXPECT_EQ(a.alive(), 1);
    EXPECT_EQ(b.alive(), 1);
    of_a = nullptr;
    EXPECT_EQ(a.alive(), 0);
  }
  Ptr<Link> again = MakePtr<Link>();
  EXPECT_EQ(a.alive(), 1);
}

}  // namespace
}  // namespace ebb::rc
