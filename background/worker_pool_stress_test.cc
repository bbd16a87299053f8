// Several threads use one pool at once, with jobs of random sizes and threads that sometimes cannot
// be started: each job has its own helpers, numbered from one, each of which works once, no more
// than the maximum work at any time, and nobody waits for ever or touches a job that has gone.

#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "background/soak.h"
#include "background/worker_pool.h"
#include "gtest/gtest.h"
#include "platform/fake_system.h"

namespace ebb::background {
namespace {

constexpr int kMaxHelpers = 3;
constexpr int kUsers = 4;

// Over all jobs of a pool.
struct AtWork {
  std::atomic<int> now{0};
  std::atomic<int> most{0};

  void Begin() {
    const int count = ++now;
    int seen = most;
    while (seen < count && !most.compare_exchange_weak(seen, count)) {
    }
  }
  void End() { --now; }
};

// One job, of which `helpers` may take part; returns how many did.
int RunJob(WorkerPool& pool, int helpers, int spins, AtWork& at_work) {
  // Ordinary variables, each written by one worker.
  int worked[1 + kMaxHelpers] = {};
  WorkerPool::Job* shared = nullptr;
  auto work = [&](int worker) {
    at_work.Begin();
    ++worked[worker];
    EXPECT_TRUE(shared->recruited());
    for (int i = 0; i < spins; ++i) std::this_thread::yield();
    at_work.End();
  };
  // Not on the stack: AddressSanitizer sees every access after its end.
  auto job = std::make_unique<WorkerPool::Job>(pool, helpers, work);
  shared = job.get();
  const int recruited = job->Recruit();
  EXPECT_LE(recruited, helpers);
  job->Join();
  job = nullptr;
  for (int worker = 1; worker <= kMaxHelpers; ++worker) {
    EXPECT_EQ(worked[worker], worker <= recruited ? 1 : 0);
  }
  return recruited;
}

TEST(WorkerPoolStressTest, ManyUsers) {
  const Deadline deadline(absl::Seconds(2));
  int64_t recruited = 0;
  unsigned seed = 0;
  do {
    platform::FakeSystem system;
    system.FailEvery(platform::Call::kStartThread, 3);
    WorkerPool pool(system, kMaxHelpers, "stress");
    AtWork at_work;
    std::atomic<int64_t> of_this_pool{0};
    std::vector<std::thread> users;
    for (int user = 0; user < kUsers; ++user) {
      users.emplace_back([&, random = std::minstd_rand(++seed)]() mutable {
        for (int i = 0; i < 100; ++i) {
          const int helpers = static_cast<int>(random() % (kMaxHelpers + 1));
          of_this_pool += RunJob(pool, helpers, static_cast<int>(random() % 4), at_work);
        }
      });
    }
    for (std::thread& user : users) user.join();
    recruited += of_this_pool;
    EXPECT_EQ(at_work.now, 0);
    EXPECT_LE(at_work.most, kMaxHelpers);
    EXPECT_LE(pool.helpers_started(), kMaxHelpers);
    EXPECT_EQ(system.uses(platform::Call::kStartThread),
              pool.helpers_started() + pool.start_failures());
    // All of them have been given back.
    system.StopFailing();
    EXPECT_EQ(RunJob(pool, kMaxHelpers, 0, at_work), kMaxHelpers);
  } while (!deadline.passed());
  EXPECT_GT(recruited, 0);
}

}  // namespace
}  // namespace ebb::background
