// WeakCallbacks: who is told of an object's death, and when.

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"

namespace ebb::rc {
namespace {

using Lines = std::vector<std::string>;

TEST(WeakCallbackTest, IsCalledOnceAfterItsObjectHasDied) {
  Counting c;
  Lines lines;
  Ptr<Link> link = MakePtr<Link>();
  Weak<Link> weak = link;
  const WeakCallback older(link, [&] { lines.push_back("older"); });
  const WeakCallback newer(link, [&] {
    EXPECT_EQ(weak.Upgrade(), nullptr);
    EXPECT_EQ(c.alive(), 0);
    MakePtr<Link>();
    lines.push_back("newer");
  });
  link = nullptr;
  EXPECT_EQ(lines, Lines());
  Collect(c);
  EXPECT_EQ(lines, Lines({"newer", "older"}));
}

TEST(WeakCallbackTest, IsNotCalledWhenItGoesFirst) {
  Counting c;
  int calls = 0;
  Ptr<Link> link = MakePtr<Link>();
  WeakCallback kept;
  {
    const WeakCallback first(link, [&] { ++calls; });
    kept = WeakCallback(link, [&] { ++calls; });
    const WeakCallback third(link, [&] { ++calls; });
    const WeakCallback of_null(Ptr<Link>(), [&] { ++calls; });
  }
  WeakCallback cancelled_while_due(link, [&] { ++calls; });
  link = nullptr;
  cancelled_while_due = WeakCallback();
  while (c.owner.Step()) {
  }
  EXPECT_EQ(calls, 1);
  // The cells of what has gone are free.
  EXPECT_EQ(c.alive(), 0);
}

// Garbage that waits for other garbage's death.
struct Watcher {
  Field<Watcher> next;
  WeakCallback callback;
};

TEST(WeakCallbackTest, OfGarbageIsNotCalled) {
  for (Reclaim reclaim : {Reclaim::kPrompt, Reclaim::kLazy}) {
    Counting c({.reclaim = reclaim});
    int calls = 0;
    int outside_calls = 0;
    WeakCallback outside;
    {
      Ptr<Watcher> first = MakePtr<Watcher>();
      first->next = MakePtr<Watcher>();
      first->next->next = first;
      first->callback = WeakCallback(first->next, [&] { ++calls; });
      first->next->callback = WeakCallback(first, [&] { ++calls; });
      outside = WeakCallback(first, [&] { ++outside_calls; });
    }
    EXPECT_EQ(Collect(c).collected, 2);
    while (c.owner.Step(1)) {
    }
    EXPECT_EQ(calls, 0);
    EXPECT_EQ(outside_calls, 1);
    EXPECT_EQ(c.alive(), 0);
  }
}

// What a function has is let go with its call.
TEST(WeakCallbackTest, LetsGoOfWhatItHas) {
  Counting c;
  Ptr<Link> link = MakePtr<Link>(), held = MakePtr<Link>();
  Weak<Link> weak = held;
  WeakCallback called(link, [held] {});
  WeakCallback cancelled(link, [held] {});
  held = nullptr;
  cancelled = WeakCallback();
  link = nullptr;
  EXPECT_NE(weak.Upgrade(), nullptr);
  Collect(c);
  EXPECT_EQ(weak.Upgrade(), nullptr);
}

TEST(WeakCallbackTest, OutlivesItsDomain) {
  int calls = 0;
  WeakCallback callback;
  Ptr<Link> left;
  {
    Counting c;
    left = MakePtr<Link>();
    callback = WeakCallback(left, [&] { ++calls; });
  }
  callback = WeakCallback();
  left = nullptr;
  EXPECT_EQ(calls, 0);
}

}  // namespace
}  // namespace ebb::rc
