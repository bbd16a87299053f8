// What detections leave alone, what they keep, and questions about objects.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"

namespace ebb::rc {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

// Two that refer to each other; the first is returned.
template <typename T>
Ptr<T> Pair() {
  Ptr<T> first = MakePtr<T>();
  first->next = MakePtr<T>();
  first->next->next = first;
  return first;
}

TEST(QuestionsTest, WhatThereIs) {
  Counting c;
  EXPECT_THAT(*c.domain.Objects(), IsEmpty());
  Ptr<Link> link = MakePtr<Link>();
  link->value = 7;
  Ptr<Witness> witness = MakePtr<Witness>();
  MakePtr<Link>();
  EXPECT_THAT(*c.domain.Objects(), UnorderedElementsAre(AnyPtr(link), AnyPtr(witness)));
  std::vector<AnyPtr> objects = *c.domain.Objects();
  for (const AnyPtr& object : objects) {
    if (object == link) {
      EXPECT_EQ(object.type_name(), "ebb::rc::Link");
      EXPECT_EQ(object.As<Link>()->value, 7);
      EXPECT_EQ(object.As<Witness>(), nullptr);
    } else {
      EXPECT_NE(object.As<Witness>(), nullptr);
    }
  }
  objects.clear();
  EXPECT_EQ(AnyPtr().type_name(), "");
  EXPECT_EQ(AnyPtr().As<Link>(), nullptr);
  EXPECT_EQ(link.use_count(), 1);
}

TEST(QuestionsTest, AVisitMayDoWhatItLikesAndEnd) {
  Counting c;
  std::vector<Ptr<Link>> links;
  for (int i = 0; i < 10; ++i) links.push_back(MakePtr<Link>());
  int visited = 0;
  ASSERT_TRUE(c.domain
                  .VisitObjects([&](const AnyPtr&) {
                    links.pop_back();
                    MakePtr<Link>();
                    EXPECT_TRUE(c.heap->Collect().ok());
                    return ++visited < 3;
                  })
                  .ok());
  EXPECT_EQ(visited, 3);
  EXPECT_EQ(c.alive(), 7);
}

TEST(QuestionsTest, WhoRefersToWhat) {
  Counting c;
  Ptr<Link> a = MakePtr<Link>(), b = MakePtr<Link>(), target = MakePtr<Link>();
  a->next = target;
  a->other = target;
  b->next = a;
  EXPECT_THAT(*c.domain.Referrers({target}), ElementsAre(AnyPtr(a)));
  EXPECT_THAT(*c.domain.Referrers({target, a}), UnorderedElementsAre(AnyPtr(a), AnyPtr(b)));
  EXPECT_THAT(*c.domain.Referrers({b, AnyPtr()}), IsEmpty());
  EXPECT_THAT(*c.domain.Referents({a, b, AnyPtr()}),
              ElementsAre(AnyPtr(target), AnyPtr(target), AnyPtr(a)));
  EXPECT_EQ(target.use_count(), 3);
}

TEST(QuestionsTest, AreErrorsWhereNoSafepointMayBe) {
  Counting c;
  Ptr<Link> link = MakePtr<Link>();
  const NoSafepoint scope(c.mutator);
  for (const absl::Status& status :
       {c.domain.Objects().status(), c.domain.Referrers({link}).status(),
        c.domain.Referents({link}).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(status.message(), HasSubstr("ebb::rc::Domain"));
  }
}

TEST(QuestionsTest, ByAThreadThatIsNotAttached) {
  Counting c;
  Ptr<Link> link = MakePtr<Link>();
  link->next = link;
  const Blocking blocking(c.mutator);
  std::thread([&] {
    EXPECT_EQ(c.domain.Objects()->size(), 1u);
    EXPECT_EQ(c.domain.Referrers({link})->size(), 1u);
    EXPECT_EQ(c.domain.Referents({link})->size(), 1u);
  }).join();
}

TEST(QuestionsTest, AVisitMayThrowAndMayNotCollect) {
  Counting c;
  Ptr<Link> link = MakePtr<Link>();
  EXPECT_THROW((void)c.domain.VisitObjects([&](const AnyPtr&) -> bool {
    EXPECT_EQ(c.domain.Collect().status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(c.domain.Objects()->size(), 1u);
    throw 1;
  }),
               int);
  EXPECT_TRUE(c.domain.Collect().ok());
}

// A Ptr in a container: what it leads to dies with the pair, and is finalized.
struct Final {
  Field<Final> next;
  static void Finalize(Ptr<Final>) { ++finalized; }
  static inline std::atomic<int> finalized = 0;
};
struct Box {
  Field<Box> next;
  std::vector<Ptr<Final>> finals;
};

}  // namespace
}  // namespace ebb::rc

template <>
inline constexpr bool ebb::kTriviallyRelocatable<std::vector<ebb::rc::Ptr<ebb::rc::Final>>> = true;

namespace ebb::rc {
namespace {

// The thread detects, destroys and finalizes all the while.
TEST(QuestionsTest, BesideDetections) {
  Counting c({.detect = Detect::kBackground, .detect_after = 0, .detect_share = 0},
             /*max_bytes=*/64 << 20);
  for (int i = 0; i < 100; ++i) {
    for (int j = 0; j < 500; ++j) Pair<Link>();
    for (int j = 0; j < 50; ++j) Pair<Box>()->finals.push_back(MakePtr<Final>());
    int64_t visited = 0;
    ASSERT_TRUE(c.domain
                    .VisitObjects([&](const AnyPtr& object) {
                      visited += object.As<Link>() != nullptr ? 1 : 0;
                      return true;
                    })
                    .ok());
    EXPECT_LE(visited, 1000 * (i + 1));
  }
  ASSERT_TRUE(c.domain.Collect().ok());
  while (c.owner.Step()) {
  }
  EXPECT_EQ(Final::finalized.exchange(0), 5000);
}

TEST(QuestionsTest, OfADomainThatHasGone) {
  AnyPtr left;
  {
    Counting c;
    left = MakePtr<Link>();
  }
  EXPECT_EQ(left.type_name(), "");
  EXPECT_EQ(left.As<Link>(), nullptr);
  EXPECT_FALSE(Domain::IsFinalized(left));
}

TEST(QuestionsTest, WhatIsNotTrackedIsNotCollected) {
  Counting c;
  Ptr<Link> pair = Pair<Link>();
  Weak<Link> weak = pair;
  EXPECT_TRUE(Domain::IsTracked(pair));
  Domain::Untrack(pair->next);
  EXPECT_TRUE(Domain::IsTracked(pair));
  EXPECT_FALSE(Domain::IsTracked(pair->next));
  pair = nullptr;
  EXPECT_EQ(Collect(c).visited, 1);
  EXPECT_EQ(c.alive(), 2);
  pair = weak.Upgrade();
  Domain::Track(pair->next);
  pair = nullptr;
  EXPECT_EQ(Collect(c).collected, 2);
  // The place of what died is as any other.
  pair = MakePtr<Link>();
  Domain::Untrack(pair);
  pair = nullptr;
  std::vector<Ptr<Link>> links;
  for (int i = 0; i < 10; ++i) links.push_back(MakePtr<Link>());
  EXPECT_TRUE(std::all_of(links.begin(), links.end(),
                          [](const Ptr<Link>& link) { return Domain::IsTracked(link); }));
}

TEST(QuestionsTest, WhatIsFrozenIsNotCollectedUntilItIsUnfrozen) {
  Counting c;
  EXPECT_EQ(c.domain.FreezeCount(), 0);
  Ptr<Link> kept = MakePtr<Link>();
  Pair<Link>();
  EXPECT_TRUE(c.domain.Freeze().ok());
  EXPECT_EQ(c.domain.FreezeCount(), 3);
  Pair<Link>();
  EXPECT_EQ(Collect(c).collected, 2);
  kept = nullptr;  // counts are as ever
  EXPECT_EQ(c.domain.FreezeCount(), 2);
  EXPECT_EQ(c.alive(), 2);
  c.domain.Unfreeze();
  EXPECT_EQ(c.domain.FreezeCount(), 0);
  EXPECT_EQ(Collect(c).collected, 2);
  EXPECT_EQ(c.alive(), 0);
}

struct Stubborn {
  static constexpr bool kUncollectable = true;
  Field<Stubborn> next;
  Field<Link> link;
};

TEST(QuestionsTest, WhatIsUncollectableIsKeptWithAllThatItLeadsTo) {
  Counting c;
  Pair<Link>();
  Weak<Stubborn> weak;
  {
    Ptr<Stubborn> pair = Pair<Stubborn>();
    pair->link = Pair<Link>();
    weak = pair;
  }
  const Detection detection = Collect(c);
  EXPECT_EQ(detection.collected, 2);
  EXPECT_EQ(detection.kept, 2);
  EXPECT_EQ(c.alive(), 4);
  EXPECT_NE(weak.Upgrade(), nullptr);
  EXPECT_EQ(Collect(c).kept, 0);  // the list refers to them
  std::vector<AnyPtr> garbage = c.domain.TakeGarbage();
  EXPECT_THAT(c.domain.TakeGarbage(), IsEmpty());
  ASSERT_EQ(garbage.size(), 2u);
  for (const AnyPtr& object : garbage) object.As<Stubborn>()->next = nullptr;
  garbage.clear();
  EXPECT_EQ(Collect(c).collected, 2);
  EXPECT_EQ(c.alive(), 0);
}

// Without a cycle, an object of such a type is destroyed as any other.
TEST(QuestionsTest, WhatIsUncollectableDiesByItsCount) {
  Counting c;
  MakePtr<Stubborn>();
  EXPECT_EQ(c.alive(), 0);
}

TEST(QuestionsTest, AllGarbageIsSavedOnRequest) {
  Counting c;
  Pair<Link>();
  Pair<Final>();
  c.domain.SetDebug({.save_all = true});
  const Detection detection = Collect(c);
  EXPECT_EQ(detection.kept, 4);
  EXPECT_EQ(detection.collected, 0);
  EXPECT_EQ(Final::finalized, 0);
  EXPECT_EQ(c.domain.TakeGarbage().size(), 4u);
  c.domain.SetDebug({});
  EXPECT_EQ(Collect(c).collected, 4);
  EXPECT_EQ(Final::finalized, 2);
}

}  // namespace
}  // namespace ebb::rc
