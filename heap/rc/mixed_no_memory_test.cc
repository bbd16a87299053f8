// Detections of cycles through traced objects, in which each allocation of memory fails in turn.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"

namespace {

// The how-manieth allocation of this thread fails, from now on; none if it is negative.
thread_local int64_t fails_in = -1;

}  // namespace

void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return fails_in >= 0 && fails_in-- == 0 ? nullptr : std::malloc(size);
}
void* operator new(size_t size) {
  void* const memory = ::operator new(size, std::nothrow);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

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
Ptr<Mourned> MakeRing(Counting& c, int64_t* finalized, int64_t* destroyed) {
  Ptr<Mourned> first, last;
  for (int i = 0; i < kRing; ++i) {
    Ptr<Mourned> made = MakePtr<Mourned>(nullptr, first, finalized, destroyed);
    ebb::Local<Shelf> shelf(c.mutator, NewHolder<Shelf>(nullptr, made));
    for (int j = 0; j < 20; ++j) shelf = NewHolder<Shelf>(shelf, nullptr);
    made->shelf = shelf;
    if (last == nullptr) last = made;
    first = made;
  }
  last->next = first;
  return first;
}

// Until none does any more: what was found is as it was, and found by the next one.
TEST(MixedNoMemoryTest, ADetectionIsRetried) {
  int64_t failures = 0;
  bool failed = true;
  for (int64_t k = 0; failed; ++k) {
    SCOPED_TRACE(k);
    Counting c(DomainOptions(), 32 << 20);
    int64_t finalized = 0, destroyed = 0, called = 0;
    Ptr<Mourned> ring = MakeRing(c, &finalized, &destroyed);
    const Weak<Mourned> weak = ring;
    const WeakCallback callback(ring, [&called] { ++called; });
    ring = nullptr;
    fails_in = k;
    const absl::StatusOr<Detection> detection = c.domain.Collect();
    failed = fails_in < 0;
    fails_in = -1;
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
TEST(MixedNoMemoryTest, NothingIsKeptByHalves) {
  bool failed = true;
  for (int64_t k = 0; failed; ++k) {
    SCOPED_TRACE(k);
    Counting c(DomainOptions(), 32 << 20);
    int64_t finalized = 0, destroyed = 0;
    MakeRing(c, &finalized, &destroyed);
    c.domain.SetDebug({.save_all = true});
    fails_in = k;
    const absl::StatusOr<Detection> detection = c.domain.Collect();
    failed = fails_in < 0;
    fails_in = -1;
    c.domain.SetDebug({});
    c.domain.TakeGarbage();  // which drops it
    for (int again = 0; again < 3; ++again) ASSERT_TRUE(c.domain.Collect().ok());
    ASSERT_EQ(destroyed, kRing);
  }
}

}  // namespace
}  // namespace ebb::rc
