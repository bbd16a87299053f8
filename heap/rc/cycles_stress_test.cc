// Threads that rewire a graph full of rings, upgrade weak references into it, walk through it by
// Locals, come and go, while two others look for cyclic garbage, and the heap's cycles run back to
// back. EBB_SOAK (seconds) lengthens each case.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "heap/rc/rc.h"
#include "heap/rc/stress_cases_for_test.h"
#include "heap/stress_for_test.h"

namespace ebb::rc {
namespace {

// Each is destroyed once, and nobody sees it afterwards.
struct Knot {
  Field<Knot> left, right;
  std::atomic<int64_t>* alive = nullptr;
  int64_t stamp = 0;
  int64_t inverse = 0;

  bool Intact() const { return inverse == ~stamp; }
  ~Knot() {
    if (alive == nullptr) return;  // not made to the end
    EXPECT_TRUE(Intact());
    inverse = stamp;
    alive->fetch_sub(1, std::memory_order_relaxed);  // read when all have been joined
  }
};

// Is finalized once before. Now and then it changes what it leads to, or is revived for good, in a
// ring of its own that the next detection finds.
struct Mourned : Knot {
  int64_t finalized = 0;

  static void Finalize(Ptr<Mourned> self) {
    EXPECT_TRUE(self->Intact());
    EXPECT_EQ(++self->finalized, 1);
    EXPECT_TRUE(Domain::IsFinalized(self));
    if (self->stamp % 4 == 0) self->left = self->right;
    if (self->stamp % 8 == 0) self->right = self;
  }

  EBB_FIELDS(Mourned, left, right, alive, stamp, inverse, finalized)
};

class CyclesStressTest : public testing::TestWithParam<StressCase> {
 protected:
  void Live(uint64_t seed) {
    std::mt19937_64 random(seed);
    for (int life = 0; !threads_.time_is_up(); ++life) {
      if (random() % 4 == 0) {
        for (int i = 0; i < 30; ++i) CountUnattached(random);
        continue;
      }
      Mutator mutator(*heap_);
      Owner owner(domain_, mutator);
      for (int i = 0; i < 500; ++i) {
        try {
          Ptr<Knot> made = New(random);
          Rewire(std::move(made), random);
          if (i % 16 == 0) owner.Step(8);
          // At first there are no Locals, and nothing waits for them.
          if (life > 2 && i % 4 == 0) Walk(owner, random);
        } catch (const HeapExhausted&) {
          ClearAll();
        }
      }
    }
  }

  void Detect(uint64_t seed) {
    std::mt19937_64 random(seed);
    Mutator mutator(*heap_);
    Owner owner(domain_, mutator);
    while (!threads_.time_is_up()) {
      try {
        // What the detecting thread owns: a ring that only it knows, and one that is given away.
        Ptr<Knot> own = New(random);
        own->left = own;
        const Weak<Knot> weak = own;
        own = nullptr;
        Ptr<Knot> given = New(random);
        given->right = given;
        Rewire(std::move(given), random);
        absl::StatusOr<Detection> detection = domain_.Collect(absl::Milliseconds(2));
        ASSERT_TRUE(detection.ok()) << detection.status();
        ASSERT_EQ(weak.Upgrade(), nullptr);
        if (random() % 2 == 0) {
          ASSERT_TRUE(domain_.TrimCells().ok());
        }
      } catch (const HeapExhausted&) {
        ClearAll();
      }
    }
  }

  // What it passes by stays, whatever others make of the graph.
  void Walk(Owner& owner, std::mt19937_64& random) {
    Local<Knot> at(owner);
    {
      absl::MutexLock lock(&mu_);
      at = places_[random() % kPlaces];
    }
    for (int i = 0; i < 10 && at; ++i) {
      const Local<Knot> here = at;
      {
        absl::MutexLock lock(&mu_);
        at = random() % 2 == 0 ? here->left : here->right;
      }
      switch (random() % 4) {
        case 0:
          owner.Step(8);
          break;
        case 1:
          Rewire(here, random);
          break;
        case 2:
          Rewire(New(random), random);
          break;
        case 3:
          if (at) at = Local<Knot>(at);
          break;
      }
      ASSERT_TRUE(here->Intact());
      ASSERT_TRUE(!at || at->Intact());
    }
  }

  // By a thread that is not attached: it only copies, upgrades and drops.
  void CountUnattached(std::mt19937_64& random) {
    Ptr<Knot> found, dropped;
    Weak<Knot> weak;
    {
      absl::MutexLock lock(&mu_);
      found = places_[random() % kPlaces];
      weak = weaks_[random() % kPlaces];
    }
    Ptr<Knot> copy = random() % 2 == 0 ? found : weak.Upgrade();
    found = nullptr;
    absl::MutexLock lock(&mu_);
    std::swap(places_[random() % kPlaces], copy);
  }

