// Weak references that are read, stored and copied by many threads beside cycles that run back to
// back. EBB_SOAK (seconds) lengthens each case.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "heap/concurrent_for_test.h"
#include "heap/stamped_for_test.h"
#include "heap/stress_for_test.h"

namespace ebb {
namespace {

using Board = RefArray<Stamped>;

constexpr size_t kPlaces = 60;

class WeakStressTest : public testing::TestWithParam<ConcurrentCase> {
 protected:
  WeakStressTest()
      : heap_(NewHeap(GetParam().options())),
        board_(*heap_),
        shared_(kPlaces, Weak<Stamped>(*heap_)),
        threads_(WorkingTime(/*seconds=*/0.4)) {
    Mutator mutator(*heap_);
    board_ = mutator.NewRefArray<Stamped>(kPlaces);
  }

  // Makes objects known by Weaks, of all threads; keeps some, drops others, and makes some that it
  // knows by a Weak only reachable again.
  void AddPlayer(uint64_t seed) {
    threads_.AddOne([this, seed] {
      Mutator mutator(*heap_);
      std::mt19937_64 random(seed);
      Weak<Stamped> one(*heap_), other(*heap_);  // of the same object
      while (!threads_.time_is_up()) {
        try {
          ASSERT_TRUE(Play(mutator, random, one, other));
        } catch (const HeapExhausted&) {
          for (size_t i = 0; i < kPlaces; ++i) board_->at(i) = nullptr;
        }
      }
    });
  }

  bool Play(Mutator& mutator, std::mt19937_64& random, Weak<Stamped>& one, Weak<Stamped>& other) {
    const size_t place = random() % kPlaces;
    Local<Stamped> found(mutator, shared_[random() % kPlaces].load());
    if (!Wander(found, 5, random)) return false;
    switch (random() % 4) {
      case 0:
        found = NewStamped(mutator, found, random);
        shared_[random() % kPlaces] = Ref<Stamped>(found);
        board_->at(place) = found;
        break;
      case 1:
        board_->at(place) = nullptr;
        shared_[place] = shared_[random() % kPlaces].load();  // often null
        break;
      case 2:
        if (found) board_->at(place) = found;
        break;
      case 3:
        found = NewStamped(mutator, found, random);
        one = other = Ref<Stamped>(found);
        found = nullptr;
        break;
    }
    mutator.Safepoint();
    // They are cleared together: whichever is looked at first says what the other one is.
    const Ref<Stamped> first = one.load();
    const Ref<Stamped> second = other.load();
    EXPECT_EQ(first, second);
    return first == second && (first == nullptr || Intact(first)) && (!found || Intact(found));
  }

  std::unique_ptr<Heap> heap_;
  Persistent<Board> board_;
  std::vector<Weak<Stamped>> shared_;
  Threads threads_;
};

TEST_P(WeakStressTest, PlayersAndCopies) {
  for (uint64_t i = 0; i < 3; ++i) AddPlayer(i);
  // Unattached: it can copy and drop a Weak, and not read it.
  threads_.Add([this] {
    const std::vector<Weak<Stamped>> copies(100, shared_[0]);
    return true;
  });
  threads_.AddCollector(*heap_);
  threads_.Join();
  ExpectSound(*heap_);
  Mutator mutator(*heap_);
  for (size_t i = 0; i < kPlaces; ++i) board_->at(i) = nullptr;
  ASSERT_TRUE(heap_->Collect().ok());
  for (const Weak<Stamped>& weak : shared_) EXPECT_EQ(weak.load(), nullptr);
}

INSTANTIATE_TEST_SUITE_P(All, WeakStressTest, testing::ValuesIn(ConcurrentCases()), CaseName);

}  // namespace
}  // namespace ebb
