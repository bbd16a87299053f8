// Threads that resize objects, hand them on, read them by Locals, and change what these refer to,
// while cycles run back to back and one thread looks for garbage. EBB_SOAK (seconds) lengthens each
// case.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "heap/rc/rc.h"
#include "heap/rc/stress_cases_for_test.h"
#include "heap/stress_for_test.h"

namespace ebb::rc {

// All its bytes have the value `fill`, and what it refers to says the same.
struct SizedStamped {
  ebb::Field<Node> before;
  int64_t fill = 0;
  Field<SizedStamped> other;
  ebb::Field<Node> after;

  bool Intact() const {
    const absl::Span<const std::byte> bytes = ExtraBytes(this);
    return (before == nullptr || before->value == fill) &&
           (after == nullptr || after->value == fill) &&
           std::all_of(bytes.begin(), bytes.end(),
                       [this](std::byte b) { return b == static_cast<std::byte>(fill); });
  }
  ~SizedStamped() { EXPECT_TRUE(Intact()); }
};

namespace {

using Stamped = SizedStamped;

class SizedPtrStressTest : public testing::TestWithParam<StressCase> {
 protected:
  void Live(uint64_t seed) {
    std::mt19937_64 random(seed);
    while (!threads_.time_is_up()) {
      Mutator mutator(*heap_);
      Owner owner(domain_, mutator);
      std::vector<Ptr<Stamped>> own(6);
      for (int i = 0; i < 300; ++i) {
        try {
          ASSERT_TRUE(Play(owner, own[random() % own.size()], random));
        } catch (const HeapExhausted&) {
          own.assign(own.size(), nullptr);
          Exchange(random, nullptr);
        }
      }
    }
  }

  Ptr<Stamped> Exchange(std::mt19937_64& random, Ptr<Stamped> given) {
    const size_t place = random() % kPlaces;
    absl::MutexLock lock(&mu_);
    std::swap(places_[place], given);
    return given;
  }

  // What another thread may take away, and try to resize, while this one reads it.
  Local<Stamped> Look(Owner& owner, std::mt19937_64& random) {
    const size_t place = random() % kPlaces;
    absl::MutexLock lock(&mu_);
    return Local<Stamped>(owner, places_[place]);
  }

