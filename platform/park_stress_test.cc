// Parker under many threads: no wake-up is lost, and payloads are seen (TSan watches). A lost
// wake-up shows as a hang, which the test's time limit ends.

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "platform/clock.h"
#include "platform/park.h"

namespace ebb::platform {
namespace {

// How long each test goes on: EBB_SOAK seconds if set.
absl::Duration TestTime() {
  const char* const soak = std::getenv("EBB_SOAK");
  double seconds = 0.5;
  if (soak != nullptr) (void)absl::SimpleAtod(soak, &seconds);
  return absl::Seconds(seconds);
}

bool Before(absl::Duration deadline) { return Clock::Monotonic().Now() < deadline; }

// Two threads hand a plain counter back and forth, each woken by the other.
TEST(ParkStressTest, PingPong) {
  Parker ping, pong;
  int64_t payload = 0;  // guarded by whose turn it is
  bool stop = false;    // likewise
  std::thread other([&] {
    while (true) {
      ping.Park();
      if (stop) return;
      ++payload;
      pong.Unpark();
    }
  });
  const absl::Duration deadline = Clock::Monotonic().Now() + TestTime();
  int64_t rounds = 0;
  while (Before(deadline)) {
    ++payload;
    ping.Unpark();
    pong.Park();
    ++rounds;
    ASSERT_EQ(payload, 2 * rounds);
  }
  stop = true;
  ping.Unpark();
  other.join();
}

// Producers count up their own cell and unpark; the consumer parks, sometimes with a time-out
// that ends just about then, until it has seen each producer's last count.
TEST(ParkStressTest, ManyUnparkers) {
  constexpr int kProducers = 4;
  constexpr int kCounts = 200;
  const absl::Duration deadline = Clock::Monotonic().Now() + TestTime();
  int64_t pass = 0;
  do {
    Parker parker;
    // Relaxed throughout: what publishes a count is the Unpark after it.
    std::atomic<int> cells[kProducers] = {};
    std::vector<std::thread> producers;
    for (auto& cell : cells) {
      producers.emplace_back([&cell, &parker] {
        for (int i = 1; i <= kCounts; ++i) {
          cell.store(i, std::memory_order_relaxed);  // as said above
          parker.Unpark();
        }
      });
    }
    const auto all_seen = [&cells] {
      for (const auto& cell : cells) {
        // Relaxed: Park has acquired what Unpark published.
        if (cell.load(std::memory_order_relaxed) != kCounts) return false;
      }
      return true;
    };
    for (int64_t i = pass; !all_seen(); ++i) {
      if (i % 3 == 0) {
        parker.ParkFor(absl::Microseconds(i % 60));
      } else {
        parker.Park();
      }
    }
    for (std::thread& producer : producers) producer.join();
    ++pass;
  } while (Before(deadline));
}

// A Parker may go as soon as Park has returned, while the Unpark that caused it still runs.
TEST(ParkStressTest, DestroyedRightAfterPark) {
  const absl::Duration deadline = Clock::Monotonic().Now() + TestTime();
  // The pointer goes to the other thread, by release and acquire, and null comes back.
  std::atomic<Parker*> handed{nullptr};
  std::atomic<bool> stop{false};
  std::thread unparker([&] {
    // Relaxed: `stop` hands nothing over.
    while (!stop.load(std::memory_order_relaxed)) {
      Parker* const parker = handed.exchange(nullptr, std::memory_order_acquire);
      if (parker != nullptr) parker->Unpark();
    }
  });
  while (Before(deadline)) {
    auto parker = std::make_unique<Parker>();
    // Release: publishes the parker to the acquire in `unparker`.
    handed.store(parker.get(), std::memory_order_release);
    parker->Park();
  }
  stop.store(true, std::memory_order_relaxed);  // as above
  unparker.join();
}

}  // namespace
}  // namespace ebb::platform
