// AtomicPtr and AtomicField: places that several threads load and store at once.

#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <utility>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"
#include "heap/stress_for_test.h"

namespace ebb::rc {
namespace {

// A member of a counted object, and its user from outside.
struct Node {
  AtomicField<Node> next;
  int64_t value = 0;
};

Ptr<Node> New(int64_t value) { return MakePtr<Node>(nullptr, value); }

template <typename Place>
void TryAllOperations(Counting& c, Place& place) {
  EXPECT_EQ(place.load(), nullptr);
  Ptr<Node> one = New(1), two = New(2);
  place.store(one);
  EXPECT_EQ(place.load(), one);
  EXPECT_EQ(one.use_count(), 2);
  EXPECT_EQ(place.exchange(two), one);
  EXPECT_EQ(one.use_count(), 1);
  Ptr<Node> expected = one;
  EXPECT_FALSE(place.compare_exchange(expected, one));
  EXPECT_EQ(expected, two);
  EXPECT_EQ(two.use_count(), 3);
  EXPECT_EQ(one.use_count(), 1);
  EXPECT_TRUE(place.compare_exchange(expected, one));
  EXPECT_EQ(expected, two);
  EXPECT_EQ(two.use_count(), 2);
  EXPECT_EQ(one.use_count(), 2);
  expected = nullptr;
  EXPECT_FALSE(place.compare_exchange(expected, nullptr));
  EXPECT_EQ(expected, one);
  place = two;
  Ptr<Node> loaded = place;
  EXPECT_EQ(loaded, two);
  const int64_t alive = c.alive();
  one = two = expected = loaded = nullptr;
  EXPECT_EQ(c.alive(), alive - 1);
  place = nullptr;
  EXPECT_EQ(c.alive(), alive - 2);
  expected = nullptr;
  EXPECT_TRUE(place.compare_exchange(expected, New(3)));
  EXPECT_EQ(place.load()->value, 3);
}

TEST(AtomicPtrTest, Operations) {
  Counting c;
  {
    AtomicPtr<Node> place;
    TryAllOperations(c, place);
    const AtomicPtr<Node> made(New(4));
    EXPECT_EQ(made.load()->value, 4);
  }
  EXPECT_EQ(c.alive(), 0);
}

TEST(AtomicPtrTest, OperationsInAnObject) {
  Counting c;
  Ptr<Node> holder = New(0);
  TryAllOperations(c, holder->next);
  ASSERT_TRUE(c.heap->Collect().ok());
  EXPECT_EQ(holder->next.load()->value, 3);
  holder = nullptr;
  EXPECT_EQ(c.alive(), 0);
}

TEST(AtomicPtrTest, RingsOfFieldsAreFound) {
  Counting c;
  Ptr<Node> ring = New(0);
  ring->next = New(1);
  ring->next.load()->next = ring;
  EXPECT_EQ(c.domain.Referents({ring})->at(0).As<Node>()->value, 1);
  EXPECT_EQ(c.domain.Collect()->collected, 0);
  // One out of a Field is from outside.
  Ptr<Node> out = ring->next.exchange(nullptr);
  ring = nullptr;
  EXPECT_EQ(c.alive(), 2);
  EXPECT_EQ(c.domain.Collect()->collected, 0);
  out->next.load()->next = out;
  out = nullptr;
  EXPECT_EQ(c.domain.Collect()->collected, 2);
  EXPECT_EQ(c.alive(), 0);
}

// What a place outside leads to is alive.
TEST(AtomicPtrTest, APlaceOutsideKeepsARingAlive) {
  Counting c;
  AtomicPtr<Node> place(New(0));
  place.load()->next = place;
  EXPECT_EQ(c.domain.Collect()->collected, 0);
  place = nullptr;
  EXPECT_EQ(c.domain.Collect()->collected, 1);
}

// Each is destroyed once, and nobody sees it afterwards.
struct Stamped {
  AtomicField<Stamped> next;
  std::atomic<int64_t>* alive = nullptr;
  int64_t stamp = 0;
  int64_t inverse = -1;

  ~Stamped() {
    EXPECT_EQ(inverse, ~stamp);
    inverse = stamp;
    if (alive != nullptr) alive->fetch_sub(1, std::memory_order_relaxed);  // read after joining
  }
};

TEST(AtomicPtrStressTest, ManyThreadsAtAFewPlaces) {
  constexpr size_t kPlaces = 3;
  std::atomic<int64_t> alive = 0;
  {
    Options options{.max_bytes = 32 << 20, .collector = CollectorUnderTest()};
    auto heap = NewHeap(options);
    Domain domain(*heap, {.detect = Detect::kBackground, .detect_after = 100});
    AtomicPtr<Stamped> places[kPlaces];
    Threads threads(WorkingTime(/*seconds=*/0.5));
    const auto live = [&](uint64_t seed) {
      std::mt19937_64 random(seed);
      Mutator mutator(*heap);
      Owner owner(domain, mutator);
      while (!threads.time_is_up()) {
        try {
          AtomicPtr<Stamped>& place = places[random() % kPlaces];
          Ptr<Stamped> made = MakePtr<Stamped>(nullptr, nullptr, 0, -1);
          made->stamp = static_cast<int64_t>(random());
          made->inverse = ~made->stamp;
          made->alive = &alive;
          alive.fetch_add(1, std::memory_order_relaxed);  // as in ~Stamped
          Ptr<Stamped> found = place;
          ASSERT_TRUE(found == nullptr || found->inverse == ~found->stamp);
          switch (random() % 5) {
            case 0:
              made->next = found;
              place.compare_exchange(found, made);
              break;
            case 1:
              if (found != nullptr) found->next = places[random() % kPlaces].load();
              break;
            case 2:
              if (found != nullptr) place = found->next.exchange(made);
              break;
            case 3:
              made = places[random() % kPlaces].exchange(made);
              break;
            case 4:
              if (found != nullptr) {
                Ptr<Stamped> next = found->next;
                found->next.compare_exchange(next, made);
                ASSERT_TRUE(next == nullptr || next->inverse == ~next->stamp);
              }
              break;
          }
          mutator.Safepoint();
        } catch (const HeapExhausted&) {
          for (AtomicPtr<Stamped>& place : places) place = nullptr;
        }
      }
    };
    for (uint64_t seed = 1; seed <= 3; ++seed) threads.AddOne([&, seed] { live(seed); });
    threads.AddOne([&] {  // not attached: it only hands over
      std::mt19937_64 random(4);
      while (!threads.time_is_up()) {
        Ptr<Stamped> found = places[random() % kPlaces];
        places[random() % kPlaces].exchange(std::move(found));
      }
    });
    threads.AddCollector(*heap);
    threads.Join();
    for (AtomicPtr<Stamped>& place : places) place = nullptr;
    Mutator mutator(*heap);
    Owner owner(domain, mutator);
    owner.Step();
    domain.Disable();
    ASSERT_TRUE(domain.Collect().ok());
    ExpectSound(*heap);
  }
  // Relaxed: all have been joined.
  EXPECT_EQ(alive.load(std::memory_order_relaxed), 0);
}

}  // namespace
}  // namespace ebb::rc
