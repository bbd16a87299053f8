// Tracer: graphs of many shapes, by one and several workers, with and without room on the
// worklists; and what becomes of objects that find no memory. Through a Heap, with a look at its
// spaces.

#include "heap/tracer.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "heap/heap_core.h"
#include "heap/heap_for_test.h"

namespace ebb {
namespace {

using platform::Bytes;

copyspace::CopySpace& CopySpaceOf(Heap& heap) { return heap.core()->spaces().copy(); }

void CollectAndVerify(Heap& heap) {
  ASSERT_TRUE(heap.Collect().ok());
  absl::Status status = heap.Verify();
  ASSERT_TRUE(status.ok()) << status;
}

struct Entry {
  int64_t key = 0;
  Field<Node> node;
};

struct Quad {
  Field<Node> nodes[4];
};

// Workers, worklist capacity, fail every Nth evacuation.
class TracerTest : public ::testing::TestWithParam<std::tuple<int, int, int>> {
 protected:
  TracerTest() : heap_(NewHeap(ToOptions())), mutator_(*heap_) {}

  static Options ToOptions() {
    Options options;
    options.max_bytes = 48 << 20;
    options.collector = CollectorUnderTest();
    options.large_object_bytes = 32 << 10;
    options.read_environment = false;
    options.workers = std::get<0>(GetParam());
    options.stress.worklist_capacity = std::get<1>(GetParam());
    options.stress.fail_evacuation = std::get<2>(GetParam());
    return options;
  }
  // Several cycles: what one of them left behind is in the way of the next.
  void Collect() {
    for (int i = 0; i < 3; ++i) {
      NewTree(mutator_, 6);  // garbage
      CollectAndVerify(*heap_);
    }
  }

