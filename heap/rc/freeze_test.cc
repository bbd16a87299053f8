// Domain::Freeze and the heap: counted objects stay where they are from then on, whoever refers to
// them and however, and live and die as ever.

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"

namespace ebb::rc {

// Holds what is traced, too.
struct FreezeTestMixed {
  ebb::Field<Node> traced;
  Field<FreezeTestMixed> next;
  int64_t value = 0;
};

namespace {

using Mixed = FreezeTestMixed;

std::vector<const Link*> AddressesOf(const Ptr<Link>& list) {
  std::vector<const Link*> addresses;
  for (const Link* at = list.get(); at != nullptr; at = at->next.get()) addresses.push_back(at);
  return addresses;
}

Ptr<Link> List(int64_t length) {
  Ptr<Link> list;
  for (int64_t i = 1; i <= length; ++i) list = MakePtr<Link>(list, nullptr, i);
  return list;
}

void ExpectList(const Ptr<Link>& list, int64_t length) {
  for (const Link* at = list.get(); at != nullptr; at = at->next.get()) {
    EXPECT_EQ(at->value, length--);
  }
  EXPECT_EQ(length, 0);
}

TEST(FreezeTest, CountedObjectsMoveNoMore) {
  Counting c;
  Ptr<Link> list = List(1000);
  EXPECT_TRUE(c.heap->Collect().ok());
  const std::vector<const Link*> before = AddressesOf(list);
  EXPECT_TRUE(c.heap->Collect().ok());
  EXPECT_NE(AddressesOf(list), before);
  EXPECT_TRUE(c.domain.Freeze().ok());
  EXPECT_EQ(c.domain.FreezeCount(), 1000);
  const std::vector<const Link*> frozen = AddressesOf(list);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(c.heap->Collect().ok());
    EXPECT_EQ(AddressesOf(list), frozen);
    ExpectList(list, 1000);
    EXPECT_TRUE(c.heap->Verify().ok());
  }
  // That is the heap's business, and not undone.
  c.domain.Unfreeze();
  EXPECT_TRUE(c.heap->Collect().ok());
  EXPECT_EQ(AddressesOf(list), frozen);
}

TEST(FreezeTest, TracedFieldsOfFrozenObjects) {
  Counting c;
  Ptr<Mixed> mixed;
  for (int64_t i = 0; i < 100; ++i) {
    mixed = MakePtr<Mixed>(nullptr, mixed, i);
    Ref<Node> node = c.mutator.New<Node>(nullptr, nullptr, i);
    mixed->traced = node;
  }
  EXPECT_TRUE(c.domain.Freeze().ok());
  const Node* const frozen = mixed->traced.load().get();
  // Half of them come to refer to what moves.
  for (int round = 0; round < 3; ++round) {
    for (Ptr<Mixed> at = mixed->next; at && at->next; at = at->next->next) {
      Ref<Node> node = c.mutator.New<Node>(nullptr, nullptr, at->value);
      at->traced = node;
    }
    EXPECT_TRUE(c.heap->Collect().ok());
    EXPECT_TRUE(c.heap->Verify().ok());
    int64_t expected = 100;
    for (const Mixed* at = mixed.get(); at != nullptr; at = at->next.get()) {
      EXPECT_EQ(at->value, --expected);
      EXPECT_EQ(at->traced->value, expected);
    }
    EXPECT_EQ(expected, 0);
    EXPECT_EQ(mixed->traced.load().get(), frozen);
  }
}

TEST(FreezeTest, FrozenObjectsDieByTheirCounts) {
  std::vector<int64_t> log;
  Counting c;
  Ptr<Witness> kept = MakePtr<Witness>(nullptr, nullptr, &log, 1);
  kept->left = MakePtr<Witness>(nullptr, nullptr, &log, 2);
  const Weak<Witness> weak = kept->left;
  EXPECT_TRUE(c.domain.Freeze().ok());
  EXPECT_EQ(weak.Upgrade(), kept->left);
  const int64_t pinned = c.heap->stats().pinned_bytes;
  kept->left = nullptr;
  EXPECT_EQ(log, std::vector<int64_t>{2});
  EXPECT_EQ(weak.Upgrade(), nullptr);
  EXPECT_EQ(c.domain.FreezeCount(), 1);
  EXPECT_TRUE(c.heap->Collect().ok());
  EXPECT_LT(c.heap->stats().pinned_bytes, pinned);
  kept = nullptr;
  EXPECT_TRUE(c.heap->Collect().ok());
  EXPECT_EQ(c.heap->stats().pinned_bytes, 0);
}

TEST(FreezeTest, WhatWaitsToBeDestroyedIsDestroyedAllTheSame) {
  Counting c({.reclaim = Reclaim::kLazy});
  std::vector<int64_t> log;
  MakePtr<Witness>(nullptr, nullptr, &log, 1);
  EXPECT_TRUE(c.domain.Freeze().ok());
  c.owner.Step();
  EXPECT_EQ(log, std::vector<int64_t>{1});
  EXPECT_EQ(c.alive(), 0);
}

TEST(FreezeTest, ByAThreadWithoutAnOwner) {
  Counting c;
  Ptr<Link> list = List(100);
  {
    const Blocking blocking(c.mutator);
    std::thread([&] { EXPECT_TRUE(c.domain.Freeze().ok()); }).join();
  }
  EXPECT_EQ(c.domain.FreezeCount(), 100);
  const std::vector<const Link*> frozen = AddressesOf(list);
  EXPECT_TRUE(c.heap->Collect().ok());
  EXPECT_EQ(AddressesOf(list), frozen);
}

struct Freezing {
  Domain* domain = nullptr;
  absl::StatusCode* code = nullptr;
  ~Freezing() {
    if (domain != nullptr) *code = domain->Freeze().code();
  }
};

TEST(FreezeTest, IsRefusedInADestructor) {
  Counting c;
  Ptr<Link> list = List(10);
  absl::StatusCode code = absl::StatusCode::kOk;
  Ptr<Freezing> freezing = MakePtr<Freezing>();
  freezing->code = &code;
  freezing->domain = &c.domain;
  freezing = nullptr;
  EXPECT_EQ(code, absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(c.domain.FreezeCount(), 0);
}

// What found no room is left to detections as well as the rest, and moves.
TEST(FreezeTest, InAHeapThatIsFull) {
  Counting c(DomainOptions(), 4 << 20);
  Ptr<Link> list;
  int64_t length = 0;
  try {
    for (;; ++length) list = MakePtr<Link>(list, nullptr, length + 1);
  } catch (const HeapExhausted&) {
  }
  EXPECT_EQ(c.domain.Freeze().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(c.domain.FreezeCount(), length);
  ExpectList(list, length);
  EXPECT_TRUE(c.heap->Verify().ok());
  // With more memory, the rest follows.
  EXPECT_TRUE(c.heap->SetMaxBytes(16 << 20).ok());
  EXPECT_TRUE(c.domain.Freeze().ok());
  const std::vector<const Link*> frozen = AddressesOf(list);
  EXPECT_TRUE(c.heap->Collect().ok());
  EXPECT_EQ(AddressesOf(list), frozen);
  ExpectList(list, length);
}

}  // namespace
}  // namespace ebb::rc
