// Generations: the table of the remembered set, case by case; every way to store; what a whole
// cycle does to what is young; how the nursery's use adapts.

#include "heap/generations.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "heap/heap_core.h"
#include "heap/heap_for_test.h"

namespace ebb {
namespace {

using testing::HasSubstr;

// More than a large object's least size.
struct Big {
  Field<Node> first;
  int64_t numbers[2000] = {};
  Field<Node> last;
};

Options Generational() {
  Options options;
  options.max_bytes = 16 << 20;
  options.collector = Collector::kGenerational;
  options.nursery_bypass = false;
  options.read_environment = false;
  return options;
}

class GenerationsTest : public ::testing::Test {
 protected:
  GenerationsTest() : heap_(NewHeap(Generational())), mutator_(*heap_) {}

  internal::Spaces& spaces() { return heap_->core()->spaces(); }
  void CollectMinor() {
    ASSERT_TRUE(heap_->Collect(CollectKind::kMinor).ok());
    Verify();
  }
  void Verify() {
    const absl::Status status = heap_->Verify();
    ASSERT_TRUE(status.ok()) << status;
  }
  template <typename T>
  bool IsYoung(Ref<T> object) {
    return spaces().InNursery(object.bits());
  }
  bool IsRemembered(const Field<Node>& field) {
    return spaces().IsRemembered(reinterpret_cast<uintptr_t>(&field));
  }
  Ref<Node> NewNode(int64_t value = 0) { return mutator_.New<Node>(nullptr, nullptr, value); }
  // One that two minor cycles have found alive, or one.
  Ref<Node> NewOld() {
    Local<Node> node(mutator_, NewNode());
    CollectMinor();
    CollectMinor();
    EXPECT_FALSE(IsYoung(Ref<Node>(node)));
    return node;
  }
  Ref<Node> NewSurvivor() {
    Local<Node> node(mutator_, NewNode());
    CollectMinor();
    EXPECT_TRUE(IsYoung(Ref<Node>(node)));
    return node;
  }