  std::unique_ptr<Heap> heap_;
  Mutator mutator_;
};

TEST_P(TracerTest, DeepGraph) {
  Local<Node> list(mutator_, NewList(mutator_, 5'000));
  Collect();
  EXPECT_TRUE(IsList(list, 5'000));
}

TEST_P(TracerTest, Tree) {
  Local<Node> tree(mutator_, NewTree(mutator_, 10));
  Collect();
  EXPECT_EQ(Sum(tree), (1 << 11) - 1);
}

TEST_P(TracerTest, SharedObjectsAreCopiedOnce) {
  Local<Node> shared(mutator_, NewTree(mutator_, 3));
  Local<RefArray<Node>> array(mutator_, mutator_.NewRefArray<Node>(3'500));
  for (size_t i = 0; i < array->size(); ++i) {
    array->at(i) = mutator_.New<Node>(shared, shared, static_cast<int64_t>(i));
  }
  Collect();
  for (size_t i = 0; i < array->size(); ++i) {
    ASSERT_EQ(array->at(i)->left, shared);
    ASSERT_EQ(array->at(i)->right, shared);
    ASSERT_EQ(array->at(i)->value, static_cast<int64_t>(i));
  }
  EXPECT_EQ(Sum(shared), 15);
}

// In the copy space (two chunks) and in the large space (many).
TEST_P(TracerTest, LongArraysAreScannedInChunks) {
  for (size_t length : {3'500, 100'000}) {
    Local<RefArray<Node>> array(mutator_, mutator_.NewRefArray<Node>(length));
    const size_t step = length / 1'000;
    for (size_t i = 0; i < length; i += step) {
      array->at(i) = mutator_.New<Node>(nullptr, nullptr, static_cast<int64_t>(i));
      array->at(i)->left = array->at(i);
    }
    Collect();
    for (size_t i = 0; i < length; ++i) {
      if (i % step != 0) {
        ASSERT_EQ(array->at(i), nullptr);
      } else {
        ASSERT_EQ(array->at(i)->value, static_cast<int64_t>(i));
        ASSERT_EQ(array->at(i)->left, array->at(i));
      }
    }
  }
}

TEST_P(TracerTest, ArraysOfAggregates) {
  Local<Array<Entry>> array(mutator_, mutator_.NewArray<Entry>(10'000));
  for (size_t i = 0; i < array->size(); i += 7) {
    array->at(i).key = static_cast<int64_t>(i);
    array->at(i).node = mutator_.New<Node>(nullptr, nullptr, static_cast<int64_t>(i));
  }
  Collect();
  for (size_t i = 0; i < array->size(); i += 7) {
    ASSERT_EQ(array->at(i).node->value, array->at(i).key);
  }
}

// More shares of roots than are forwarded alone: helpers come before the roots are done.
TEST_P(TracerTest, ManyRoots) {
  std::vector<Persistent<Node>> roots;
  Local<Node> shared(mutator_, NewTree(mutator_, 8));
  for (int64_t i = 0; i < 12'000; ++i) {
    roots.emplace_back(*heap_, mutator_.New<Node>(shared, nullptr, i));
  }
  Collect();
  for (int64_t i = 0; i < 12'000; ++i) {
    ASSERT_EQ(roots[static_cast<size_t>(i)]->value, i);
    ASSERT_EQ(roots[static_cast<size_t>(i)]->left, shared);
  }
  EXPECT_EQ(Sum(shared), (1 << 9) - 1);
}

// Objects that are marked in place, found no room on a worklist, and lead to many others.
TEST_P(TracerTest, PinnedObjectsWithSubgraphs) {
  Local<RefArray<Node>> array(mutator_, mutator_.NewRefArray<Node>(300));
  for (size_t i = 0; i < array->size(); ++i) {
    array->at(i) = mutator_.NewPinned<Node>();
    Local<Node> tree(mutator_, NewTree(mutator_, 4));
    array->at(i)->left = tree;
    if (i > 0) array->at(i)->right = array->at(i - 1);
  }
  Collect();
  for (size_t i = 0; i < array->size(); ++i) {
    ASSERT_EQ(Sum(array->at(i)->left), 31);
    if (i > 0) {
      ASSERT_EQ(array->at(i)->right, array->at(i - 1));
    }
  }
  const HeapStats stats = heap_->stats();
  if (std::get<1>(GetParam()) == 1 && std::get<0>(GetParam()) == 1) {
    EXPECT_GT(stats.worklist_overflows, 0);
  }
}

// Arrays whose scan makes 2,048 objects grey each: those that a worker has in its window come to
// more than its stack and its deque hold. Where there is a stock, it takes them, and no list
// through the originals is needed.
TEST_P(TracerTest, MoreGreyThanADequeHolds) {
  constexpr size_t kArrays = 40;
  constexpr size_t kQuads = 512;
  Local<RefArray<Array<Quad>>> arrays(mutator_, mutator_.NewRefArray<Array<Quad>>(kArrays));
  for (size_t i = 0; i < kArrays; ++i) {
    Local<Array<Quad>> quads(mutator_, mutator_.NewArray<Quad>(kQuads));
    arrays->at(i) = quads;
    for (size_t j = 0; j < kQuads; ++j) {
      for (size_t k = 0; k < 4; ++k) {
        // With a child, which is lost if the node is not scanned.
        const auto value = static_cast<int64_t>(j + k);
        const Ref<Node> child = mutator_.New<Node>(nullptr, nullptr, value);
        const Ref<Node> node = mutator_.New<Node>(child, nullptr, value);
        quads->at(j).nodes[k] = node;
      }
    }
  }
  CollectAndVerify(*heap_);
  for (size_t i = 0; i < kArrays; ++i) {
    for (size_t j = 0; j < kQuads; ++j) {
      for (size_t k = 0; k < 4; ++k) {
        ASSERT_EQ(arrays->at(i)->at(j).nodes[k]->left->value, static_cast<int64_t>(j + k));
      }
    }
  }
  if (std::get<1>(GetParam()) == 0) {
    EXPECT_EQ(heap_->stats().worklist_overflows, 0);
  }
}

// Regions that fail again and again hold objects that died in between.
TEST_P(TracerTest, ManyCyclesOfAChangingGraph) {
  Local<RefArray<Node>> array(mutator_, mutator_.NewRefArray<Node>(500));
  for (int round = 0; round < 12; ++round) {
    for (size_t i = static_cast<size_t>(round) % 3; i < array->size(); i += 3) {
      Local<Node> tree(mutator_, NewTree(mutator_, 2));
      array->at(i) = tree;
    }
    CollectAndVerify(*heap_);
    for (size_t i = 0; i < array->size(); ++i) {
      if (round >= 2 || array->at(i)) {
        ASSERT_EQ(Sum(array->at(i)), 7);
      }
    }
  }
  if (std::get<2>(GetParam()) != 0) {
    EXPECT_GT(heap_->stats().retained_objects, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(All, TracerTest,
                         ::testing::Combine(::testing::Values(1, 2, 4), ::testing::Values(0, 1),
                                            ::testing::Values(0, 3)),
                         [](const auto& info) {
                           return absl::StrCat("Workers", std::get<0>(info.param), "Capacity",
                                               std::get<1>(info.param), "Fail",
                                               std::get<2>(info.param));
                         });

// 300 evacuations a cycle, of which every 1,000th finds no memory: cycle 4 retains, cycle 5 moves
// on what it left.
TEST(TracerRetentionTest, LeftoversMoveOnInTheNextCycle) {
  Options options;
  options.collector = Collector::kParallel;
  options.max_bytes = 16 << 20;
  options.workers = 1;
  options.read_environment = false;
  options.stress.fail_evacuation = 1'000;
  auto heap = NewHeap(options);
  Mutator mutator(*heap);
  Local<Node> list(mutator, NewList(mutator, 300));
  for (int cycle = 1; cycle <= 8; ++cycle) {
    CollectAndVerify(*heap);
    EXPECT_TRUE(IsList(list, 300));
    const bool fails = cycle * 300 / 1'000 != (cycle - 1) * 300 / 1'000;
    const copyspace::BlockCounts counts = CopySpaceOf(*heap).counts();
    EXPECT_EQ(counts.retained, fails ? 1 : 0) << cycle;
    EXPECT_EQ(CopySpaceOf(*heap).has_retained(), fails) << cycle;
    if (fails) {
      // What lies beside it counts, too.
      EXPECT_GT(heap->stats().live_bytes, 300 * 32);
    } else {
      EXPECT_EQ(heap->stats().live_bytes, 300 * 32);
      EXPECT_EQ(CopySpaceOf(*heap).allocated_bytes(), Bytes(300 * 32));
    }
  }
  EXPECT_EQ(heap->stats().retained_objects, 2);
}

// Regions are filled to the last hundred bytes by ten big arrays and five small ones. A cycle
// copies all the big ones and all the small ones one after another, and so needs more regions.
TEST(TracerRetentionTest, ToSpaceIsReallyExhausted) {
  constexpr size_t kBig = (6'000 - 16) / 8;
  constexpr size_t kSmall = (1'096 - 16) / 8;
  Options options;
  options.collector = Collector::kParallel;
  options.max_bytes = 6 << 20;
  options.workers = 1;
  options.page_out = false;
  options.read_environment = false;
  auto heap = NewHeap(options);
  copyspace::Ledger& ledger = heap->core()->spaces().ledger();
  Mutator mutator(*heap);
  using Longs = Array<int64_t>;
  Local<RefArray<Longs>> big(mutator, mutator.NewRefArray<Longs>(2'000));
  Local<RefArray<Longs>> small(mutator, mutator.NewRefArray<Longs>(2'000));
  size_t bigs = 0, smalls = 0;
  const auto add = [&](Local<RefArray<Longs>>& array, size_t& count, size_t length) {
    Local<Longs> longs(mutator, mutator.NewArray<int64_t>(length));
    for (int64_t& number : *longs) number = static_cast<int64_t>(count);
    array->at(count++) = longs;
  };
  const auto intact = [](Local<RefArray<Longs>>& array, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      if (!array->at(i)) continue;
      for (int64_t number : *array->at(i)) {
        if (number != static_cast<int64_t>(i)) return false;
      }
    }
    return true;
  };
  while (heap->stats().collections == 0) {
    try {
      for (int i = 0; i < 10; ++i) add(big, bigs, kBig);
      for (int i = 0; i < 5; ++i) add(small, smalls, kSmall);
    } catch (const HeapExhausted&) {
    }
  }
  for (int i = 0; i < 3; ++i) CollectAndVerify(*heap);
  EXPECT_GT(heap->stats().retained_objects, 0);
  EXPECT_GT(CopySpaceOf(*heap).counts().retained, 0);
  EXPECT_LE(ledger.used(), ledger.limit());
  EXPECT_TRUE(intact(big, bigs));
  EXPECT_TRUE(intact(small, smalls));

  // With less to keep, the next cycles move on what was retained, and restore the overdraft.
  for (size_t i = 0; i < bigs; i += 2) big->at(i) = nullptr;
  int cycles = 0;
  while (CopySpaceOf(*heap).counts().retained > 0 && ++cycles < 20) CollectAndVerify(*heap);
  EXPECT_LT(cycles, 20);
  EXPECT_LE(ledger.used() + heap->core()->spaces().overdraft(), ledger.limit());
  EXPECT_TRUE(intact(big, bigs));
  EXPECT_TRUE(intact(small, smalls));
  for (int i = 0; i < 2'000; ++i) EXPECT_TRUE(mutator.TryNewArray<int64_t>(kBig).ok());
  CollectAndVerify(*heap);
}

// Of a list, which can only be traced node after node.
TEST(TracerTest, AnAbandonedTraceSoonEnds) {
  auto heap = NewHeap();
  Persistent<Node> list(*heap, NewList(*std::make_unique<Mutator>(*heap), 10'000));
  internal::HeapCore& core = *heap->core();
  internal::Trace& trace = core.trace();
  copyspace::CopySpace& space = CopySpaceOf(*heap);
  const Safepoints::Pause pause(core.safepoints(), /*self=*/nullptr);
  space.Flip(pause.stopped());
  trace.BeginBesideMutators();
  trace.Abandon();
  core.roots().ForwardBesideMutators(
      [&trace](std::atomic<uintptr_t>& slot) { trace.ForwardRoot(slot); });
  trace.Drain();
  EXPECT_TRUE(trace.idle());
  EXPECT_LT(trace.Finish().evacuation.evacuated_objects, 1'000);
  space.FinishCycleConcurrently();
}

}  // namespace
}  // namespace ebb
