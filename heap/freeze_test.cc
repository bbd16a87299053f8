// Heap::Freeze: what is alive stays where it then is, for every cycle; what is not goes. Runs as it
// is and under stress modes.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "heap/heap_for_test.h"

namespace ebb {

template <size_t kWords>
struct FreezeTestSized {
  Field<FreezeTestSized> next;
  std::array<uint64_t, kWords> words = {};
};
struct alignas(16) FreezeTestAligned {
  Field<Node> node;
  int64_t value = 0;

  EBB_FIELDS(FreezeTestAligned, node, value)
};

namespace {

template <typename H>
uintptr_t AddressOf(const H& handle) {
  return reinterpret_cast<uintptr_t>(handle.get());
}

std::vector<uintptr_t> AddressesOf(Ref<Node> list) {
  std::vector<uintptr_t> addresses;
  for (; list != nullptr; list = list->left) addresses.push_back(AddressOf(list));
  return addresses;
}

class FreezeTest : public ::testing::Test {
 protected:
  static constexpr int64_t kMiB = 1 << 20;

  explicit FreezeTest(const Options& options = Roomy())
      : heap_(NewHeap(options)), mutator_(*heap_) {}
  ~FreezeTest() override {
    const absl::Status status = heap_->Verify();
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(heap_->stats().counter_faults, 0);
  }

  static Options Roomy() { return {.max_bytes = 32 * kMiB, .large_object_bytes = 32 << 10}; }
  // Where evacuations fail, or worklists overflow, Freeze may leave some objects.
  bool FreezesAll() const {
    const Options options = heap_->options();
    return options.stress.fail_evacuation == 0 && options.stress.worklist_capacity == 0;
  }
  // True if all is frozen.
  bool Freeze() {
    const absl::Status status = heap_->Freeze();
    if (FreezesAll()) {
      EXPECT_TRUE(status.ok()) << status;
    } else if (!status.ok()) {
      EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    }
    return status.ok();
  }
  void Collect() {
    const absl::Status status = heap_->Collect();
    ASSERT_TRUE(status.ok()) << status;
  }
  template <size_t kWords>
  void ExpectFrozen() {
    using Sized = FreezeTestSized<kWords>;
    Local<Sized> list(mutator_);
    for (uint64_t i = 0; i < 5; ++i) {
      Local<Sized> made(mutator_, mutator_.New<Sized>());
      made->words.front() = made->words.back() = i;
      made->next = list;
      list = made;
    }
    const bool all = Freeze();
    const uintptr_t address = AddressOf(list);
    Collect();
    Collect();
    EXPECT_TRUE(!all || AddressOf(list) == address);
    uint64_t i = 5;
    for (Ref<Sized> at = list; at != nullptr; at = at->next) {
      --i;
      EXPECT_EQ(at->words.front(), i);
      EXPECT_EQ(at->words.back(), i);
    }
    EXPECT_EQ(i, 0u);
  }

