// Threads that make, change, walk and drop graphs of counted and traced objects, while others
// detect cycles, and cycles of the heap run back to back. EBB_SOAK (seconds) lengthens each case.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "heap/persistent.h"
#include "heap/rc/rc.h"
#include "heap/rc/stress_cases_for_test.h"
#include "heap/stress_for_test.h"

namespace ebb::rc {
namespace {

struct Shelf;

struct Book {
  ebb::Field<Shelf> shelf;
  Field<Book> next;
  std::atomic<int64_t>* alive = nullptr;
  int64_t stamp = 0;
  int64_t inverse = 0;

  bool Intact() const { return inverse == ~stamp; }
  ~Book() {
    if (alive == nullptr) return;  // not made to the end
    EXPECT_TRUE(Intact());
    inverse = stamp;
    alive->fetch_sub(1, std::memory_order_relaxed);  // read when all have been joined
  }
};
struct Shelf {
  ebb::Field<Shelf> next;
  Field<Book> book;
};

class MixedStressTest : public testing::TestWithParam<StressCase> {
 protected:
  void Live(uint64_t seed) {
    std::mt19937_64 random(seed);
    const auto step = [&](Owner& owner, int i) {
      Change(owner.mutator(), random);
      ASSERT_TRUE(Walk(random));
      if (i % 16 == 0) owner.Step(8);
      if (i % 50 == static_cast<int>(seed)) {
        absl::StatusOr<Detection> detection = domain_.Collect(absl::Milliseconds(1));
        ASSERT_TRUE(detection.ok() || absl::IsResourceExhausted(detection.status()))
            << detection.status();
      }
    };
    LiveByOwners(*heap_, domain_, threads_, step, [this] { ClearAll(); });
  }

  // A new ring of a counted and a traced object, which leads to what is in one place, or is led to
  // from there, and is put into another.
  void Change(Mutator& mutator, std::mt19937_64& random) {
    Ptr<Book> made = MakePtr<Book>();
    alive_.fetch_add(1, std::memory_order_relaxed);  // as in ~Book
    made->stamp = static_cast<int64_t>(random());
    made->inverse = ~made->stamp;
    made->alive = &alive_;
    ebb::Local<Shelf> shelf(mutator, NewHolder<Shelf>(nullptr, made));
    made->shelf = shelf;
    absl::MutexLock lock(&mu_);
    Ptr<Book>& place = books_[random() % kPlaces];
    Persistent<Shelf>& kept = shelves_[random() % kPlaces];
    switch (random() % 6) {
      case 0:
        if (place != nullptr) place->shelf = shelf;
        break;
      case 1:
        if (Ref<Shelf>(kept) != nullptr) kept->book = made;
        break;
      case 2:
        if (Ref<Shelf>(kept) != nullptr) shelf->next = Ref<Shelf>(kept);
        kept = shelf;
        break;
      case 3:
        made->next = place;
        place = std::move(made);
        break;
      case 4:
        if (place != nullptr) place->next = made;
        break;
      case 5:
        kept = Ref<Shelf>();
        place = nullptr;
        break;
    }
  }

  // What is reached is as it was made.
  bool Walk(std::mt19937_64& random) {
    absl::MutexLock lock(&mu_);
    Ptr<Book> book = books_[random() % kPlaces];
    if (const Ref<Shelf> shelf = shelves_[random() % kPlaces]; shelf != nullptr) {
      if (random() % 2 == 0) book = shelf->book;
    }
    for (int i = 0; i < 8 && book != nullptr; ++i) {
      if (!book->Intact()) return false;
      if (random() % 2 == 0 || book->shelf == nullptr) {
        book = book->next;
      } else {
        const Ref<Shelf> shelf = book->shelf;
        book = shelf->next != nullptr && random() % 2 == 0 ? shelf->next->book : shelf->book;
      }
    }
    return true;
  }

  void ClearAll() {
    absl::MutexLock lock(&mu_);
    for (Ptr<Book>& place : books_) place = nullptr;
    for (Persistent<Shelf>& place : shelves_) place = Persistent<Shelf>(*heap_, Ref<Shelf>());
  }

  static constexpr size_t kPlaces = 6;

  std::atomic<int64_t> alive_ = 0;
  std::unique_ptr<Heap> heap_ = NewHeap(GetParam().options());
  Domain domain_{*heap_, GetParam().domain_options()};
  absl::Mutex mu_;
  Ptr<Book> books_[kPlaces] ABSL_GUARDED_BY(mu_);
  Persistent<Shelf> shelves_[kPlaces] ABSL_GUARDED_BY(mu_);
  Threads threads_{WorkingTime(/*seconds=*/0.4)};
};

TEST_P(MixedStressTest, RingsOfBothKinds) {
  ClearAll();
  for (uint64_t seed = 1; seed <= 3; ++seed) threads_.AddOne([this, seed] { Live(seed); });
  threads_.AddCollector(*heap_);
  threads_.Join();
  ClearAll();
  {
    Mutator mutator(*heap_);
    Owner owner(domain_, mutator);
    // Relaxed, all: the others have been joined.
    for (int64_t before = -1; before != alive_.load(std::memory_order_relaxed);) {
      before = alive_.load(std::memory_order_relaxed);
      ASSERT_TRUE(heap_->Collect().ok());
      while (owner.Step()) {
      }
      ASSERT_TRUE(domain_.Collect().ok());
    }
  }
  // Relaxed: all have been joined.
  EXPECT_EQ(alive_.load(std::memory_order_relaxed), 0);
  ExpectSound(*heap_);
}

INSTANTIATE_TEST_SUITE_P(All, MixedStressTest, testing::ValuesIn(StressCases()), StressCaseName);

}  // namespace
}  // namespace ebb::rc
