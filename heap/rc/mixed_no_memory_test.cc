// Detections of cycles through traced objects, in which each allocation of memory fails in turn.

#include <cstdint>
#include <string>

#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"
#include "heap/rc/failing_new_for_test.h"

namespace ebb::rc {
namespace {

struct Shelf;

struct Mourned {
  ebb::Field<Shelf> shelf;
  Field<Mourned> next;
  int64_t* finalized = nullptr;
  int64_t* destroyed = nullptr;

  static void Finalize(Ptr<Mourned> self) { ++*self->finalized; }
  ~Mourned() {
    if (destroyed != nullptr) ++*destroyed;
  }
};
struct Shelf {
  ebb::Field<Shelf> next;
  Field<Mourned> mourned;
};

constexpr int kRing = 20;

// A ring, each of which leads to a chain of traced objects and back.
Ptr<Mourned> MakeRing(Mutator& mutator, int64_t* finalized, int64_t* destroyed) {
  Ptr<Mourned> first, last;
  for (int i = 0; i < kRing; ++i) {
    Ptr<Mourned> made = MakePtr<Mourned>(nullptr, first, finalized, destroyed);
    ebb::Local<Shelf> shelf(mutator, NewHolder<Shelf>(nullptr, made));
    for (int j = 0; j < 20; ++j) shelf = NewHolder<Shelf>(shelf, nullptr);
    made->shelf = shelf;
    if (last == nullptr) last = made;
    first = made;
  }
  last->next = first;
  return first;
}

struct Case {
  std::string name;
  Stores stores = Stores::kEager;
  bool by_another = false;  // who has made the ring, and is to merge its counts
  bool forever = false;     // all that follows fails, too
};

class MixedNoMemoryTest : public testing::TestWithParam<Case> {
 protected:
  static Ptr<Mourned> MakeRing(Counting& c, int64_t* finalized, int64_t* destroyed) {
    if (!GetParam().by_another) return rc::MakeRing(c.mutator, finalized, destroyed);
    Ptr<Mourned> ring;
    RunOwner(c, [&] { ring = rc::MakeRing(*Mutator::Current(*c.heap), finalized, destroyed); });
    return ring;
  }
};

// Until none does any more: what was found is as it was, and found by the next one.
TEST_P(MixedNoMemoryTest, WhatWasNotFoundIsFoundNext) {
  int64_t failures = 0;
  bool failed = true;
  for (int64_t k = 0; failed; ++k) {
    SCOPED_TRACE(k);
    Counting c({.stores = GetParam().stores}, 32 << 20);
    int64_t finalized = 0, destroyed = 0, called = 0;
    Ptr<Mourned> ring = MakeRing(c, &finalized, &destroyed);
    const Weak<Mourned> weak = ring;
    const WeakCallback callback(ring, [&called] { ++called; });
    ring = nullptr;
    absl::StatusOr<Detection> detection;
    {
      const FailingNew failing(k, GetParam().forever);
      detection = c.domain.Collect();
      failed = failing.has_failed();
    }
    if (!detection.ok()) {
      ++failures;
      ASSERT_EQ(detection.status().code(), absl::StatusCode::kResourceExhausted)
          << detection.status();
      if (finalized == 0) {
        ASSERT_NE(weak.Upgrade(), nullptr);
      }
    }
    for (int again = 0; again < 3; ++again) ASSERT_TRUE(c.domain.Collect().ok());
    ASSERT_EQ(finalized, kRing);
    ASSERT_EQ(destroyed, kRing);
    ASSERT_EQ(called, 1);
    ASSERT_TRUE(c.heap->Collect().ok());
    ASSERT_TRUE(c.heap->Verify().ok());
  }
  EXPECT_GT(failures, 5);
}

// The same of what is kept.
TEST_P(MixedNoMemoryTest, NothingIsKeptByHalves) {
  int64_t failures = 0;
  bool failed = true;
  for (int64_t k = 0; failed; ++k) {
    SCOPED_TRACE(k);
    Counting c({.stores = GetParam().stores}, 32 << 20);
    int64_t finalized = 0, destroyed = 0;
    MakeRing(c, &finalized, &destroyed);
    c.domain.SetDebug({.save_all = true});
    {
      const FailingNew failing(k, GetParam().forever);
      failures += c.domain.Collect().ok() ? 0 : 1;
      failed = failing.has_failed();
    }
    c.domain.SetDebug({});
    c.domain.TakeGarbage();  // which drops it
    for (int again = 0; again < 3; ++again) ASSERT_TRUE(c.domain.Collect().ok());
    ASSERT_EQ(destroyed, kRing);
  }
  EXPECT_GT(failures, 5);
}

INSTANTIATE_TEST_SUITE_P(
    All, MixedNoMemoryTest,
    testing::Values(Case{.name = "Once"}, Case{.name = "Forever", .forever = true},
                    Case{.name = "ByAnother", .by_another = true},
                    Case{.name = "ByAnotherForever", .by_another = true, .forever = true},
                    Case{.name = "Coalesced", .stores = Stores::kCoalesced},
                    Case{
                        .name = "CoalescedForever", .stores = Stores::kCoalesced, .forever = true}),
    [](const testing::TestParamInfo<Case>& tested) { return tested.param.name; });

}  // namespace
}  // namespace ebb::rc