  std::unique_ptr<Heap> heap_;
  Mutator mutator_;
};

// The table of the design page.

TEST_F(GenerationsTest, EdgeInAYoungObjectThatStaysYoung) {
  Local<Node> holder(mutator_, NewNode());
  holder->left = NewNode(7);
  CollectMinor();
  EXPECT_TRUE(IsYoung(Ref<Node>(holder)));
  EXPECT_TRUE(IsYoung(holder->left.load()));
  EXPECT_EQ(holder->left->value, 7);
}

TEST_F(GenerationsTest, EdgeInAYoungObjectWhoseTargetIsPromoted) {
  Local<Node> target(mutator_, NewSurvivor());
  Local<Node> holder(mutator_, NewNode());
  holder->left = target;
  CollectMinor();
  EXPECT_TRUE(IsYoung(Ref<Node>(holder)));
  EXPECT_FALSE(IsYoung(holder->left.load()));
  EXPECT_EQ(holder->left, target);
}

TEST_F(GenerationsTest, EdgeInAPromotedObjectWhoseTargetStaysYoungIsLogged) {
  Local<Node> holder(mutator_, NewSurvivor());
  holder->left = NewNode(7);
  EXPECT_EQ(heap_->core()->remembered()->overflowed(), false);
  CollectMinor();
  EXPECT_FALSE(IsYoung(Ref<Node>(holder)));
  EXPECT_TRUE(IsYoung(holder->left.load()));
  EXPECT_TRUE(IsRemembered(holder->left));
  EXPECT_FALSE(IsRemembered(holder->right));
  // And is of use: the next cycle finds the target by it alone.
  CollectMinor();
  EXPECT_FALSE(IsYoung(holder->left.load()));
  EXPECT_EQ(holder->left->value, 7);
  EXPECT_FALSE(IsRemembered(holder->left));
}

TEST_F(GenerationsTest, EdgeInAPromotedObjectWhoseTargetIsPromoted) {
  Local<Node> holder(mutator_, NewNode());
  holder->left = NewNode(7);
  CollectMinor();
  CollectMinor();
  EXPECT_FALSE(IsYoung(Ref<Node>(holder)));
  EXPECT_FALSE(IsYoung(holder->left.load()));
  EXPECT_FALSE(IsRemembered(holder->left));
}

TEST_F(GenerationsTest, EdgeInAnOldObjectWhoseTargetStaysYoungIsKept) {
  Local<Node> holder(mutator_, NewOld());
  holder->left = NewNode(7);
  EXPECT_TRUE(IsRemembered(holder->left));
  CollectMinor();
  EXPECT_TRUE(IsYoung(holder->left.load()));
  EXPECT_TRUE(IsRemembered(holder->left));
  EXPECT_EQ(holder->left->value, 7);
}

TEST_F(GenerationsTest, EdgeInAnOldObjectWhoseTargetIsPromotedIsForgotten) {
  Local<Node> holder(mutator_, NewOld());
  holder->left = NewNode(7);
  CollectMinor();
  CollectMinor();
  EXPECT_FALSE(IsYoung(holder->left.load()));
  EXPECT_FALSE(IsRemembered(holder->left));
  EXPECT_EQ(holder->left->value, 7);
}

TEST_F(GenerationsTest, EdgeThatNoLongerLeadsToAYoungObjectIsForgotten) {
  Local<Node> old(mutator_, NewOld());
  Local<Node> holder(mutator_, NewOld());
  holder->left = NewNode();
  holder->right = NewNode();
  holder->left = old;
  holder->right = nullptr;
  CollectMinor();
  EXPECT_FALSE(IsRemembered(holder->left));
  EXPECT_FALSE(IsRemembered(holder->right));
}

TEST_F(GenerationsTest, RootsOfEveryKindKeepWhatIsYoung) {
  Local<Node> local(mutator_, NewNode(1));
  Persistent<Node> persistent(*heap_, NewNode(2));
  for (int i = 0; i < 3; ++i) {
    CollectMinor();
    EXPECT_EQ(local->value, 1);
    EXPECT_EQ(persistent->value, 2);
  }
  EXPECT_FALSE(IsYoung(persistent.get() != nullptr ? Ref<Node>(local) : Ref<Node>()));
}

// Ways to store.

TEST_F(GenerationsTest, StoresThatNeedNoLog) {
  Local<Node> old(mutator_, NewOld());
  Local<Node> holder(mutator_, NewOld());
  holder->left = old;
  holder->left = nullptr;
  EXPECT_FALSE(IsRemembered(holder->left));
}

TEST_F(GenerationsTest, CompareExchangeLogsWhatItStores) {
  Local<Node> holder(mutator_, NewOld());
  Local<Node> young(mutator_, NewNode(7));
  Ref<Node> expected = young;
  EXPECT_FALSE(holder->left.CompareExchange(expected, young));
  EXPECT_FALSE(IsRemembered(holder->left));
  EXPECT_EQ(expected, nullptr);
  EXPECT_TRUE(holder->left.CompareExchange(expected, young));
  EXPECT_TRUE(IsRemembered(holder->left));
  CollectMinor();
  EXPECT_EQ(holder->left, young);
}

// An old array that moves, and a large one: each edge to a young object is logged, once.
TEST_F(GenerationsTest, CopiesOfRangesLogWhatIsYoung) {
  constexpr size_t kSize = 300;
  Local<Node> old(mutator_, NewOld());
  for (size_t to_size : {kSize, size_t{3000}}) {
    Local<RefArray<Node>> to(mutator_, mutator_.NewRefArray<Node>(to_size));
    CollectMinor();
    CollectMinor();
    ASSERT_FALSE(IsYoung(Ref<RefArray<Node>>(to)));
    Local<RefArray<Node>> from(mutator_, mutator_.NewRefArray<Node>(kSize));
    const auto is_young = [](size_t i) { return i % 3 == 0 || i % 64 < 5; };
    for (size_t i = 0; i < kSize; ++i) {
      (*from)[i] = is_young(i) ? NewNode(static_cast<int64_t>(i)) : Ref<Node>(old);
    }
    EXPECT_TRUE(IsYoung(Ref<RefArray<Node>>(from)));
    (*to)[17] = (*from)[0];  // logged by itself
    to->CopyFrom(*from, 10, 11, kSize - 20);
    to->CopyFrom(*from, 10, 11, kSize - 20);
    Verify();  // which hands the edges over
    size_t logged = 0;
    heap_->core()->remembered()->ForEach([&logged](uintptr_t) { ++logged; });
    size_t expected = is_young(17 - 1) ? 0 : 1;
    for (size_t i = 0; i < to_size; ++i) {
      const bool copied = i >= 11 && i < kSize - 9;
      const bool young = copied && is_young(i - 1);
      expected += young ? 1 : 0;
      EXPECT_EQ(IsRemembered((*to)[i]), young || i == 17) << i;
    }
    EXPECT_EQ(logged, expected);
    for (int cycle = 0; cycle < 3; ++cycle) {
      CollectMinor();
      for (size_t i = 11; i < kSize - 9; ++i) {
        ASSERT_EQ((*to)[i], (*from)[i - 1]) << i;
        if (is_young(i - 1)) {
          ASSERT_EQ((*to)[i]->value, static_cast<int64_t>(i - 1));
        }
      }
    }
    EXPECT_FALSE(IsRemembered((*to)[13])) << "promoted by now";
  }
}

TEST_F(GenerationsTest, CopiesIntoYoungArraysLogNothing) {
  Local<RefArray<Node>> from(mutator_, mutator_.NewRefArray<Node>(100));
  for (size_t i = 0; i < 100; ++i) (*from)[i] = NewNode();
  Local<RefArray<Node>> to(mutator_, mutator_.NewRefArray<Node>(100));
  to->CopyFrom(*from, 0, 0, 100);
  ASSERT_TRUE(IsYoung(Ref<RefArray<Node>>(to)));
  Verify();
  heap_->core()->remembered()->ForEach([](uintptr_t edge) { ADD_FAILURE() << edge; });
  CollectMinor();
  EXPECT_EQ((*to)[99], (*from)[99]);
}

TEST_F(GenerationsTest, LargeAndPinnedObjectsAreOld) {
  Local<Node> young(mutator_, NewNode(7));
  Local<Big> big(mutator_, mutator_.New<Big>(young));
  Local<Node> pinned(mutator_, mutator_.NewPinned<Node>(young, nullptr, 1));
  Local<RefArray<Node>> array(mutator_, mutator_.NewRefArray<Node>(3000));
  EXPECT_TRUE(IsRemembered(big->first)) << "what it was made with";
  EXPECT_TRUE(IsRemembered(pinned->left));
  big->last = young;
  (*array)[0] = young;
  (*array)[2999] = young;
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(IsRemembered(big->first), i < 2);
    for (const Field<Node>* field :
         {&big->first, &big->last, &pinned->left, &(*array)[0], &(*array)[2999]}) {
      EXPECT_EQ(*field, young);
      EXPECT_TRUE(IsRemembered(*field));
    }
    EXPECT_FALSE(IsRemembered((*array)[1]));
    if (i == 0) CollectMinor();
  }
  CollectMinor();
  EXPECT_FALSE(IsYoung(Ref<Node>(young)));
  EXPECT_EQ(big->first, young);
  EXPECT_EQ(big->last, young);
  EXPECT_EQ((*array)[2999], young);
  EXPECT_FALSE(IsRemembered(big->last));
}

// A thread that is attached to two heaps with generations: each edge is logged with its own heap.
TEST_F(GenerationsTest, TwoHeapsOnOneThread) {
  Local<Node> holder(mutator_, NewOld());
  auto other = NewHeap(Generational());
  {
    Mutator in_other(*other);
    Local<Node> in_other_young(in_other, in_other.New<Node>());
    in_other_young->left = in_other.New<Node>();
    holder->left = NewNode(7);
    EXPECT_TRUE(IsRemembered(holder->left));
    CollectMinor();
    EXPECT_EQ(holder->left->value, 7);
    EXPECT_TRUE(other->Verify().ok());
  }
  holder->right = NewNode(8);
  EXPECT_TRUE(IsRemembered(holder->right));
  CollectMinor();
  EXPECT_EQ(holder->right->value, 8);
}

// Were there no barrier, Verify would say so.
TEST_F(GenerationsTest, AnEdgeThatIsNotRememberedIsFound) {
  Local<Node> holder(mutator_, NewOld());
  Local<Node> young(mutator_, NewNode());
  *reinterpret_cast<uintptr_t*>(&holder->left) = Ref<Node>(young).bits();
  const absl::Status status = heap_->Verify();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("inv.remembered"));
  *reinterpret_cast<uintptr_t*>(&holder->left) = 0;
}

