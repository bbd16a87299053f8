// Several threads use one pool at once, with threads that sometimes cannot be started: whoever gets
// helpers gets each of them once, and nobody waits for ever.

#include <atomic>
#include <thread>
#include <vector>

#include "background/soak.h"
#include "background/worker_pool.h"
#include "gtest/gtest.h"
#include "platform/fake_system.h"

namespace ebb::background {
namespace {

constexpr int kMaxHelpers = 3;
constexpr int kUsers = 3;

// One job, of which `helpers` takes part; returns how many did.
int RunJob(WorkerPool& pool, int helpers) {
  // Ordinary variables, each written by one worker.
  int worked[1 + kMaxHelpers] = {};
  WorkerPool::Job* shared = nullptr;
  auto work = [&](int worker) {
    ++worked[worker];
    EXPECT_TRUE(shared->recruited());
  };
  WorkerPool::Job job(pool, helpers, work);
  shared = &job;
  const int recruited = job.Recruit();
  EXPECT_LE(recruited, helpers);
  job.Join();
  for (int worker = 1; worker <= kMaxHelpers; ++worker) {
    EXPECT_EQ(worked[worker], worker <= recruited ? 1 : 0);
  }
  return recruited;
}

TEST(WorkerPoolStressTest, ManyUsers) {
  const Deadline deadline(absl::Seconds(1));
  std::atomic<int64_t> recruited{0};
  do {
    platform::FakeSystem system;
    system.FailEvery(platform::Call::kStartThread, 3);
    WorkerPool pool(system, kMaxHelpers, "stress");
    std::vector<std::thread> users;
    for (int user = 0; user < kUsers; ++user) {
      users.emplace_back([&, user] {
        for (int i = 0; i < 100; ++i) recruited += RunJob(pool, (user + i) % (kMaxHelpers + 1));
      });
    }
    for (std::thread& user : users) user.join();
  } while (!deadline.passed());
  EXPECT_GT(recruited, 0);
}

}  // namespace
}  // namespace ebb::background