  static size_t AnySize(std::mt19937_64& random) {
    return random() % (random() % 8 == 0 ? 20'000 : 100);
  }

  bool Play(Owner& owner, Ptr<Stamped>& mine, std::mt19937_64& random) {
    if (!mine) {
      mine = MakePtrWithBytes<Stamped>(AnySize(random));
      return mine->Intact();
    }
    switch (random() % 9) {
      case 0:
        mine = Exchange(random, std::move(mine));
        return !mine || ResizeAndStamp(owner.mutator(), mine, random);
      case 1: {  // a ring of two, which soon is garbage
        Ptr<Stamped> other = MakePtrWithBytes<Stamped>(AnySize(random));
        if (!Resized(Resize(other, AnySize(random)))) return false;
        other->other = std::exchange(mine->other, nullptr);
        if (other->other) other->other->other = nullptr;
        mine->other = other;
        other->other = mine;
        break;
      }
      case 2:
        mine = nullptr;
        break;
      case 3:
        owner.Step(3);
        break;
      case 4:
        mine->other = nullptr;
        break;
      case 5: {
        const Local<Stamped> local = Look(owner, random);
        for (int i = 0; local && i < 50; ++i) {
          if (!local->Intact()) return false;
        }
        break;
      }
      default:
        return ResizeAndStamp(owner.mutator(), mine, random);
    }
    return true;
  }

  // Only what no other thread can refer to is changed.
  bool ResizeAndStamp(Mutator& mutator, Ptr<Stamped>& mine, std::mt19937_64& random) {
    const auto fill = static_cast<int64_t>(random() % 256);
    const ebb::Local<Node> node(mutator, mutator.New<Node>(nullptr, nullptr, fill));
    const size_t before = ExtraBytes(mine).size();
    const size_t bytes = AnySize(random);
    const absl::Status status = Resize(mine, bytes);
    if (!Resized(status)) return false;
    if (!status.ok()) return ExtraBytes(mine).size() == before;
    const absl::Span<std::byte> now = ExtraBytes(mine);
    const auto is = [](int64_t fill) {
      return [fill](std::byte b) { return b == static_cast<std::byte>(fill); };
    };
    const auto kept = static_cast<std::ptrdiff_t>(std::min(before, bytes));
    if (now.size() != bytes || !std::all_of(now.begin(), now.begin() + kept, is(mine->fill)) ||
        !std::all_of(now.begin() + kept, now.end(), is(0))) {
      return false;
    }
    mine->fill = fill;
    mine->before = node;
    mine->after = random() % 2 == 0 ? static_cast<Ref<Node>>(node) : nullptr;
    const absl::Span<std::byte> all = ExtraBytes(mine);
    std::fill(all.begin(), all.end(), static_cast<std::byte>(fill));
    resized_.fetch_add(1, std::memory_order_relaxed);  // read when all have been joined
    return mine->Intact();
  }

  // Whether it was, or there is a reason for it not to be.
  static bool Resized(const absl::Status& status) {
    if (status.ok() || absl::IsFailedPrecondition(status)) return true;
    if (absl::IsResourceExhausted(status)) throw HeapExhausted(status);
    return false;
  }

  static constexpr size_t kPlaces = 6;

  std::atomic<int64_t> resized_ = 0;
  std::unique_ptr<Heap> heap_ = NewHeap(GetParam().options());
  Domain domain_{*heap_, {.stores = GetParam().stores}};
  absl::Mutex mu_;
  std::vector<Ptr<Stamped>> places_ ABSL_GUARDED_BY(mu_) = std::vector<Ptr<Stamped>>(kPlaces);
  Threads threads_{WorkingTime(/*seconds=*/0.4)};
};

TEST_P(SizedPtrStressTest, ResizedAndHandedOn) {
  for (uint64_t seed = 1; seed <= 3; ++seed) threads_.AddOne([this, seed] { Live(seed); });
  threads_.Add([this] {
    const absl::Status status = domain_.Collect().status();
    return status.ok() || absl::IsResourceExhausted(status);
  });
  threads_.AddCollector(*heap_);
  threads_.Join();
  {
    Mutator mutator(*heap_);
    Owner owner(domain_, mutator);
    {
      absl::MutexLock lock(&mu_);
      places_.clear();
    }
    EXPECT_TRUE(domain_.Collect().ok());
    EXPECT_FALSE(owner.Step());
  }
  EXPECT_GT(resized_.load(std::memory_order_relaxed), 0);  // all have been joined
  const DomainStats stats = domain_.stats();
  EXPECT_EQ(stats.made, stats.destroyed);
  ExpectSound(*heap_);
}

// So many objects that a cycle takes a while, and resizing finds some whose traced references have
// not been forwarded yet.
TEST_P(SizedPtrStressTest, ResizedWhileTheyAreTraced) {
  constexpr size_t kObjects = 3000;
  Mutator mutator(*heap_);
  Owner owner(domain_, mutator);
  std::vector<Ptr<Stamped>> objects;
  for (size_t i = 0; i < kObjects; ++i) {
    const auto fill = static_cast<int64_t>(i % 256);
    const ebb::Local<Node> node(mutator, mutator.New<Node>(nullptr, nullptr, fill));
    objects.push_back(MakePtrWithBytes<Stamped>(0, node, fill, nullptr, node));
  }
  std::mt19937_64 random(9);
  {
    const Blocking blocking(mutator);
    threads_.AddCollector(*heap_);
  }
  while (!threads_.time_is_up()) {
    Ptr<Stamped>& object = objects[random() % kObjects];
    const size_t before = ExtraBytes(object).size();
    const absl::Status status = Resize(object, random() % 40);
    ASSERT_TRUE(status.ok() || absl::IsResourceExhausted(status)) << status;
    if (ExtraBytes(object).size() > before) {
      const absl::Span<std::byte> bytes = ExtraBytes(object);
      std::fill(bytes.begin(), bytes.end(), static_cast<std::byte>(object->fill));
    }
  }
  {
    const Blocking blocking(mutator);
    threads_.Join();
  }
  for (const Ptr<Stamped>& object : objects) ASSERT_TRUE(object->Intact());
  objects.clear();
  ExpectSound(*heap_);
}

INSTANTIATE_TEST_SUITE_P(All, SizedPtrStressTest, testing::ValuesIn(StressCases()), StressCaseName);

}  // namespace
}  // namespace ebb::rc
