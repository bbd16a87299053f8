// Fields in a coalesced domain that come and go within an epoch, at the same address, by several
// threads, with and without an Owner. EBB_SOAK (seconds) lengthens it.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"
#include "heap/stress_for_test.h"

namespace ebb::rc {
namespace {

constexpr int64_t kWhole = 0x600d600d;
std::atomic<int64_t> gems = 0;  // that there are; relaxed: read when threads have ended

struct Gem {
  int64_t value = kWhole;
  Field<Gem> next;

  // Relaxed, all: see gems.
  Gem() { gems.fetch_add(1, std::memory_order_relaxed); }
  ~Gem() {
    EXPECT_EQ(value, kWhole);
    value = 0;
    gems.fetch_sub(1, std::memory_order_relaxed);  // see there
  }
  EBB_FIELDS(Gem, value, next)
};

using MaybeField = std::optional<Field<Gem>>;
using FieldOrNumber = std::variant<int64_t, Field<Gem>>;

}  // namespace
}  // namespace ebb::rc

template <>
inline constexpr bool ebb::kTriviallyRelocatable<ebb::rc::MaybeField> = true;
template <>
inline constexpr bool ebb::kTriviallyRelocatable<ebb::rc::FieldOrNumber> = true;

namespace ebb::rc {
namespace {

constexpr size_t kOfEach = 8;

// Small ones are in the copy space, large ones are marked in place.
template <size_t kMoreWords>
struct Cage {
  std::array<MaybeField, kOfEach> maybe;
  std::array<FieldOrNumber, kOfEach> variants;
  std::array<Field<Gem>, kOfEach> fields;
  std::array<int64_t, kMoreWords> more = {};

  ~Cage() {
    fields[1] = fields[0];
    maybe[0].reset();
    maybe[0].emplace(fields[1]);
    *maybe[0] = fields[2];
    if (maybe[1]) *maybe[1] = fields[0];
  }
  EBB_FIELDS(Cage, maybe, variants, fields, more)
};

Field<Gem>* FieldOf(FieldOrNumber& variant) { return std::get_if<Field<Gem>>(&variant); }

// Random steps with a cage that no other thread has. `owner`: null if the thread has none.
template <typename Held>
void Play(const Ptr<Held>& held, std::mt19937& random, std::vector<Ptr<Gem>>& pool, Owner* owner) {
  constexpr int kSteps = 60;
  for (int step = 0; step < kSteps; ++step) {
    Held& cage = *held;  // until a Gem is made
    MaybeField& maybe = cage.maybe[random() % kOfEach];
    FieldOrNumber& variant = cage.variants[random() % kOfEach];
    Field<Gem>& field = cage.fields[random() % kOfEach];
    Ptr<Gem>& ptr = pool[random() % pool.size()];
    switch (random() % (owner != nullptr ? 14 : 11)) {
      case 0:
        maybe.emplace(ptr);
        break;
      case 1:
        maybe.reset();
        break;
      case 2:
        if (maybe) *maybe = ptr;
        break;
      case 3:
        if (maybe) ptr = *maybe;
        break;
      case 4:
        variant = int64_t{7};
        break;
      case 5:
        variant.template emplace<Field<Gem>>(ptr);
        break;
      case 6:
        if (Field<Gem>* const in_variant = FieldOf(variant)) *in_variant = ptr;
        break;
      case 7:
        if (const Field<Gem>* const in_variant = FieldOf(variant)) ptr = *in_variant;
        break;
      case 8:
        field = ptr;
        break;
      case 9:
        field = std::move(cage.fields[random() % kOfEach]);
        break;
      case 10:
        std::swap(maybe, cage.maybe[random() % kOfEach]);
        break;
      case 11:
        ptr = MakePtr<Gem>();
        break;
      case 12: {
        // Nobody else has the new one yet.
        const Ptr<Gem> before = std::exchange(ptr, MakePtr<Gem>());
        ptr->next = before;
        if (random() % 2 == 0) ptr->next = nullptr;
        break;
      }
      default: {
        const Local<Gem> local(*owner, field);
        field = nullptr;
        ptr = nullptr;
        if (local != nullptr) {
          EXPECT_EQ(local->value, kWhole);
        }
        if (maybe) *maybe = local;
      }
    }
    if (ptr != nullptr) {
      EXPECT_EQ(ptr->value, kWhole);
    }
  }
}

// Threads take cages out of here, and put them back.
template <typename Held>
class Cages {
 public:
  explicit Cages(size_t count) : cages_(count) {}
  Ptr<Held> Swap(size_t index, Ptr<Held> cage) {
    absl::MutexLock lock(&mu_);
    return std::exchange(cages_[index % cages_.size()], std::move(cage));
  }

 private:
  absl::Mutex mu_;
  std::vector<Ptr<Held>> cages_ ABSL_GUARDED_BY(mu_);
};

template <typename Held>
void PlayByThread(Counting& c, Cages<Held>& cages, bool owns, uint32_t seed) {
  constexpr int kLives = 5;
  constexpr int kRounds = 40;
  std::mt19937 random(seed);
  Mutator mutator(*c.heap);
  for (int life = 0; life < kLives; ++life) {
    std::vector<Ptr<Gem>> pool(10);
    std::optional<Owner> owner;
    if (owns) owner.emplace(c.domain, mutator);
    for (int round = 0; round < kRounds; ++round) {
      Ptr<Held> cage = cages.Swap(random(), nullptr);
      if (cage != nullptr) Play(cage, random, pool, owner ? &*owner : nullptr);
      const uint32_t what = random() % 16;
      if (what == 0) {
        EXPECT_TRUE(c.heap->Collect().ok());
      }
      if (what == 1) {
        EXPECT_TRUE(c.domain.Collect().ok());
      }
      if (owner && what == 2) owner->Step(10);
      if (owner && (what == 3 || cage == nullptr)) cage = MakePtr<Held>();
      mutator.Safepoint();
      if (cage != nullptr) cages.Swap(random(), std::move(cage));
    }
  }
}

// One life of a domain; in the end nothing is left but garbage.
template <typename Held>
void Play(uint32_t seed) {
  constexpr size_t kCages = 6;
  Counting c(
      {.reclaim = seed % 2 == 0 ? Reclaim::kLazy : Reclaim::kPrompt, .stores = Stores::kCoalesced},
      64 << 20);
  Cages<Held> cages(kCages);
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] { PlayByThread(c, cages, /*owns=*/i < 3, 17 * seed + i); });
  }
  {
    const Blocking blocking(c.mutator);
    for (std::thread& thread : threads) thread.join();
  }
  for (size_t i = 0; i < kCages; ++i) cages.Swap(i, nullptr);
  EXPECT_TRUE(c.heap->Verify().ok());
  while (c.owner.Step()) {
  }
  EXPECT_EQ(gems.load(std::memory_order_relaxed), 0);  // see there
  EXPECT_EQ(c.alive(), 0);
}

template <typename Held>
void PlayUntilTimeIsUp() {
  const absl::Time end = absl::Now() + WorkingTime(/*seconds=*/1);
  uint32_t seed = 1;
  do {
    SCOPED_TRACE(seed);
    Play<Held>(seed);
  } while (++seed, !testing::Test::HasFailure() && absl::Now() < end);
}

TEST(CoalescedFieldsStressTest, InSmallObjects) { PlayUntilTimeIsUp<Cage<4>>(); }
TEST(CoalescedFieldsStressTest, InLargeObjects) { PlayUntilTimeIsUp<Cage<6000>>(); }

}  // namespace
}  // namespace ebb::rc
