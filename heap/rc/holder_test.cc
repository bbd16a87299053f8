// Traced objects that hold counted references.

#include <array>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"
#include "heap/rc/holder_table.h"

namespace ebb::rc {
namespace {

// A traced list of holders.
struct Shelf {
  ebb::Field<Shelf> next;
  std::array<Field<Witness>, 2> held;
  int64_t value = 0;
};

struct HolderTest : testing::Test, Counting {
  Ptr<Witness> Make(int64_t name) { return MakePtr<Witness>(nullptr, nullptr, &log, name); }
  // A cycle of the heap, and what threads do after it.
  void CollectTraced() {
    ASSERT_TRUE(heap->Collect().ok());
    while (owner.Step()) {
    }
  }
  int64_t holders() { return domain.state()->holders().size(); }

  std::vector<int64_t> log;
};

TEST_F(HolderTest, KeepsWhatItHolds) {
  ebb::Local<Shelf> shelf(mutator, NewHolder<Shelf>(nullptr, std::array<Field<Witness>, 2>(), 7));
  shelf->held[0] = Make(1);
  shelf->held[1] = shelf->held[0];
  for (int i = 0; i < 3; ++i) {
    CollectTraced();
    ASSERT_EQ(shelf->value, 7);
    ASSERT_EQ(shelf->held[0]->name, 1);
    ASSERT_EQ(shelf->held[1].use_count(), 2);
  }
  shelf->held[0] = nullptr;
  EXPECT_TRUE(log.empty());
  shelf->held[1] = nullptr;  // like any reference
  EXPECT_EQ(log, std::vector<int64_t>({1}));
  EXPECT_EQ(holders(), 1);
}

TEST_F(HolderTest, GivesUpWhatItHoldsWhenItIsDead) {
  {
    ebb::Local<Shelf> shelf(mutator, NewHolder<Shelf>());
    shelf->held[0] = Make(1);
    shelf->held[1] = Make(2);
  }
  const Ptr<Witness> kept = Make(3);
  {
    ebb::Local<Shelf> shelf(mutator, NewHolder<Shelf>());
    shelf->held[0] = kept;
  }
  CollectTraced();
  EXPECT_EQ(log.size(), 2u);
  EXPECT_EQ(kept.use_count(), 1);
  EXPECT_EQ(holders(), 0);
}

TEST_F(HolderTest, ALongListOfHoldersDies) {
  const int64_t length = Many(20'000);
  {
    ebb::Local<Shelf> head(mutator);
    for (int64_t i = 0; i < length; ++i) {
      ebb::Local<Shelf> shelf(mutator, NewHolder<Shelf>());
      shelf->held[0] = MakePtr<Witness>();
      shelf->next = head;
      head = shelf;
    }
    EXPECT_EQ(holders(), length);
    CollectTraced();
    EXPECT_EQ(alive(), length);
  }
  CollectTraced();
  EXPECT_EQ(alive(), 0);
  EXPECT_EQ(holders(), 0);
}

// With a nursery: minor cycles find those that die young.
TEST_F(HolderTest, TheyComeAndGo) {
  for (int64_t i = 0; i < Many(30'000); ++i) {
    ebb::Local<Shelf> shelf(mutator, NewHolder<Shelf>());
    shelf->held[0] = MakePtr<Witness>();
  }
  // A minor cycle has found the young ones dead.
  if (CollectorUnderTest() == Collector::kGenerational) {
    EXPECT_LT(holders(), Many(30'000));
  }
  CollectTraced();
  EXPECT_EQ(alive(), 0);
  EXPECT_EQ(holders(), 0);
}

// An Owner that leaves where it may do nothing leaves that to others.
TEST_F(HolderTest, AnOwnerLeavesBesideDeadHolders) {
  NewHolder<Shelf>(nullptr, std::array<Field<Witness>, 2>{Make(1), nullptr});
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(heap->Collect().ok());
  RunThread(*this, [this] {
    Mutator second(*heap);
    std::optional<Owner> other(std::in_place, domain, second);
    const Blocking blocking(second);
    other.reset();
  });
  owner.Step();
  EXPECT_EQ(log, std::vector<int64_t>({1}));
}

// Where cycles of the heap are enough: a counted object leads to a holder, which leads to others.
TEST_F(HolderTest, ChainsOfBothKinds) {
  struct Link {
    ebb::Field<Shelf> shelf;
    Witness witness;
  };
  {
    ebb::Local<Shelf> shelf(mutator);
    for (int64_t i = 0; i < 100; ++i) {
      ebb::Local<Shelf> below = std::exchange(shelf, ebb::Local<Shelf>(mutator));
      Ptr<Witness> witness = Make(i);
      shelf = NewHolder<Shelf>(below, std::array<Field<Witness>, 2>{witness, nullptr}, i);
    }
    CollectTraced();
    EXPECT_TRUE(log.empty());
  }
  CollectTraced();
  EXPECT_EQ(log.size(), 100u);
}

struct Throws {
  Field<Witness> held;
  explicit Throws(Ptr<Witness> witness) : held(std::move(witness)) {
    throw std::runtime_error("no");
  }
  EBB_FIELDS(Throws, held)
};

TEST_F(HolderTest, AConstructorMayThrow) {
  EXPECT_THROW(NewHolder<Throws>(Make(1)), std::runtime_error);
  EXPECT_EQ(log, std::vector<int64_t>({1}));
  EXPECT_EQ(holders(), 0);
  CollectTraced();
}

TEST_F(HolderTest, MisuseIsTold) {
  {
    const Blocking blocking(mutator);
    EXPECT_TRUE(absl::IsFailedPrecondition(TryNewHolder<Shelf>().status()));
  }
  RunThread(*this, [this] {
    EXPECT_TRUE(absl::IsFailedPrecondition(TryNewHolder<Shelf>().status()));
    Mutator second(*heap);
    EXPECT_THROW(NewHolder<Shelf>(), MisuseError);
  });
}

// get() of what is held when a domain goes is null.
TEST(HolderDomainTest, AHolderOutlivesItsDomain) {
  std::unique_ptr<Heap> heap = NewHeap(Options{.collector = CollectorUnderTest()});
  Mutator mutator(*heap);
  ebb::Local<Shelf> shelf(mutator);
  {
    Domain domain(*heap);
    Owner owner(domain, mutator);
    shelf = NewHolder<Shelf>();
    shelf->held[0] = MakePtr<Witness>();
  }
  EXPECT_EQ(shelf->held[0].get(), nullptr);
  shelf->held[0] = nullptr;
  ASSERT_TRUE(heap->Collect().ok());
}

}  // namespace
}  // namespace ebb::rc
