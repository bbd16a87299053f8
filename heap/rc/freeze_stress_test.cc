// Threads that make counted objects with counted and traced fields, store, read and drop them,
// while one freezes the domain again and again, and the heap's cycles run back to back. EBB_SOAK
// (seconds) lengthens each case.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"
#include "heap/rc/rc.h"
#include "heap/rc/stress_cases_for_test.h"
#include "heap/stress_for_test.h"

namespace ebb::rc {

struct FreezeStressNote {
  ebb::Field<FreezeStressNote> older;
  int64_t stamp = 0;
};

// Its note, and the one before, have its stamp.
struct FreezeStressStone {
  ebb::Field<FreezeStressNote> note;
  Field<FreezeStressStone> next;
  std::atomic<int64_t>* alive = nullptr;
  int64_t stamp = 0;
  int64_t inverse = 0;

  bool Intact() const {
    const Ref<FreezeStressNote> noted = note.load();
    if (inverse != ~stamp || noted == nullptr || noted->stamp != stamp) return false;
    const Ref<FreezeStressNote> older = noted->older;
    return older == nullptr || older->stamp == stamp;
  }
  ~FreezeStressStone() {
    if (alive == nullptr) return;  // not made to the end
    EXPECT_EQ(inverse, ~stamp);
    inverse = stamp;
    alive->fetch_sub(1, std::memory_order_relaxed);  // read when all have been joined
  }
};

namespace {

using Note = FreezeStressNote;
using Stone = FreezeStressStone;

class FreezeStressTest : public testing::TestWithParam<StressCase> {
 protected:
  void Live(uint64_t seed) {
    std::mt19937_64 random(seed);
    const auto step = [&](Owner& owner, int) {
      Play(owner.mutator(), random);
      owner.Step(8);
    };
    LiveByOwners(*heap_, domain_, threads_, step, [this] {
      absl::MutexLock lock(&mu_);
      for (Ptr<Stone>& place : places_) place = nullptr;
    });
  }

  void Play(Mutator& mutator, std::mt19937_64& random) {
    Ptr<Stone> made = MakePtr<Stone>();
    alive_.fetch_add(1, std::memory_order_relaxed);  // as in ~Stone
    made->stamp = static_cast<int64_t>(random());
    made->inverse = ~made->stamp;
    made->alive = &alive_;
    Write(mutator, made);
    Ptr<Stone> taken;
    {
      // No safepoint: what is named by raw pointers stays where it is.
      absl::MutexLock lock(&mu_);
      Ptr<Stone>& place = places_[random() % kPlaces];
      const Stone* const raw = place.get();
      made->next = place;
      std::swap(place, made);
      ASSERT_TRUE(raw == nullptr || raw->Intact());
      ASSERT_EQ(place->next.get(), raw);
      // Chains end some time.
      Ptr<Stone>& other = places_[random() % kPlaces];
      if (other && random() % 8 == 0) other->next = nullptr;
      if (other && random() % 4 == 0) taken = std::exchange(other, nullptr);
    }
    if (!taken) return;
    Write(mutator, taken);
    ASSERT_TRUE(taken->Intact());
  }

  // By whoever alone can write to the stone: that has just made it, or taken it.
  void Write(Mutator& mutator, const Ptr<Stone>& stone) {
    Ref<Note> note = mutator.New<Note>();
    note->stamp = stone->stamp;
    note->older = stone->note;
    if (note->older) note->older->older = nullptr;
    stone->note = note;
  }

  void Freeze(uint64_t seed) {
    std::mt19937_64 random(seed);
    while (!threads_.time_is_up()) {
      const absl::Status status = domain_.Freeze();
      ASSERT_TRUE(status.ok() || absl::IsResourceExhausted(status)) << status;
      if (random() % 2 == 0) domain_.Unfreeze();
    }
  }

  static constexpr size_t kPlaces = 64;

  std::atomic<int64_t> alive_ = 0;
  std::unique_ptr<Heap> heap_ = NewHeap(GetParam().options());
  Domain domain_{*heap_, GetParam().domain_options()};
  absl::Mutex mu_;
  Ptr<Stone> places_[kPlaces] ABSL_GUARDED_BY(mu_);
  Threads threads_{WorkingTime(/*seconds=*/0.4)};
};

TEST_P(FreezeStressTest, BesideThreadsThatMakeStoreAndDrop) {
  for (uint64_t i = 0; i < 2; ++i) {
    threads_.AddOne([this, i] { Live(/*seed=*/i); });
  }
  threads_.AddOne([this] { Freeze(/*seed=*/7); });
  threads_.AddCollector(*heap_);
  threads_.Join();

  Mutator mutator(*heap_);
  Owner owner(domain_, mutator);
  absl::MutexLock lock(&mu_);
  for (Ptr<Stone>& place : places_) {
    EXPECT_TRUE(!place || place->Intact());
  }
  const absl::Status status = heap_->Verify();
  EXPECT_TRUE(status.ok()) << status;
  if (GetParam().stress.fail_evacuation == 0 && GetParam().stress.worklist_capacity == 0) {
    EXPECT_TRUE(domain_.Freeze().ok());
    const Stone* addresses[kPlaces];
    for (size_t i = 0; i < kPlaces; ++i) addresses[i] = places_[i].get();
    EXPECT_TRUE(heap_->Collect().ok());
    for (size_t i = 0; i < kPlaces; ++i) {
      EXPECT_EQ(places_[i].get(), addresses[i]);
    }
  }
  for (Ptr<Stone>& place : places_) place = nullptr;
  owner.Step();
  EXPECT_EQ(alive_.load(std::memory_order_relaxed), 0);  // all threads have been joined
  ExpectSound(*heap_);
}

INSTANTIATE_TEST_SUITE_P(All, FreezeStressTest, testing::ValuesIn(StressCases()), StressCaseName);

}  // namespace
}  // namespace ebb::rc
