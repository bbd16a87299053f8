// Heap::Freeze where there is not the memory: it takes several cycles, or says so, and what it
// could not freeze is as it was.

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "heap/heap_for_test.h"
#include "platform/fake_system.h"

namespace ebb {
namespace {

class FreezeRunningOutTest : public ::testing::Test {
 protected:
  static constexpr int64_t kMaxBytes = 8 << 20;

  FreezeRunningOutTest()
      : heap_(NewHeap({.max_bytes = kMaxBytes,
                       .collector = CollectorUnderTest(),
                       .page_out = false,
                       .system = &system_})),
        mutator_(*heap_) {}
  ~FreezeRunningOutTest() override {
    const absl::Status status = heap_->Verify();
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(heap_->stats().counter_faults, 0);
  }

  // Of a list that has this share of what can live.
  static int64_t Length(double share) { return static_cast<int64_t>(share * kMaxBytes / 2 / 32); }
  void ExpectFrozen(Local<Node>& list, int64_t length) {
    std::vector<uintptr_t> addresses;
    for (Ref<Node> at = list; at != nullptr; at = at->left) addresses.push_back(at.bits());
    EXPECT_TRUE(heap_->Collect().ok());
    EXPECT_TRUE(IsList(list, length));
    size_t i = 0;
    for (Ref<Node> at = list; at != nullptr; at = at->left) EXPECT_EQ(at.bits(), addresses[i++]);
  }

  platform::FakeSystem system_;
  std::unique_ptr<Heap> heap_;
  Mutator mutator_;
};

// Both halves of what is alive, and what is frozen of it, do not fit at once.
TEST_F(FreezeRunningOutTest, TakesSeveralCycles) {
  const int64_t length = Length(0.7);
  Local<Node> list(mutator_, NewList(mutator_, length));
  const int64_t collections = heap_->stats().collections;
  const absl::Status status = heap_->Freeze();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_GT(heap_->stats().collections, collections + 1);
  ExpectFrozen(list, length);
}

// Large objects have what is missing.
TEST_F(FreezeRunningOutTest, SaysWhenThereIsNotEnough) {
  const int64_t length = Length(0.3);
  Local<Node> list(mutator_, NewList(mutator_, length));
  std::vector<Persistent<Array<uint64_t>>> large;
  for (;;) {
    absl::StatusOr<Ref<Array<uint64_t>>> array = mutator_.TryNewArray<uint64_t>(8 << 10);
    if (!array.ok()) break;
    large.emplace_back(*heap_, *array);
  }
  ASSERT_GT(large.size(), 2u);
  const absl::Status status = heap_->Freeze();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_TRUE(IsList(list, length));
  const absl::Status verified = heap_->Verify();
  EXPECT_TRUE(verified.ok()) << verified;
  // The program goes on, and may try again.
  large.clear();
  EXPECT_TRUE(heap_->Collect().ok());
  EXPECT_TRUE(heap_->Freeze().ok());
  ExpectFrozen(list, length);
}

// The system commits nothing more.
TEST_F(FreezeRunningOutTest, RefusedMemoryLeavesAllAsItWas) {
  Local<Node> list(mutator_, NewList(mutator_, 1000));
  EXPECT_TRUE(heap_->Collect().ok());
  system_.FailEvery(platform::Call::kCommit, 1);
  EXPECT_EQ(heap_->Freeze().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(IsList(list, 1000));
  EXPECT_EQ(heap_->stats().pinned_bytes, 0);
  system_.StopFailing();
  EXPECT_TRUE(heap_->Freeze().ok());
  ExpectFrozen(list, 1000);
}

// Where a nursery cannot be emptied, what stays in it is not frozen.
TEST_F(FreezeRunningOutTest, WhatStaysInANurseryCounts) {
  std::vector<Persistent<Array<uint64_t>>> large;
  const auto fill = [&] {
    for (;;) {
      absl::StatusOr<Ref<Array<uint64_t>>> array = mutator_.TryNewArray<uint64_t>(2 << 10);
      if (!array.ok()) return;
      large.emplace_back(*heap_, *array);
    }
  };
  fill();
  large.resize(large.size() - 8);
  EXPECT_TRUE(heap_->Collect().ok());
  Local<Node> list(mutator_, NewList(mutator_, 1000));
  fill();
  const bool all = heap_->Freeze().ok();
  large.clear();
  EXPECT_TRUE(heap_->Collect().ok());
  if (all) {
    ExpectFrozen(list, 1000);
  }
  EXPECT_TRUE(heap_->Freeze().ok());
  ExpectFrozen(list, 1000);
}

}  // namespace
}  // namespace ebb
