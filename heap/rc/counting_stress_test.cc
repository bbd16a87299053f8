// Threads that hand counted objects on, copy the same ones, hold weak references to what dies, come
// and go, while cycles run back to back. EBB_SOAK (seconds) lengthens each case.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"
#include "heap/rc/rc.h"
#include "heap/rc/stress_cases_for_test.h"
#include "heap/stress_for_test.h"

namespace ebb::rc {
namespace {

// Each is destroyed once, and nobody sees it afterwards.
struct Stamped {
  Field<Stamped> below;
  ebb::Field<Node> traced;  // its value is the stamp
  std::atomic<int64_t>* alive = nullptr;
  int64_t stamp = 0;
  int64_t inverse = 0;

  bool Intact() const { return inverse == ~stamp && (traced == nullptr || traced->value == stamp); }
  ~Stamped() {
    if (alive == nullptr) return;  // not made to the end
    EXPECT_TRUE(Intact());
    inverse = stamp;
    alive->fetch_sub(1, std::memory_order_relaxed);  // read when all have been joined
  }
};

// What threads share, each under a lock.
struct Place {
  absl::Mutex mu;
  Ptr<Stamped> ptr ABSL_GUARDED_BY(mu);
  Weak<Stamped> weak ABSL_GUARDED_BY(mu);
};

class CountingStressTest : public testing::TestWithParam<StressCase> {
 protected:
  // One of the threads' lives: with an Owner, or as one that only copies and drops.
  void Live(uint64_t seed) {
    std::mt19937_64 random(seed);
    while (!threads_.time_is_up()) {
      if (random() % 4 == 0) {
        for (int i = 0; i < 50; ++i) Pass(random);
        continue;
      }
      Mutator mutator(*heap_);
      Owner owner(domain_, mutator);
      std::vector<Ptr<Stamped>> own(8);
      for (int i = 0; i < 300; ++i) {
        try {
          ASSERT_TRUE(Play(owner, own[random() % own.size()], random));
        } catch (const HeapExhausted&) {
          own.assign(own.size(), nullptr);
          Replace(random, nullptr);
        }
      }
    }
  }

  Place& AnyPlace(std::mt19937_64& random) { return places_[random() % kPlaces]; }

  Ptr<Stamped> Look(std::mt19937_64& random) {
    Place& place = AnyPlace(random);
    absl::MutexLock lock(&place.mu);
    return place.ptr;
  }
  // What was there is dropped without the lock.
  void Replace(std::mt19937_64& random, Ptr<Stamped> ptr) {
    Place& place = AnyPlace(random);
    absl::MutexLock lock(&place.mu);
    std::swap(place.ptr, ptr);
  }

  // What a thread may do that is not attached.
  void Pass(std::mt19937_64& random) {
    Ptr<Stamped> found = Look(random);
    Weak<Stamped> weak = found;
    Ptr<Stamped> copy = found;
    found = nullptr;
    Replace(random, random() % 2 == 0 ? std::move(copy) : weak.Upgrade());
  }

  bool Play(Owner& owner, Ptr<Stamped>& mine, std::mt19937_64& random) {
    switch (random() % 9) {
      case 0:
        // On what is not itself on something, so that nothing piles up.
        mine = New(owner, mine && !mine->below ? mine : nullptr, random);
        break;
      case 1:
        mine = nullptr;
        break;
      case 2:
        Replace(random, mine);
        break;
      case 3:
      case 4:
        mine = Look(random);
        break;
      case 5: {
        Weak<Stamped> weak = mine;
        Place& place = AnyPlace(random);
        absl::MutexLock lock(&place.mu);
        std::swap(place.weak, weak);
        break;
      }
      case 6: {
        Weak<Stamped> weak;
        {
          Place& place = AnyPlace(random);
          absl::MutexLock lock(&place.mu);
          weak = place.weak;
        }
        mine = weak.Upgrade();  // unless it died meanwhile
        break;
      }
      case 7:
        owner.Step(3);
        break;
      case 8:
        return Name(owner, mine, random);
    }
    if (!mine) return true;
    return mine->Intact() && (!mine->below || mine->below->Intact());
  }

  // What nothing but a Local may refer to stays as it was.
  bool Name(Owner& owner, Ptr<Stamped>& mine, std::mt19937_64& random) {
    Local<Stamped> older(owner);
    Local<Stamped> local(owner, mine);
    mine = nullptr;
    if (local == nullptr) {
      Place& place = AnyPlace(random);
      absl::MutexLock lock(&place.mu);
      local = place.ptr;
    }
    if (local == nullptr) return true;
    Local<Stamped> below(owner, local->below);
    if (random() % 2 == 0) older = local->below;
    if (random() % 2 == 0) Replace(random, local);
    if (random() % 2 == 0) owner.Step(3);
    if (random() % 2 == 0) local = below;
    if (random() % 2 == 0) MakePtr<Stamped>();
    const auto is_intact = [](const Local<Stamped>& s) { return s == nullptr || s->Intact(); };
    if (random() % 4 == 0) mine = local;
    return is_intact(local) && is_intact(below) && is_intact(older);
  }

  Ptr<Stamped> New(Owner& owner, Ptr<Stamped> below, std::mt19937_64& random) {
    const int64_t stamp = static_cast<int64_t>(random());
    Ref<Node> node = owner.mutator().New<Node>(nullptr, nullptr, stamp);
    Ptr<Stamped> made = MakePtr<Stamped>(std::move(below), node);
    alive_.fetch_add(1, std::memory_order_relaxed);  // as in ~Stamped
    made->stamp = stamp;
    made->inverse = ~stamp;
    made->alive = &alive_;
    return made;
  }

  static constexpr size_t kPlaces = 6;

  std::atomic<int64_t> alive_ = 0;
  std::unique_ptr<Heap> heap_ = NewHeap(GetParam().options());
  Domain domain_{*heap_, GetParam().domain_options()};
  Place places_[kPlaces];
  Threads threads_{WorkingTime(/*seconds=*/0.4)};
};

TEST_P(CountingStressTest, HandedOnCopiedAndUpgraded) {
  for (uint64_t seed = 1; seed <= 4; ++seed) threads_.AddOne([this, seed] { Live(seed); });
  threads_.AddCollector(*heap_);
  threads_.Join();
  {
    Mutator mutator(*heap_);
    Owner owner(domain_, mutator);
    for (Place& place : places_) {
      absl::MutexLock lock(&place.mu);
      place.ptr = nullptr;
      place.weak = nullptr;
    }
    EXPECT_FALSE(owner.Step());
  }
  // Relaxed: all have been joined.
  EXPECT_EQ(alive_.load(std::memory_order_relaxed), 0);
  const DomainStats stats = domain_.stats();
  EXPECT_EQ(stats.made, stats.destroyed);
  ExpectSound(*heap_);
}

INSTANTIATE_TEST_SUITE_P(All, CountingStressTest, testing::ValuesIn(StressCases()), StressCaseName);

}  // namespace
}  // namespace ebb::rc
