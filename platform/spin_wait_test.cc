#include "platform/spin_wait.h"

#include <time.h>

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "platform/clock.h"

namespace ebb::platform {
namespace {

int64_t ThreadCpuNanos() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// Past all pauses and yields.
SpinWait Exhausted() {
  SpinWait wait;
  for (int i = 0; i < 16 + SpinWait::kYields; ++i) wait.Once();
  return wait;
}

TEST(SpinWaitTest, LongWaitsSleep) {
  constexpr int kTurns = 200;
  SpinWait wait = Exhausted();
  const int64_t wall = MonotonicNanos();
  const int64_t cpu = ThreadCpuNanos();
  for (int i = 0; i < kTurns; ++i) wait.Once();
  const int64_t wall_spent = MonotonicNanos() - wall;
  EXPECT_GE(wall_spent, int64_t{kTurns} * SpinWait::kSleepNanos / 2);
  EXPECT_LT(ThreadCpuNanos() - cpu, wall_spent / 2);
}

TEST(SpinWaitTest, ResetStartsOver) {
  SpinWait wait = Exhausted();
  const int64_t cpu = ThreadCpuNanos();
  for (int i = 0; i < 200; ++i) {
    wait.Reset();
    wait.Once();
  }
  // 200 single pauses, not 200 sleeps; CPU time, which a busy machine does not stretch.
  EXPECT_LT(ThreadCpuNanos() - cpu, 200 * int64_t{SpinWait::kSleepNanos});
}

// Many more threads than processors hand a turn round in a ring; each waits for its turn.
TEST(SpinWaitTest, OversubscribedThreadsMakeProgress) {
  constexpr int kThreads = 16;
  constexpr int kRounds = 50;
  std::atomic<int> turn{0};
  std::vector<std::thread> threads;
  int plain = 0;  // guarded by having the turn
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&turn, &plain, t] {
      SpinWait wait;
      for (int round = 0; round < kRounds; ++round) {
        // Acquire: pairs with the release below; `plain` as the last turn left it.
        while (turn.load(std::memory_order_acquire) != round * kThreads + t) wait.Once();
        wait.Reset();
        ++plain;
        turn.store(round * kThreads + t + 1, std::memory_order_release);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(plain, kThreads * kRounds);
}

}  // namespace
}  // namespace ebb::platform
