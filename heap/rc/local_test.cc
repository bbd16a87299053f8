#include "heap/rc/local.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/hash/hash.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"

namespace ebb::rc {
namespace {

struct Derived : Link {
  int64_t more = 0;

  EBB_FIELDS(Derived, next, other, value, more)
};

static_assert(!std::is_convertible_v<Local<Link>, Local<Derived>>);
static_assert(!std::is_convertible_v<Local<Link>, Ptr<Derived>>);

TEST(RcLocalTest, NamesWithoutCounting) {
  Counting c;
  const Ptr<Derived> derived = MakePtr<Derived>();
  derived->value = 3;
  Local<Derived> local(c.owner, derived);
  Local<Link> base(c.owner, local);
  Local<Link> copy = base;
  Local<Link> null(c.owner);
  EXPECT_EQ(derived.use_count(), 1);
  EXPECT_EQ(copy->value, 3);
  EXPECT_EQ((*copy).value, 3);
  EXPECT_EQ(copy, local);
  EXPECT_EQ(copy, derived);
  EXPECT_NE(copy, null);
  EXPECT_EQ(null, nullptr);
  EXPECT_EQ(null.get(), nullptr);
  EXPECT_FALSE(null);
  const Ptr<Link> counted = copy;
  EXPECT_EQ(derived.use_count(), 2);
  const Ptr<Link> next = MakePtr<Link>(copy, local);
  EXPECT_EQ(next->other, derived);
  null = derived;
  copy = nullptr;
  EXPECT_EQ(null->value, 3);
  EXPECT_EQ(copy, nullptr);
}

TEST(RcLocalTest, KeepsWhatNothingElseRefersTo) {
  Counting c;
  std::vector<int64_t> log;
  Weak<Witness> weak;
  {
    Ptr<Witness> witness = MakePtr<Witness>(nullptr, nullptr, &log, 1);
    weak = witness;
    const Local<Witness> local(c.owner, witness);
    witness = nullptr;
    ASSERT_TRUE(c.heap->Collect().ok());
    c.owner.Step();
    Collect(c);
    EXPECT_EQ(log.size(), 0u);
    EXPECT_EQ(local->name, 1);
    EXPECT_EQ(weak.Upgrade(), local);
    c.owner.Step();
  }
  EXPECT_EQ(log.size(), 0u);
  c.owner.Step();
  EXPECT_EQ(log, std::vector<int64_t>{1});
  EXPECT_EQ(weak.Upgrade(), nullptr);
}

// A list that only the Local keeps: each of its objects but the first has a count.
TEST(RcLocalTest, FollowsAList) {
  Counting c;
  constexpr int64_t kLength = 1000;
  Ptr<Link> head;
  for (int64_t i = kLength; i-- > 0;) head = MakePtr<Link>(std::move(head), nullptr, i);
  {
    const Local<Link> first(c.owner, head);
    head = nullptr;
    Local<Link> at(c.owner, first);
    for (int64_t i = 0; i < kLength; ++i, at = at->next) {
      EXPECT_EQ(at->value, i);
      if (i % 100 == 0) {
        ASSERT_TRUE(c.heap->Collect().ok());
      }
    }
    EXPECT_EQ(at, nullptr);
    c.owner.Step();
    EXPECT_EQ(c.alive(), kLength);
  }
  c.owner.Step();
  EXPECT_EQ(c.alive(), 0);
}

// What has been passed goes: only the place in the list is named.
TEST(RcLocalTest, LeavesWhatItHasPassed) {
  Counting c;
  Ptr<Link> head;
  for (int i = 0; i < 10; ++i) head = MakePtr<Link>(std::move(head));
  Local<Link> at(c.owner, head);
  head = nullptr;
  for (int64_t left = 10; left > 0; --left) {
    c.owner.Step();
    EXPECT_EQ(c.alive(), left);
    at = at->next;
  }
  c.owner.Step();
  EXPECT_EQ(c.alive(), 0);
}

TEST(RcLocalTest, AReferenceMadeFromItCounts) {
  Counting c;
  Ptr<Link> link = MakePtr<Link>();
  Ptr<Link> again;
  {
    const Local<Link> local(c.owner, link);
    link = nullptr;
    again = local;
    EXPECT_EQ(again.use_count(), 1);
    again = nullptr;
    again = local;
  }
  c.owner.Step();
  EXPECT_EQ(c.alive(), 1);
  again = nullptr;
  EXPECT_EQ(c.alive(), 0);
}

TEST(RcLocalTest, KeepsACycle) {
  Counting c;
  {
    Ptr<Link> link = MakePtr<Link>();
    link->next = MakePtr<Link>(link);
    link->next->value = 5;
    const Local<Link> local(c.owner, link);
    link = nullptr;
    EXPECT_EQ(Collect(c).collected, 0);
    // By way of the other.
    Local<Link> other(c.owner, local->next);
    EXPECT_EQ(Collect(c).collected, 0);
    EXPECT_EQ(other->value, 5);
  }
  EXPECT_EQ(Collect(c).collected, 2);
}

TEST(RcLocalTest, KeepsACycleThatItsObjectLeadsTo) {
  Counting c;
  {
    Ptr<Link> link = MakePtr<Link>();
    link->next = MakePtr<Link>();
    link->next->next = MakePtr<Link>(link->next);
    const Local<Link> local(c.owner, link);
    link = nullptr;
    EXPECT_EQ(Collect(c).collected, 0);
    EXPECT_EQ(c.alive(), 3);
    EXPECT_EQ(local->next->next->next, local->next);
  }
  c.owner.Step();
  EXPECT_EQ(c.alive(), 2);
  EXPECT_EQ(Collect(c).collected, 2);
}

TEST(RcLocalTest, SomeMayOutliveNewerOnes) {
  Counting c;
  std::vector<std::unique_ptr<Local<Link>>> locals;
  for (int64_t i = 0; i < 20; ++i) {
    const Ptr<Link> link = MakePtr<Link>(nullptr, nullptr, i);
    locals.push_back(std::make_unique<Local<Link>>(c.owner, link));
  }
  for (size_t i = 0; i < locals.size(); i += 2) locals[i] = nullptr;
  const Ptr<Link> last = MakePtr<Link>(nullptr, nullptr, 20);
  std::optional<Local<Link>> newest(std::in_place, c.owner, last);
  for (size_t i = 1; i < 10; i += 2) locals[i] = nullptr;
  newest.reset();
  c.owner.Step();
  EXPECT_EQ(c.alive(), 6);
  for (size_t i = 11; i < 20; i += 2) EXPECT_EQ((*locals[i])->value, static_cast<int64_t>(i));
  locals.clear();
  c.owner.Step();
  EXPECT_EQ(c.alive(), 1);
}

// An older one takes over what only a newer one leads to.
TEST(RcLocalTest, AnOlderOneIsAssigned) {
  Counting c;
  Local<Link> older(c.owner);
  {
    Ptr<Link> link = MakePtr<Link>();
    link->next = MakePtr<Link>(nullptr, nullptr, 2);
    const Local<Link> newer(c.owner, link);
    link = nullptr;
    older = newer->next;
    older = newer;
    older = newer->next;
  }
  c.owner.Step();
  EXPECT_EQ(c.alive(), 1);
  EXPECT_EQ(older->value, 2);
  older = nullptr;
  c.owner.Step();
  EXPECT_EQ(c.alive(), 0);
}

TEST(RcLocalTest, TooManyCount) {
  Counting c;
  const Ptr<Link> link = MakePtr<Link>();
  std::vector<std::unique_ptr<Local<Link>>> locals;
  for (int i = 0; i < 300; ++i) locals.push_back(std::make_unique<Local<Link>>(c.owner, link));
  EXPECT_EQ(link.use_count(), 1 + 300 - 256);
  *locals.back() = nullptr;
  *locals.back() = *locals.front();
  EXPECT_EQ(*locals.back(), link);
  EXPECT_EQ(link.use_count(), 1 + 300 - 256);
  locals.clear();
  EXPECT_EQ(link.use_count(), 1);
  const Local<Link> again(c.owner, link);
  EXPECT_EQ(link.use_count(), 1);
}

TEST(RcLocalTest, AnotherDomainsObjectCounts) {
  Counting c;
  std::optional<Local<Link>> local;
  {
    Domain other(*c.heap);
    const Owner owner(other, c.mutator);
    const Ptr<Link> link = MakePtr<Link>();
    local.emplace(c.owner, link);
    EXPECT_EQ(link.use_count(), 2);
  }
  EXPECT_EQ(local->get(), nullptr);
  EXPECT_TRUE(*local);
  const Ptr<Link> own = MakePtr<Link>();
  *local = own;
  EXPECT_EQ(*local, own);
}

TEST(RcLocalTest, OtherReferencesAreMadeFromIt) {
  Counting c;
  const Ptr<Derived> derived = MakePtr<Derived>();
  const Local local(c.owner, derived);
  const Local<Link> base = local;
  const Weak<Link> weak = local;
  EXPECT_EQ(weak.Upgrade(), base);
  EXPECT_EQ(AnyPtr(base).As<Derived>(), derived);
  EXPECT_TRUE(Domain::IsTracked(local));
  EXPECT_TRUE(ExtraBytes(local).empty());
  int called = 0;
  {
    Ptr<Link> link = MakePtr<Link>();
    const WeakCallback callback(Local<Link>(c.owner, link), [&] { ++called; });
    link = nullptr;
    c.owner.Step();
    EXPECT_EQ(called, 1);
  }
  EXPECT_EQ(absl::HashOf(derived), absl::HashOf(Ptr<Derived>(local)));
}

// Misuse: what another thread makes of one counts, and what it ends is given up.
TEST(RcLocalTest, AnotherThreadUsesIt) {
  Counting c;
  const Ptr<Link> link = MakePtr<Link>(nullptr, nullptr, 7);
  {
    std::optional<Local<Link>> local(std::in_place, c.owner, link);
    const Local<Link> newer(c.owner, link);
    RunThread(c, [&c, &link, &local, captured = newer] {
      Mutator mutator(*c.heap);
      Local<Link> copy(captured);
      EXPECT_EQ(copy->value, 7);
      EXPECT_EQ(link->value, 7);
      copy = nullptr;
      copy = captured;
      local.reset();
      const Local<Link> by_its_owner(c.owner, copy);
      EXPECT_EQ(by_its_owner, link);
    });
    EXPECT_EQ(newer->value, 7);
  }
  EXPECT_EQ(link.use_count(), 1);
  // Its slots are used again, when the thread has come by.
  {
    const Local<Link> local(c.owner, link);
  }
  std::vector<std::unique_ptr<Local<Link>>> locals;
  for (int i = 0; i < 256; ++i) locals.push_back(std::make_unique<Local<Link>>(c.owner, link));
  EXPECT_EQ(link.use_count(), 1);
}

// Misuse. It is logged, and the object goes.
TEST(RcLocalTest, OutlivesItsOwner) {
  Counting c;
  std::optional<Local<Link>> local;
  RunThread(c, [&] {
    Mutator mutator(*c.heap);
    std::optional<Owner> owner(std::in_place, c.domain, mutator);
    local.emplace(*owner, MakePtr<Link>());
    EXPECT_NE(local->get(), nullptr);
    owner.reset();
    EXPECT_EQ(local->get(), nullptr);
    owner.emplace(c.domain, mutator);
    {
      const Local<Link> other(*owner, MakePtr<Link>());
      local.reset();
      EXPECT_NE(other.get(), nullptr);
    }
    // The newest one, and nobody else has a place.
    local.emplace(*owner, MakePtr<Link>());
    owner.reset();
    local.reset();
    owner.emplace(c.domain, mutator);
    const Local<Link> again(*owner, MakePtr<Link>());
    owner->Step();
    EXPECT_NE(again.get(), nullptr);
  });
  c.owner.Step();
  EXPECT_EQ(c.alive(), 0);
}

TEST(RcLocalTest, NestedOwnersShareThem) {
  Counting c;
  {
    std::optional<Owner> inner(std::in_place, c.domain, c.mutator);
    Ptr<Link> link = MakePtr<Link>();
    const Local<Link> local(c.owner, link);
    const Local<Link> same(*inner, link);
    link = nullptr;
    inner.reset();
    c.owner.Step();
    EXPECT_NE(local.get(), nullptr);
    EXPECT_EQ(local, same);
  }
  c.owner.Step();
  EXPECT_EQ(c.alive(), 0);
}

TEST(RcLocalTest, QuestionsFindWhatItNames) {
  Counting c;
  Ptr<Link> link = MakePtr<Link>();
  const Local<Link> local(c.owner, link);
  link = nullptr;
  const absl::StatusOr<std::vector<AnyPtr>> objects = c.domain.Objects();
  ASSERT_TRUE(objects.ok());
  ASSERT_EQ(objects->size(), 1u);
  EXPECT_EQ(objects->front(), Ptr<Link>(local));
}

TEST(RcLocalTest, AnotherThreadNamesIt) {
  Counting c;
  Ptr<Link> link = MakePtr<Link>(nullptr, nullptr, 7);
  absl::Notification named, dropped;
  std::thread other([&] {
    Mutator mutator(*c.heap);
    Owner owner(c.domain, mutator);
    {
      const Local<Link> local(owner, link);
      named.Notify();
      {
        const Blocking blocking(mutator);
        dropped.WaitForNotification();
      }
      EXPECT_EQ(local->value, 7);
      const Ptr<Link> counted = local;
      EXPECT_EQ(counted->value, 7);
    }
  });
  {
    const Blocking blocking(c.mutator);
    named.WaitForNotification();
  }
  link = nullptr;
  c.owner.Step();
  EXPECT_EQ(c.alive(), 1);
  dropped.Notify();
  {
    const Blocking blocking(c.mutator);
    other.join();
  }
  c.owner.Step();
  EXPECT_EQ(c.alive(), 0);
}

// What is new does not keep Step from looking at what is old.
TEST(RcLocalTest, StepLooksAtAll) {
  for (const DomainOptions& options : {DomainOptions{}, DomainOptions{.reclaim = Reclaim::kLazy},
                                       DomainOptions{.stores = Stores::kCoalesced}}) {
    std::vector<int64_t> log;
    Counting c(options);
    const auto make = [&](int64_t name) { return MakePtr<Witness>(nullptr, nullptr, &log, name); };
    Ptr<Witness> old = make(1);
    {
      const Local<Witness> local(c.owner, old);
      old = nullptr;
      for (int i = 0; i < 3; ++i) c.owner.Step();
      EXPECT_TRUE(log.empty());
    }
    make(2);
    c.owner.Step();
    EXPECT_EQ(log.size(), 2u);
  }
}

}  // namespace
}  // namespace ebb::rc