  std::unique_ptr<Heap> heap_;
  Mutator mutator_;
};

TEST_F(FreezeTest, WhatIsAliveMovesNoMore) {
  Local<Node> list(mutator_, NewList(mutator_, 1000));
  Local<Node> tree(mutator_, NewTree(mutator_, 8));
  Persistent<Node> global(*heap_, mutator_.New<Node>(list, tree, 7));
  Weak<Node> weak(*heap_, global);
  Collect();
  const std::vector<uintptr_t> before = AddressesOf(list);
  Collect();
  if (FreezesAll()) {
    EXPECT_NE(AddressesOf(list), before);
  }

  const bool all = Freeze();
  const std::vector<uintptr_t> frozen = AddressesOf(list);
  for (int i = 0; i < 3; ++i) {
    Collect();
    if (all) {
      EXPECT_EQ(AddressesOf(list), frozen);
    }
    EXPECT_TRUE(IsList(list, 1000));
    EXPECT_EQ(Sum(tree), 511);
    EXPECT_EQ(global->value, 7);
    EXPECT_EQ(global->left, list);
    EXPECT_EQ(weak.load(), global);
  }
  // Once more: there is nothing to be moved.
  const bool again = Freeze();
  if (all && FreezesAll()) {
    EXPECT_TRUE(again);
  }
  if (all) {
    EXPECT_EQ(AddressesOf(list), frozen);
  }
}

TEST_F(FreezeTest, ObjectsOfManySizes) {
  ExpectFrozen<1>();
  ExpectFrozen<2>();
  ExpectFrozen<4>();
  ExpectFrozen<7>();
  ExpectFrozen<50>();
  ExpectFrozen<1000>();
  ExpectFrozen<3900>();
  ExpectFrozen<4090>();  // larger than any slot, and still one that moves
  ExpectFrozen<5000>();  // large: it never moves
}

TEST_F(FreezeTest, ArraysAndStringsAndAlignedObjects) {
  Local<RefArray<FreezeTestAligned>> array(mutator_, mutator_.NewRefArray<FreezeTestAligned>(300));
  for (size_t i = 0; i < array->size(); ++i) {
    Ref<FreezeTestAligned> made = mutator_.New<FreezeTestAligned>(nullptr, int64_t{1});
    array->at(i) = made;
  }
  Local<String> text(mutator_, mutator_.NewString("frozen"));
  const bool all = Freeze();
  const uintptr_t array_at = AddressOf(array);
  const uintptr_t text_at = AddressOf(text);
  Collect();
  for (size_t i = 0; i < array->size(); ++i) {
    EXPECT_EQ(AddressOf(array->at(i).load()) % 16, 0u);
    EXPECT_EQ(array->at(i)->value, 1);
  }
  EXPECT_EQ(text->view(), "frozen");
  EXPECT_TRUE(!all || (AddressOf(array) == array_at && AddressOf(text) == text_at));
}

// Edges from frozen objects to others are forwarded, and remembered.
TEST_F(FreezeTest, FrozenObjectsReferToNewOnes) {
  Local<Node> list(mutator_, NewList(mutator_, 100));
  Freeze();
  for (int round = 0; round < 4; ++round) {
    for (Local<Node> at(mutator_, list); at; at = at->left) {
      Ref<Node> made = mutator_.New<Node>(nullptr, nullptr, at->value + round);
      at->right = made;
    }
    if (HasGenerations(*heap_)) {
      EXPECT_TRUE(heap_->Collect(CollectKind::kMinor).ok());
    }
    if (round % 2 == 1) Collect();
    for (Ref<Node> at = list; at != nullptr; at = at->left) {
      EXPECT_EQ(at->right->value, at->value + round);
    }
    EXPECT_TRUE(heap_->Verify().ok());
  }
  // What has been made since is moved until it is frozen, too.
  const bool all = Freeze();
  const uintptr_t address = AddressOf(list->right.load());
  Collect();
  EXPECT_TRUE(!all || AddressOf(list->right.load()) == address);
}

TEST_F(FreezeTest, FrozenGarbageGoes) {
  const int64_t pinned_before = heap_->stats().pinned_bytes;
  Local<Node> list(mutator_, NewList(mutator_, 3000));
  list->right = list;
  Weak<Node> weak(*heap_, list);
  const bool all = Freeze();
  if (all) {
    EXPECT_GE(heap_->stats().pinned_bytes, pinned_before + 3000 * 32);
  }
  const int64_t heap_bytes = heap_->stats().heap_bytes;
  list = nullptr;
  Collect();
  EXPECT_EQ(weak.load(), nullptr);
  EXPECT_EQ(heap_->stats().pinned_bytes, pinned_before);
  if (all) {
    EXPECT_LE(heap_->stats().heap_bytes, heap_bytes - 3000 * 32 / 2);
  }
}

TEST_F(FreezeTest, IsRefusedWithinANoSafepointScope) {
  Local<Node> node(mutator_, mutator_.New<Node>(nullptr, nullptr, 1));
  const uintptr_t address = AddressOf(node);
  const NoSafepoint scope(mutator_);
  EXPECT_EQ(heap_->Freeze().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(AddressOf(node), address);
}

TEST_F(FreezeTest, ByAThreadThatIsNotAttached) {
  Local<Node> list(mutator_, NewList(mutator_, 100));
  bool all = false;
  {
    const Blocking blocking(mutator_);
    std::thread([&] { all = Freeze(); }).join();
  }
  const std::vector<uintptr_t> frozen = AddressesOf(list);
  Collect();
  EXPECT_TRUE(!all || AddressesOf(list) == frozen);
  EXPECT_TRUE(IsList(list, 100));
}

}  // namespace
}  // namespace ebb
