#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "heap/heap_for_test.h"

namespace ebb {
namespace {

std::unique_ptr<Heap> NewHeapUnderTest() {
  Options options;
  options.max_bytes = 16 << 20;
  options.collector = CollectorUnderTest();
  return NewHeap(options);
}

class CleanupTest : public testing::Test {
 protected:
  // Counts in called_.
  void AddTo(Ref<Node> object) {
    const absl::Status status = heap_->AddCleanup(object, [this] { ++called_; });
    ASSERT_TRUE(status.ok()) << status;
  }

  int called_ = 0;
  std::unique_ptr<Heap> heap_ = NewHeapUnderTest();
  Mutator mutator_{*heap_};
};

TEST_F(CleanupTest, CalledOnceWhenTheObjectHasBeenCollected) {
  Local<Node> root(mutator_, mutator_.New<Node>());
  root->left = mutator_.New<Node>();
  AddTo(root);
  AddTo(root);
  AddTo(root->left.load());
  EXPECT_EQ(heap_->stats().cleanups, 3);
  ASSERT_TRUE(heap_->Collect().ok());
  EXPECT_EQ(heap_->RunCleanups(), 0);
  root->left = nullptr;
  ASSERT_TRUE(heap_->Collect().ok());
  EXPECT_EQ(called_, 0) << "by a collection";
  EXPECT_EQ(heap_->RunCleanups(), 1);
  root = nullptr;
  ASSERT_TRUE(heap_->Collect().ok());
  EXPECT_EQ(heap_->RunCleanups(), 2);
  ASSERT_TRUE(heap_->Collect().ok());
  EXPECT_EQ(heap_->RunCleanups(), 0);
  EXPECT_EQ(called_, 3);
  EXPECT_EQ(heap_->stats().cleanups, 0);
}

// What is left is called when the Heap goes, and may still use it.
TEST_F(CleanupTest, CalledAtTheEndOfTheHeap) {
  std::unique_ptr<Heap> heap = NewHeapUnderTest();
  std::optional<Mutator> mutator(*heap);
  Local<Node> root(*mutator, mutator->New<Node>());
  Heap& the_heap = *heap;
  ASSERT_TRUE(heap->ReportExternal(100).ok());
  ASSERT_TRUE(heap->AddCleanup(Ref<Node>(root), [&] {
                    EXPECT_TRUE(the_heap.ReportExternal(-100).ok());
                    EXPECT_EQ(the_heap.stats().external_bytes, 0);
                    ++called_;
                  }).ok());
  heap.reset();
  EXPECT_EQ(called_, 1);
  root->value = 1;
  mutator.reset();
  EXPECT_EQ(called_, 1);
}

TEST_F(CleanupTest, MayUseTheHeapAndThrow) {
  AddTo(mutator_.New<Node>());
  ASSERT_TRUE(heap_->AddCleanup(mutator_.New<Node>(), [this] {
                       Local<Node> made(mutator_, mutator_.New<Node>());
                       AddTo(made);
                       heap_->RunCleanups();
                       throw std::runtime_error("on purpose");
                     }).ok());
  ASSERT_TRUE(heap_->AddCleanup(mutator_.New<Node>(), [] { throw 1; }).ok());
  ASSERT_TRUE(heap_->Collect().ok());
  EXPECT_EQ(heap_->RunCleanups(), 3);
  ASSERT_TRUE(heap_->Collect().ok());
  heap_->RunCleanups();
  EXPECT_EQ(called_, 2);
}

TEST_F(CleanupTest, WhatIsNoObjectIsRefused) {
  EXPECT_EQ(heap_->AddCleanup(Ref<Node>(), [] {}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(heap_->AddCleanup(mutator_.New<Node>(), nullptr).code(),
            absl::StatusCode::kInvalidArgument);
}

// Several threads add, collect and call at once: each cleanup is called once.
TEST(CleanupsOfManyThreadsTest, EachIsCalledOnce) {
  std::atomic<int> called = 0;
  std::unique_ptr<Heap> heap = NewHeapUnderTest();
  constexpr int kThreads = 4;
  constexpr int kEach = 300;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      Mutator mutator(*heap);
      for (int j = 0; j < kEach; ++j) {
        ASSERT_TRUE(heap->AddCleanup(mutator.New<Node>(), [&] { ++called; }).ok());
        if (j % 100 == 99) {
          ASSERT_TRUE(heap->Collect().ok());
        }
        if (j % 10 == 9) heap->RunCleanups();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(heap->Collect().ok());
  heap->RunCleanups();
  EXPECT_EQ(called, kThreads * kEach);
  EXPECT_EQ(heap->stats().cleanups, 0);
}

}  // namespace
}  // namespace ebb