// Whole cycles.

TEST_F(GenerationsTest, AWholeCyclePromotesWhatIsYoung) {
  Local<Node> holder(mutator_, NewOld());
  holder->left = NewNode(7);
  ASSERT_TRUE(heap_->Collect().ok());
  Verify();
  EXPECT_FALSE(IsYoung(holder->left.load()));
  EXPECT_FALSE(IsRemembered(holder->left));
  EXPECT_EQ(holder->left->value, 7);
  // What is new is young again.
  holder->right = NewNode(8);
  EXPECT_TRUE(IsRemembered(holder->right));
  CollectMinor();
  EXPECT_EQ(holder->right->value, 8);
}

TEST_F(GenerationsTest, GarbageIsLeftToMinorCycles) {
  for (int i = 0; i < 300'000; ++i) mutator_.New<Node>();
  const HeapStats stats = heap_->stats();
  EXPECT_EQ(stats.collections, 0);
  EXPECT_GT(stats.minor_collections, 5);
  EXPECT_EQ(stats.promoted_bytes, 0);
  EXPECT_EQ(stats.stall_ns.Count(), 0);
}

TEST_F(GenerationsTest, WhatIsKeptFillsTheCopySpaceUntilAWholeCycle) {
  Local<Node> list(mutator_);
  for (int64_t round = 0; round < 12; ++round) {
    list = nullptr;
    for (int64_t i = 1; i <= 50'000; ++i) list = mutator_.New<Node>(list, nullptr, i);
    int64_t length = 0;
    for (Ref<Node> node = list; node != nullptr; node = node->left) ++length;
    ASSERT_EQ(length, 50'000);
  }
  EXPECT_GT(heap_->stats().collections, 0);
  EXPECT_GT(heap_->stats().promoted_bytes, 8'000'000);
  Verify();
}

// Two whole cycles' worth of chunks is not to be had: the bits are looked through instead.
TEST(RememberedOverflowTest, EdgesAreFoundByTheirBits) {
  Options options = Generational();
  options.stress.worklist_capacity = 1;  // one chunk of edges
  auto heap = NewHeap(options);
  Mutator mutator(*heap);
  constexpr size_t kLength = 3000;  // of a large object; those it leads to will be old
  Local<RefArray<Node>> array(mutator, mutator.NewRefArray<Node>(kLength));
  for (size_t i = 0; i < kLength; ++i) (*array)[i] = mutator.New<Node>();
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(heap->Collect(CollectKind::kMinor).ok());
  for (size_t i = 0; i < kLength; ++i) {
    Local<Node> node(mutator, mutator.New<Node>(nullptr, nullptr, static_cast<int64_t>(i)));
    (*array)[i]->left = node;
    if (i % 2 == 0) (*array)[i] = node;
  }
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(heap->Collect(CollectKind::kMinor).ok());
    const absl::Status status = heap->Verify();
    ASSERT_TRUE(status.ok()) << status;
    for (size_t j = 0; j < kLength; ++j) {
      const Ref<Node> node = j % 2 == 0 ? (*array)[j].load() : (*array)[j]->left.load();
      ASSERT_EQ(node->value, static_cast<int64_t>(j));
    }
  }
}

// How the nursery is used.

TEST(NurseryUseTest, LessOfItWherePausesAreLong) {
  Options options = Generational();
  options.max_bytes = 64 << 20;
  options.minor_pause_target = absl::Microseconds(10);
  auto heap = NewHeap(options);
  Mutator mutator(*heap);
  Local<Node> list(mutator);
  for (int64_t i = 1; i <= 100'000; ++i) list = mutator.New<Node>(list, nullptr, i);
  EXPECT_EQ(heap->stats().nursery_allowance, 2 * 64 << 10);
}

TEST(NurseryUseTest, AllOfItWherePausesAreShort) {
  Options options = Generational();
  options.minor_pause_target = absl::Seconds(10);
  auto heap = NewHeap(options);
  Mutator mutator(*heap);
  for (int i = 0; i < 100'000; ++i) mutator.New<Node>();
  // Of sixteen blocks, two and one are for copies.
  EXPECT_EQ(heap->stats().nursery_allowance, 13 * 64 << 10);
}

TEST(NurseryUseTest, NoneWhereMostSurvives) {
  Options options = Generational();
  options.max_bytes = 256 << 20;
  options.nursery_bypass = true;
  auto heap = NewHeap(options);
  Mutator mutator(*heap);
  Local<Node> list(mutator);
  for (int64_t i = 1; i <= 400'000; ++i) list = mutator.New<Node>(list, nullptr, i);
  EXPECT_LT(heap->stats().promoted_bytes, 400'000 * 32 * 3 / 4);
  EXPECT_TRUE(heap->Verify().ok());
  // When most dies, it is used again.
  const int64_t before = heap->stats().minor_collections;
  for (int64_t i = 0; i < 1'200'000; ++i) mutator.New<Node>();
  EXPECT_GT(heap->stats().minor_collections, before + 5);
  EXPECT_TRUE(heap->Verify().ok());
}

// Misuse.

TEST(MinorCycleTest, NeedsANursery) {
  auto heap = NewHeap();
  if (HasGenerations(*heap)) return;  // by EBB_OPTIONS
  const absl::Status status = heap->Collect(CollectKind::kMinor);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("kGenerational"));
}

TEST(MinorCycleTest, ANurseryThatIsTooLargeIsRefused) {
  Options options = Generational();
  options.nursery_bytes = 9 << 20;
  const absl::Status status = Heap::Create(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("nursery_bytes"));
}

}  // namespace
}  // namespace ebb
