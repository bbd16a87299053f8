// What tests by many threads share: how long these work, and what holds when they have ended.

#ifndef EBB_HEAP_STRESS_FOR_TEST_H_
#define EBB_HEAP_STRESS_FOR_TEST_H_

#include <atomic>
#include <cstdlib>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/log/check.h"
#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "heap/ebb.h"

namespace ebb {

// How long the threads of one case work: `seconds`, or EBB_SOAK.
inline absl::Duration WorkingTime(double seconds) {
  const char* soak = std::getenv("EBB_SOAK");
  if (soak != nullptr) CHECK(absl::SimpleAtod(soak, &seconds)) << "EBB_SOAK=" << soak;
  return absl::Seconds(seconds);
}

// Threads that each do something again and again until the time is up or it returns false, which is
// a failure. The time begins with the first thread.
class Threads {
 public:
  explicit Threads(absl::Duration time) : time_(time) {}
  ~Threads() { Join(); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

  // Also when something has failed; not before there were some cycles, if any are run by
  // AddCollector.
  bool time_is_up() const {
    // Relaxed: counts that publish nothing.
    if (failures_.load(std::memory_order_relaxed) > 0) return true;
    return absl::Now() >= end_ && cycles_wanted_.load(std::memory_order_relaxed) <= 0;
  }
  void Add(std::function<bool()> body) {
    AddOne([this, body = std::move(body)] {
      while (!time_is_up()) {
        if (!body()) failures_.fetch_add(1, std::memory_order_relaxed);  // publishes nothing
      }
    });
  }
  // A thread that sees to its time itself.
  void AddOne(std::function<void()> body) {
    if (threads_.empty()) end_ = absl::Now() + time_;
    threads_.emplace_back(std::move(body));
  }
  // Cycles back to back.
  void AddCollector(Heap& heap) {
    // Relaxed: a count that publishes nothing.
    cycles_wanted_.fetch_add(3, std::memory_order_relaxed);
    Add([this, &heap] {
      absl::Status status = heap.Collect();
      EXPECT_TRUE(status.ok()) << status;
      cycles_wanted_.fetch_sub(1, std::memory_order_relaxed);  // as above
      return status.ok();
    });
  }
  void Join() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    // Relaxed: all have been joined.
    EXPECT_EQ(failures_.exchange(0, std::memory_order_relaxed), 0);
  }

 private:
  const absl::Duration time_;
  absl::Time end_;
  std::atomic<int> failures_ = 0;
  std::atomic<int> cycles_wanted_ = 0;
  std::vector<std::thread> threads_;
};

// Nothing is amiss in a heap at rest, before and after a last cycle.
inline void ExpectSound(Heap& heap) {
  absl::Status status = heap.Verify();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(heap.Collect().ok());
  status = heap.Verify();
  EXPECT_TRUE(status.ok()) << status;
  const HeapStats stats = heap.stats();
  EXPECT_LE(stats.live_bytes, stats.heap_bytes);
  EXPECT_EQ(stats.counter_faults, 0);
  // Where evacuations fail, live_bytes has in it what lies beside the objects that were retained:
  // the remains of others, which count where they are now as well.
  if (stats.retained_objects == 0) {
    EXPECT_LE(stats.live_bytes, stats.allocated_bytes);
  }
}

}  // namespace ebb

#endif  // EBB_HEAP_STRESS_FOR_TEST_H_
