#include "heap/rc/zero_count_lists.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"

namespace ebb::rc {
namespace {

// So many objects made are enough for a look at whatever waits.
constexpr int kMade = 64 * 4 * 4 * 4;

struct Final {
  Field<Final> self;
  std::vector<int64_t>* log = nullptr;

  static void Finalize(Ptr<Final> self) { self->log->push_back(1); }
  ~Final() {
    if (log != nullptr) log->push_back(2);
  }
};

TEST(ZeroCountListsTest, WhatNoneNamesIsDestroyedAtOnce) {
  Counting c;
  std::vector<int64_t> log;
  const Ptr<Witness> other = MakePtr<Witness>();
  const Local<Witness> local(c.owner, other);
  Ptr<Witness> root = MakePtr<Witness>(nullptr, nullptr, &log, 1);
  root->left = MakePtr<Witness>(nullptr, nullptr, &log, 2);
  root->right = MakePtr<Witness>(root->left, nullptr, &log, 3);
  root = nullptr;
  EXPECT_EQ(log, (std::vector<int64_t>{1, 3, 2}));
}

// What was named once may be in the list of those that wait when its last reference goes.
TEST(ZeroCountListsTest, WhatWasNamedIsDestroyedAtOnceToo) {
  Counting c;
  const Ptr<Link> root = MakePtr<Link>();
  {
    const Local<Link> named(c.owner, MakePtr<Link>());
    root->next = named;
  }
  EXPECT_EQ(c.alive(), 2);
  root->next = nullptr;
  EXPECT_EQ(c.alive(), 1);
  // By a destructor.
  {
    const Local<Link> named(c.owner, MakePtr<Link>());
    root->next = MakePtr<Link>(named);
  }
  root->next = nullptr;
  EXPECT_EQ(c.alive(), 1);
}

// Whether there are Locals or not.
TEST(ZeroCountListsTest, DestroyedInTheSameOrder) {
  std::vector<std::vector<int64_t>> logs(2);
  for (std::vector<int64_t>& log : logs) {
    Counting c;
    const Ptr<Witness> other = MakePtr<Witness>();
    std::optional<Local<Witness>> local;
    if (&log != logs.data()) local.emplace(c.owner, other);
    const auto make = [&](int64_t name, Ptr<Witness> left, Ptr<Witness> right) {
      return MakePtr<Witness>(std::move(left), std::move(right), &log, name);
    };
    Ptr<Witness> five = make(5, nullptr, nullptr);
    make(1, make(2, make(4, nullptr, nullptr), five), make(3, std::move(five), nullptr));
  }
  EXPECT_EQ(logs[0].size(), 5u);
  EXPECT_EQ(logs[0], logs[1]);
}

// However many wait that are named.
TEST(ZeroCountListsTest, WhatWaitsDoesNotPileUp) {
  for (const Reclaim reclaim : {Reclaim::kPrompt, Reclaim::kLazy}) {
    Counting c({.reclaim = reclaim});
    std::vector<std::unique_ptr<Local<Link>>> kept;
    for (int i = 0; i < 200; ++i) {
      kept.push_back(std::make_unique<Local<Link>>(c.owner, MakePtr<Link>()));
    }
    for (int i = 0; i < 100'000; ++i) {
      const Local<Link> local(c.owner, MakePtr<Link>());
      if (i % 1000 == 0) {
        ASSERT_LT(c.alive(), 200 + 4 * kMade);
      }
    }
  }
}

TEST(ZeroCountListsTest, ABoundedStepComesToAll) {
  Counting c;
  std::vector<std::unique_ptr<Local<Link>>> kept;
  for (int i = 0; i < 100; ++i) {
    kept.push_back(std::make_unique<Local<Link>>(c.owner, MakePtr<Link>()));
  }
  for (int i = 0; i < 100 * kMade; ++i) MakePtr<Link>();  // they grow old
  {
    const Local<Link> local(c.owner, MakePtr<Link>());
  }
  EXPECT_EQ(c.alive(), 101);
  while (c.owner.Step(10)) {
  }
  EXPECT_EQ(c.alive(), 100);
}

// A callback that dies with its object is not called: not before that is known.
TEST(ZeroCountListsTest, CallbacksWaitForWhatWaits) {
  struct Parent {
    Field<Parent> child;
    WeakCallback callback;
  };
  for (const Reclaim reclaim : {Reclaim::kPrompt, Reclaim::kLazy}) {
    Counting c({.reclaim = reclaim});
    int called = 0;
    const Ptr<Link> other = MakePtr<Link>();
    const Local<Link> local(c.owner, other);
    {
      const Ptr<Parent> parent = MakePtr<Parent>(MakePtr<Parent>());
      parent->child->callback = WeakCallback(parent, [&] { ++called; });
    }
    for (int i = 0; i < kMade; ++i) MakePtr<Link>();
    c.owner.Step();
    EXPECT_EQ(called, 0);
  }
}

TEST(ZeroCountListsTest, MakingObjectsIsEnoughForWhatWaits) {
  Counting c;
  Ptr<Link> link = MakePtr<Link>();
  {
    const Local<Link> local(c.owner, link);
    link = nullptr;
    for (int i = 0; i < 4 * kMade; ++i) MakePtr<Link>();  // it grows old
    EXPECT_EQ(c.alive(), 1);
  }
  for (int i = 0; i < kMade; ++i) MakePtr<Link>();
  EXPECT_EQ(c.alive(), 0);
}

TEST(ZeroCountListsTest, WhatWaitedMayBecomeGarbage) {
  Counting c;
  {
    Ptr<Link> link = MakePtr<Link>();
    const Local<Link> local(c.owner, link);
    link = nullptr;
    local->next = local;
  }
  EXPECT_EQ(Collect(c).collected, 1);
}

TEST(ZeroCountListsTest, MadeImmortalWhileItWaits) {
  Counting c;
  {
    Ptr<Link> link = MakePtr<Link>();
    const Local<Link> local(c.owner, link);
    link = nullptr;
    Ptr<Link>(local).MakeImmortal();
  }
  c.owner.Step();
  Collect(c);
  EXPECT_EQ(c.alive(), 1);
}

TEST(ZeroCountListsTest, IsFinalizedWhenNoneNamesIt) {
  Counting c;
  std::vector<int64_t> log;
  {
    Ptr<Final> final = MakePtr<Final>(nullptr, &log);
    const Local<Final> local(c.owner, final);
    final = nullptr;
    c.owner.Step();
    EXPECT_EQ(log.size(), 0u);
  }
  c.owner.Step();
  c.owner.Step();
  EXPECT_EQ(log, (std::vector<int64_t>{1, 2}));
}

TEST(ZeroCountListsTest, LongListsGoWithoutRecursion) {
  for (const Reclaim reclaim : {Reclaim::kPrompt, Reclaim::kLazy}) {
    Counting c({.reclaim = reclaim}, /*max_bytes=*/64 << 20);
    const Ptr<Link> other = MakePtr<Link>();
    const Local<Link> local(c.owner, other);
    Ptr<Link> head;
    for (int i = 0; i < 200'000; ++i) head = MakePtr<Link>(std::move(head));
    head = nullptr;
    if (reclaim == Reclaim::kLazy) {
      EXPECT_GT(c.alive(), 199'000);
      while (c.owner.Step(1000)) {
      }
    }
    EXPECT_EQ(c.alive(), 1);
  }
}

// What waits in the list of a thread that leaves is another one's.
TEST(ZeroCountListsTest, AThreadLeavesWhatIsNamed) {
  Counting c;
  Ptr<Link> link = MakePtr<Link>();
  {
    const Local<Link> local(c.owner, link);
    RunOwner(c, [&] { link = nullptr; });
    EXPECT_EQ(c.alive(), 1);
    EXPECT_NE(local.get(), nullptr);
    c.owner.Step();
    EXPECT_EQ(c.alive(), 1);
    // By a thread without an Owner.
    Ptr<Link> again = local;
    RunThread(c, [&] { again = nullptr; });
    c.owner.Step();
    EXPECT_EQ(c.alive(), 1);
  }
  c.owner.Step();
  EXPECT_EQ(c.alive(), 0);
}

}  // namespace
}  // namespace ebb::rc
