#include "heap/weak.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "heap/heap_for_test.h"

namespace ebb {
namespace {

class WeakTest : public testing::Test {
 protected:
  // What a Local or a field does not hold goes. Where an evacuation fails on purpose, too: an
  // object is retained because it was reached.
  void Collect() { ASSERT_TRUE(heap_->Collect().ok()); }
  void Verify() {
    const absl::Status status = heap_->Verify();
    EXPECT_TRUE(status.ok()) << status;
  }

  std::unique_ptr<Heap> heap_ = NewHeap();
  Mutator mutator_{*heap_};
};

TEST_F(WeakTest, FollowsWhatIsAlive) {
  Local<Node> root(mutator_, mutator_.New<Node>());
  root->value = 7;
  const Weak<Node> weak(*heap_, root);
  for (int i = 0; i < 4; ++i) {
    Collect();
    Verify();
    ASSERT_EQ(weak.load(), root);
    EXPECT_EQ(weak.load()->value, 7);
  }
}

TEST_F(WeakTest, IsNullWhenNothingElseLeadsToTheObject) {
  Local<Node> root(mutator_, mutator_.New<Node>());
  Weak<Node> weak(*heap_, root);
  Weak<Node> child(*heap_);
  root->left = mutator_.New<Node>();
  child = root->left.load();
  Verify();
  root->left = nullptr;
  Collect();
  EXPECT_EQ(child.load(), nullptr);
  EXPECT_EQ(weak.load(), root);
  root = nullptr;
  Collect();
  EXPECT_EQ(weak.load(), nullptr);
  Verify();
  // It can be used again.
  root = mutator_.New<Node>();
  weak = Ref<Node>(root);
  Collect();
  EXPECT_EQ(weak.load(), root);
  weak = nullptr;
  EXPECT_EQ(weak.load(), nullptr);
}

// An object that has been loaded is one that a Local can keep.
TEST_F(WeakTest, WhatItNamesCanBeMadeReachableAgain) {
  Local<Node> root(mutator_, NewList(mutator_, 10));
  const Weak<Node> weak(*heap_, root);
  root = nullptr;
  root = weak.load();
  if (root) {  // a stress mode may have collected it
    Collect();
    EXPECT_EQ(weak.load(), root);
    EXPECT_EQ(root->left->value, 9);
  }
}

TEST_F(WeakTest, CyclesAreGarbageAllTheSame) {
  Local<Node> root(mutator_, mutator_.New<Node>());
  root->left = mutator_.New<Node>();
  root->left->left = root;
  const Weak<Node> weak(*heap_, root);
  root = nullptr;
  Collect();
  EXPECT_EQ(weak.load(), nullptr);
}

TEST_F(WeakTest, LargeAndPinnedObjects) {
  Local<Array<int64_t>> large(mutator_, mutator_.NewArray<int64_t>(5'000));
  Local<Node> pinned(mutator_, mutator_.NewPinned<Node>());
  const Weak<Array<int64_t>> to_large(*heap_, large);
  const Weak<Node> to_pinned(*heap_, pinned);
  for (int i = 0; i < 2; ++i) {
    Collect();
    EXPECT_EQ(to_large.load(), large);
    EXPECT_EQ(to_pinned.load(), pinned);
  }
  large = nullptr;
  pinned = nullptr;
  Collect();
  EXPECT_EQ(to_large.load(), nullptr);
  EXPECT_EQ(to_pinned.load(), nullptr);
  Verify();
}

// A thread that does nothing but read what is alive does not keep a cycle from ending.
TEST_F(WeakTest, ReadAgainAndAgainBesideCycles) {
  Local<Node> moves(mutator_, mutator_.New<Node>());
  Local<Node> pinned(mutator_, mutator_.NewPinned<Node>());
  std::unique_ptr<Heap> other_heap = NewHeap();  // with two cycles on, no load passes the filter
  const Weak<Node> to_moves(*heap_, moves);
  const Weak<Node> to_pinned(*heap_, pinned);
  std::atomic<bool> done = false;
  std::atomic<int64_t> rounds = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      Mutator mutator(*heap_);
      Mutator in_other(*other_heap);
      for (; !done; ++rounds) {
        EXPECT_EQ(to_moves.load()->value, 0);
        EXPECT_NE(to_pinned.load(), nullptr);
        mutator.Safepoint();
        in_other.Safepoint();
      }
    });
  }
  for (int i = 0; i < 10 || rounds < 100; ++i) {
    Collect();
    ASSERT_TRUE(other_heap->Collect().ok());
  }
  done = true;
  const Blocking blocking(mutator_);
  for (std::thread& reader : readers) reader.join();
}

TEST_F(WeakTest, CopiesNameTheSameObject) {
  Local<Node> root(mutator_, mutator_.New<Node>());
  const Weak<Node> weak(*heap_, root);
  std::vector<Weak<Node>> copies(1'500, weak);
  std::thread([&] { copies.resize(2'000, weak); }).join();  // not attached
  Weak<Node> moved = std::move(copies[0]);
  copies[0] = moved;
  Collect();
  for (const Weak<Node>& copy : copies) ASSERT_EQ(copy.load(), root);
  root = nullptr;
  Collect();
  for (const Weak<Node>& copy : copies) ASSERT_EQ(copy.load(), nullptr);
  EXPECT_EQ(moved.load(), nullptr);
}

TEST_F(WeakTest, WithoutAHeap) {
  Weak<Node> weak;
  EXPECT_EQ(weak.load(), nullptr);
  weak = nullptr;
  const Weak<Node> copy(weak);
  EXPECT_EQ(copy.load(), nullptr);
  weak = Weak<Node>(*heap_);
  Local<Node> root(mutator_, mutator_.New<Node>());
  weak = Ref<Node>(root);
  EXPECT_EQ(weak.load(), root);
}

TEST(WeakAndHeapTest, ReadsAsNullWhenTheHeapHasGone) {
  std::unique_ptr<Heap> heap = NewHeap();
  std::optional<Mutator> mutator(*heap);
  Local<Node> root(*mutator, mutator->New<Node>());
  const Weak<Node> weak(*heap, root);
  heap.reset();
  EXPECT_EQ(weak.load(), nullptr);
  mutator.reset();
  EXPECT_EQ(Weak<Node>(weak).load(), nullptr);
}

// Minor cycles clear what was young, and nothing else.
TEST(WeakAndNurseryTest, MinorCycles) {
  Options options;
  options.max_bytes = 16 << 20;
  options.collector = Collector::kGenerational;
  options.nursery_bypass = false;
  options.read_environment = false;
  std::unique_ptr<Heap> heap = NewHeap(options);
  Mutator mutator(*heap);
  Local<Node> kept(mutator, mutator.New<Node>());
  kept->value = 1;
  const Weak<Node> to_kept(*heap, kept);
  Weak<Node> to_dropped(*heap, mutator.New<Node>());
  // Young, then a cycle old, then in the copy space.
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(heap->Collect(CollectKind::kMinor).ok());
    EXPECT_EQ(to_kept.load(), kept);
    EXPECT_EQ(to_kept.load()->value, 1);
    EXPECT_EQ(to_dropped.load(), nullptr);
    to_dropped = mutator.New<Node>();
    EXPECT_TRUE(heap->Verify().ok());
  }
  // An old object is a whole cycle's business.
  kept = nullptr;
  ASSERT_TRUE(heap->Collect(CollectKind::kMinor).ok());
  EXPECT_EQ(to_kept.load()->value, 1);
  ASSERT_TRUE(heap->Collect().ok());
  EXPECT_EQ(to_kept.load(), nullptr);
}

}  // namespace
}  // namespace ebb
