// Objects whose last counted reference goes on a thread without an Owner, while Fields refer to
// them uncounted, and that are named by Locals just as they are judged. EBB_SOAK (seconds)
// lengthens it.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"
#include "heap/stress_for_test.h"

namespace ebb::rc {
namespace {

constexpr size_t kObjects = 2000;
constexpr size_t kNamed = 200;

// Relaxed, where a test looks at it: that follows the object's destruction, or does not matter.
struct Stone {
  std::atomic<bool>* destroyed = nullptr;
  ~Stone() {
    if (destroyed != nullptr) destroyed->store(true, std::memory_order_relaxed);
  }
};
struct Board {
  std::array<Field<Stone>, 5000> fields;
};

// Tells another thread to begin, from within a detection's judgement, and waits until it has.
struct Signal {
  std::atomic<int>* stage = nullptr;
  ~Signal() {
    if (stage == nullptr) return;
    // Relaxed, both: the other one only begins.
    stage->store(2, std::memory_order_relaxed);
    while (stage->load(std::memory_order_relaxed) == 2) std::this_thread::yield();
  }
};

void Await(Mutator& mutator, const std::atomic<int>& stage, int wanted) {
  const Blocking blocking(mutator);
  // Acquire: pairs with the releases in Round; the payload is what the other thread has made.
  while (stage.load(std::memory_order_acquire) < wanted) std::this_thread::yield();
}

// One round. How many objects were destroyed while a Local named them.
int64_t Round(uint64_t seed) {
  std::atomic<int> stage = 0;
  std::vector<std::atomic<bool>> destroyed(kObjects);
  Counting c({.stores = Stores::kCoalesced}, 64 << 20);
  int64_t lost = 0;
  std::thread other([&] {
    Mutator mutator(*c.heap);
    Owner owner(c.domain, mutator);
    const Ptr<Board> board = MakePtr<Board>();
    std::vector<Ptr<Stone>> stones(kObjects);
    for (size_t i = 0; i < kObjects; ++i) stones[i] = MakePtr<Stone>(&destroyed[i]);
    // Merged: others drop one, and this thread takes it from its queue.
    std::vector<Ptr<Stone>> copies = stones;
    std::thread([&] { copies.clear(); }).join();
    while (owner.Step()) {
    }
    for (size_t i = 0; i < kObjects; ++i) board->fields[i] = stones[i];
    std::thread([&] { stones.clear(); }).join();
    stones.resize(kObjects);
    for (size_t i = 0; i < kObjects; ++i) {
      stones[i] = board->fields[i];
      board->fields[i] = nullptr;
    }
    std::vector<size_t> order(kObjects);
    for (size_t i = 0; i < kObjects; ++i) order[i] = i;
    std::ranges::shuffle(order, std::mt19937_64(seed));
    stage.store(1, std::memory_order_release);  // to Await
    Await(mutator, stage, 2);
    stage.store(3, std::memory_order_relaxed);  // see Signal
    std::vector<std::optional<Local<Stone>>> locals(kNamed);
    for (size_t k = 0; k < kNamed; ++k) {
      locals[k].emplace(owner, stones[order[k]]);
      stones[order[k]] = nullptr;
    }
    Await(mutator, stage, 4);
    for (size_t k = 0; k < kNamed; ++k) {
      lost += destroyed[order[k]].load(std::memory_order_relaxed) ? 1 : 0;  // see Stone
    }
    while (!locals.empty()) locals.pop_back();
    stones.clear();
  });
  {
    Ptr<Signal> signal = MakePtr<Signal>(&stage);
    Await(c.mutator, stage, 1);
    signal = nullptr;  // waits in this thread's list
  }
  EXPECT_TRUE(c.domain.Collect().ok());
  stage.store(4, std::memory_order_release);  // to Await
  const Blocking blocking(c.mutator);
  other.join();
  return lost;
}

TEST(CoalescingStressTest, OrphansAreLookedAtBeforeTheyAreJudged) {
  const absl::Time end = absl::Now() + WorkingTime(/*seconds=*/1);
  uint64_t seed = 1;
  do {
    ASSERT_EQ(Round(seed), 0) << seed;
  } while (++seed, absl::Now() < end);
}

}  // namespace
}  // namespace ebb::rc
