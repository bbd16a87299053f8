// One owner and several thieves: inv.deque-exactly-once, and what was written before Push is seen
// by whoever gets the element.

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "absl/random/bit_gen_ref.h"
#include "absl/random/random.h"
#include "background/chase_lev_deque.h"
#include "background/soak.h"
#include "gtest/gtest.h"

namespace ebb::background {
namespace {

// What an element points to. `stamp` is an ordinary variable: ThreadSanitizer complains if the
// deque does not order the owner's write before the receiver's read.
struct Item {
  uint64_t stamp = 0;
  std::atomic<int> received{0};
};

uint64_t Stamp(uint64_t index) { return index * 0x9E3779B97F4A7C15; }

class Round {
 public:
  Round(ChaseLevDeque& deque, int items)
      : deque_(deque), items_(std::make_unique<Item[]>(items)), count_(items) {}

  // Pushes all items, some at a time, and takes some back.
  void Own(absl::BitGenRef random) {
    uint64_t next = 0;
    while (next < count_) {
      for (uint64_t n = absl::LogUniform<uint64_t>(random, 1, 200); n > 0 && next < count_; --n) {
        items_[next].stamp = Stamp(next);
        if (!deque_.Push(next)) {
          ++refused_;
          break;
        }
        ++next;
      }
      for (int n = absl::LogUniform(random, 0, 200); n > 0; --n) {
        if (!Receive(deque_.Take())) break;
      }
    }
    while (Receive(deque_.Take())) {
    }
    owner_done_.store(true, std::memory_order_release);  // pairs with Thieve: there is no more
  }

  void Thieve() {
    while (!owner_done_.load(std::memory_order_acquire) || !deque_.EmptyHint()) {
      Receive(deque_.Steal());
    }
  }

  void Check() const {
    EXPECT_TRUE(deque_.EmptyHint());
    for (uint64_t i = 0; i < count_; ++i) {
      // Relaxed: the threads have been joined.
      ASSERT_EQ(items_[i].received.load(std::memory_order_relaxed), 1) << "item " << i;
    }
  }

  int refused() const { return refused_; }

 private:
  bool Receive(std::optional<uint64_t> element) {
    if (!element.has_value()) return false;
    Item& item = items_[*element];
    EXPECT_EQ(item.stamp, Stamp(*element));
    item.received.fetch_add(1, std::memory_order_relaxed);  // read after the threads have ended
    return true;
  }

  ChaseLevDeque& deque_;
  const std::unique_ptr<Item[]> items_;
  const uint64_t count_;
  std::atomic<bool> owner_done_{false};
  int refused_ = 0;  // the owner's
};

// Returns how many pushes were refused.
int Stress(size_t initial, size_t max, int thieves) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  ChaseLevDeque deque(initial, max);
  const Deadline deadline(absl::Milliseconds(700));
  int refused = 0;
  do {
    Round round(deque, 20'000);
    std::vector<std::thread> threads;
    for (int i = 0; i < thieves; ++i) threads.emplace_back([&round] { round.Thieve(); });
    round.Own(random);
    for (std::thread& thread : threads) thread.join();
    round.Check();
    refused += round.refused();
    deque.ResetWhenQuiescent();
  } while (!deadline.passed() && !testing::Test::HasFailure());
  return refused;
}

TEST(ChaseLevDequeStressTest, OneThief) { EXPECT_EQ(Stress(1024, 1 << 20, 1), 0); }

TEST(ChaseLevDequeStressTest, GrowsUnderThreeThieves) { EXPECT_EQ(Stress(1, 1 << 20, 3), 0); }

// Slots are overwritten all the time.
TEST(ChaseLevDequeStressTest, CannotGrow) { EXPECT_GT(Stress(4, 4, 3), 0); }

// Nearly every Take competes for the last element.
TEST(ChaseLevDequeStressTest, HoldsOneElement) { EXPECT_GT(Stress(1, 1, 2), 0); }

}  // namespace
}  // namespace ebb::background
