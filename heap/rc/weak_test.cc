#include "heap/rc/weak.h"

#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"

namespace ebb::rc {
namespace {

static_assert(sizeof(Weak<Link>) == 8);

TEST(RcWeakTest, UpgradesUntilTheObjectDies) {
  Counting c;
  Ptr<Link> link = MakePtr<Link>(nullptr, nullptr, 3);
  Weak<Link> weak = link;
  Weak<Link> copy = weak;
  EXPECT_EQ(link.use_count(), 1);
  {
    Ptr<Link> again = copy.Upgrade();
    EXPECT_EQ(again, link);
    EXPECT_EQ(again->value, 3);
    link = nullptr;
    EXPECT_EQ(c.alive(), 1);
  }
  EXPECT_EQ(c.alive(), 0);
  EXPECT_EQ(weak.Upgrade(), nullptr);
  EXPECT_EQ(copy.Upgrade(), nullptr);
  EXPECT_EQ(Weak<Link>().Upgrade(), nullptr);
}

// A cell that a weak reference names is not used for another object.
TEST(RcWeakTest, NamesNoOtherObject) {
  Counting c;
  std::vector<Weak<Link>> dead;
  for (int i = 0; i < 100; ++i) dead.push_back(MakePtr<Link>());
  std::vector<Ptr<Link>> alive;
  for (int i = 0; i < 200; ++i) alive.push_back(MakePtr<Link>());
  for (const Weak<Link>& weak : dead) EXPECT_EQ(weak.Upgrade(), nullptr);
}

TEST(RcWeakTest, CellsOfDeadObjectsAreUsedAgain) {
  Counting c;
  for (int round = 0; round < 300; ++round) {
    std::vector<Weak<Link>> dead;
    for (int i = 0; i < 100; ++i) dead.push_back(MakePtr<Link>());
  }
  EXPECT_LT(c.domain.stats().cells, 10'000);
}

// The owner's own upgrades do not end its owning: see use_count, which is the owner's.
TEST(RcWeakTest, UpgradesByTheOwnerCostItNothing) {
  Counting c;
  Ptr<Link> link = MakePtr<Link>();
  Weak<Link> weak = link;
  for (int i = 0; i < 3; ++i) {
    Ptr<Link> again = weak.Upgrade();
    EXPECT_EQ(link.use_count(), 2);
  }
  link.MakeImmortal();
  const int64_t count = link.use_count();
  for (int i = 0; i < 3; ++i) EXPECT_NE(weak.Upgrade(), nullptr);
  EXPECT_EQ(link.use_count(), count);
}

struct Observed {
  Weak<Observed>* self = nullptr;
  bool* upgraded = nullptr;
  ~Observed() {
    if (self != nullptr) *upgraded = self->Upgrade() != nullptr;
  }
};

TEST(RcWeakTest, IsDeadWhenTheDestructorRuns) {
  Counting c;
  Weak<Observed> self;
  bool upgraded = true;
  Ptr<Observed> object = MakePtr<Observed>(&self, &upgraded);
  self = object;
  object = nullptr;
  EXPECT_FALSE(upgraded);
}

TEST(RcWeakTest, LastOnAThreadThatIsNotAttached) {
  Counting c;
  Ptr<Link> link = MakePtr<Link>();
  Weak<Link> weak = link;
  std::thread([taken = std::move(weak), &link] {
    Ptr<Link> again = taken.Upgrade();
    EXPECT_EQ(again, link);
  }).join();
  Weak<Link> other = link;
  link = nullptr;
  std::thread([taken = std::move(other)] { EXPECT_EQ(taken.Upgrade(), nullptr); }).join();
  EXPECT_EQ(c.alive(), 0);
}

}  // namespace
}  // namespace ebb::rc