  Ptr<Knot> New(std::mt19937_64& random) {
    Ptr<Knot> made;
    if (random() % 2 == 0) {
      made = MakePtr<Knot>();
    } else {
      made = MakePtr<Mourned>();
    }
    alive_.fetch_add(1, std::memory_order_relaxed);  // as in ~Knot
    made->stamp = static_cast<int64_t>(random());
    made->inverse = ~made->stamp;
    made->alive = &alive_;
    return made;
  }

  // What a Field refers to is changed and read under the lock, by attached threads.
  void Rewire(Ptr<Knot> made, std::mt19937_64& random) {
    Ptr<Knot> outside;  // is dropped without the lock
    Weak<Knot> weak;
    absl::MutexLock lock(&mu_);
    Ptr<Knot>& a = places_[random() % kPlaces];
    Ptr<Knot>& b = places_[random() % kPlaces];
    ASSERT_TRUE(!a || a->Intact());
    switch (random() % 10) {
      case 0:
      case 1:
        made->left = a;
        std::swap(a, made);
        break;
      case 2:
        if (a) a->right = b;
        break;
      case 3:
        if (a && &a != &b) a->left = std::move(b);
        break;
      case 4:
        if (a) a = a->left;
        break;
      case 5:
        if (a) outside = std::move(a->right);
        if (a && random() % 2 == 0) a->left = std::move(outside);
        break;
      case 6:
        if (a && b) std::swap(a->left, b->right);
        break;
      case 7:
        weaks_[random() % kPlaces] = a;
        callbacks_[random() % kPlaces] = WeakCallback(a, [this, weak = Weak<Knot>(a)] {
          EXPECT_EQ(weak.Upgrade(), nullptr);
          called_.fetch_add(1, std::memory_order_relaxed);  // as in ~Knot
        });
        std::swap(a, outside);
        break;
      case 8:
        outside = weaks_[random() % kPlaces].Upgrade();
        std::swap(a, outside);
        break;
      case 9:
        std::swap(b, outside);
        break;
    }
  }

  void ClearAll() {
    absl::MutexLock lock(&mu_);
    for (Ptr<Knot>& place : places_) place = nullptr;
    for (Weak<Knot>& weak : weaks_) weak = nullptr;
  }

  static constexpr size_t kPlaces = 8;

  std::atomic<int64_t> alive_ = 0;
  std::atomic<int64_t> called_ = 0;
  std::unique_ptr<Heap> heap_ = NewHeap(GetParam().options());
  Domain domain_{
      *heap_,
      {.reclaim = GetParam().domain_options().reclaim,
       .stores = GetParam().stores,
       .detect = GetParam().concurrent_workers == 2 ? Detect::kAutomatic : Detect::kBackground,
       .detect_after = 100}};
  absl::Mutex mu_;
  Ptr<Knot> places_[kPlaces] ABSL_GUARDED_BY(mu_);
  Weak<Knot> weaks_[kPlaces] ABSL_GUARDED_BY(mu_);
  WeakCallback callbacks_[kPlaces] ABSL_GUARDED_BY(mu_);
  Threads threads_{WorkingTime(/*seconds=*/0.4)};
};

TEST_P(CyclesStressTest, WhatIsInUseStaysAndTheRestGoes) {
  for (uint64_t seed = 1; seed <= 3; ++seed) threads_.AddOne([this, seed] { Live(seed); });
  for (uint64_t seed = 4; seed <= 5; ++seed) threads_.AddOne([this, seed] { Detect(seed); });
  threads_.AddCollector(*heap_);
  threads_.Join();
  ClearAll();
  {
    Mutator mutator(*heap_);
    Owner owner(domain_, mutator);
    // A finalizer may revive what leads to another that will do the same when that is destroyed;
    // and the domain's own thread may still be at it.
    const absl::Time end = absl::Now() + absl::Seconds(60);
    const auto some_left = [this] {
      const DomainStats stats = domain_.stats();
      return stats.made != stats.destroyed;
    };
    while (some_left() && absl::Now() < end) {
      while (owner.Step()) {
      }
      ASSERT_TRUE(domain_.Collect().ok());
    }
  }
  // Relaxed: nothing else is concluded from it.
  EXPECT_EQ(alive_.load(std::memory_order_relaxed), 0);
  const DomainStats stats = domain_.stats();
  EXPECT_EQ(stats.made, stats.destroyed);
  EXPECT_GT(stats.detected.collected, 0);
  EXPECT_GT(stats.detected.finalized, 0);
  EXPECT_GT(stats.finalized, stats.detected.finalized);
  EXPECT_GT(called_.load(std::memory_order_relaxed), 0);  // as above
  ExpectSound(*heap_);
}

INSTANTIATE_TEST_SUITE_P(All, CyclesStressTest, testing::ValuesIn(StressCases()), StressCaseName);

}  // namespace
}  // namespace ebb::rc
