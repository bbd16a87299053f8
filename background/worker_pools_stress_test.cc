// Threads share pools and let go of them, with jobs of random sizes, beside forks: a pool that goes
// waits for nobody who waits for it, and one that is made meanwhile is another.

#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "background/soak.h"
#include "background/worker_pool.h"
#include "background/worker_pools.h"
#include "gtest/gtest.h"
#include "platform/fake_system.h"
#include "platform/fork.h"
#include "platform/thread.h"

namespace ebb::background {
namespace {

constexpr int kMaxHelpers = 3;
constexpr int kUsers = 3;

void RunJob(WorkerPool& pool, int helpers) {
  std::vector<int> worked(static_cast<size_t>(1 + kMaxHelpers));
  WorkerPool::Job job(pool, helpers, [&worked](int worker) {
    ++worked[static_cast<size_t>(worker)];
    std::this_thread::yield();
  });
  const int recruited = job.Recruit();
  job.Join();
  for (int worker = 1; worker <= kMaxHelpers; ++worker) {
    EXPECT_EQ(worked[static_cast<size_t>(worker)], worker <= recruited ? 1 : 0);
  }
}

TEST(WorkerPoolsStressTest, SharersComeAndGo) {
  const Deadline deadline(absl::Seconds(2));
  platform::FakeSystem system;
  system.FailEvery(platform::Call::kStartThread, 7);
  WorkerPools pools;
  std::atomic<bool> done = false;
  std::vector<std::thread> users;
  for (int user = 0; user < kUsers; ++user) {
    users.emplace_back([&, random = std::minstd_rand(static_cast<unsigned>(user + 1))]() mutable {
      const auto below = [&random](int n) { return static_cast<int>(random() % n); };
      while (!done) {
        const auto pool =
            pools.Share(system, /*niceness=*/below(2), below(kMaxHelpers + 1), "stress");
        for (int jobs = below(5); jobs > 0; --jobs) RunJob(*pool, below(kMaxHelpers + 1));
        EXPECT_LE(pool->helpers_started(), kMaxHelpers);
      }
    });
  }
  // What a fork does in the parent, in its order.
  int64_t forks = 0;
  do {
    for (const auto step : {platform::ForkStep::kBefore, platform::ForkStep::kInParent}) {
      if (step == platform::ForkStep::kBefore) pools.AtFork(step);
      platform::Thread::AllAtFork(step);
      if (step == platform::ForkStep::kInParent) pools.AtFork(step);
    }
    ++forks;
    std::this_thread::yield();
  } while (!deadline.passed());
  done = true;
  for (std::thread& user : users) user.join();
  EXPECT_GT(forks, 0);
}

}  // namespace
}  // namespace ebb::background
