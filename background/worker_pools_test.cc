#include "background/worker_pools.h"

#include <atomic>
#include <memory>
#include <thread>

#include "absl/synchronization/notification.h"
#include "background/worker_pool.h"
#include "gtest/gtest.h"
#include "platform/fake_system.h"
#include "platform/fork.h"
#include "platform/system.h"

namespace ebb::background {
namespace {

using platform::Call;
using platform::FakeSystem;
using platform::ForkStep;

int RecruitOf(WorkerPool& pool, int helpers) {
  std::atomic<int> worked{0};
  WorkerPool::Job job(pool, helpers, [&worked](int) { ++worked; });
  const int recruited = job.Recruit();
  job.Join();
  EXPECT_EQ(worked, recruited);
  return recruited;
}

TEST(WorkerPoolsTest, OnePoolForTheProcess) {
  EXPECT_EQ(&WorkerPools::Get(), &WorkerPools::Get());
  const auto pool = WorkerPools::Get().Share(platform::System::Real(), 0, 1, "test");
  EXPECT_EQ(WorkerPools::Get().Share(platform::System::Real(), 0, 1, "test"), pool);
}

TEST(WorkerPoolsTest, APoolForEachSystemAndNiceness) {
  WorkerPools pools;
  FakeSystem system;
  FakeSystem other_system;
  const auto pool = pools.Share(system, 0, 1, "test");
  EXPECT_EQ(pools.Share(system, 0, 1, "test"), pool);
  EXPECT_NE(pools.Share(system, 5, 1, "test"), pool);
  EXPECT_NE(pools.Share(other_system, 0, 1, "test"), pool);
}

TEST(WorkerPoolsTest, HasAsManyHelpersAsTheMostThatAnyoneAskedFor) {
  WorkerPools pools;
  FakeSystem system;
  const auto small = pools.Share(system, 0, 1, "test");
  EXPECT_EQ(RecruitOf(*small, 4), 1);
  const auto large = pools.Share(system, 0, 3, "test");
  const auto none = pools.Share(system, 0, 0, "test");
  EXPECT_EQ(RecruitOf(*small, 4), 3);
  EXPECT_EQ(RecruitOf(*none, 4), 3);
  EXPECT_EQ(system.uses(Call::kStartThread), 3);
}

TEST(WorkerPoolsTest, OneWhoGoesLeavesTheOthersTheirHelpers) {
  WorkerPools pools;
  FakeSystem system;
  const auto pool = pools.Share(system, 0, 2, "test");
  auto other = pools.Share(system, 0, 2, "test");
  absl::Notification go_on;
  WorkerPool::Job job(*pool, 2, [&go_on](int) { go_on.WaitForNotification(); });
  EXPECT_EQ(job.Recruit(), 2);
  other = nullptr;  // does not wait for them
  EXPECT_EQ(pool->helpers_started(), 2);
  go_on.Notify();
  job.Join();
  EXPECT_EQ(RecruitOf(*pool, 2), 2);
  EXPECT_EQ(system.uses(Call::kStartThread), 2);
}

TEST(WorkerPoolsTest, ThePoolGoesWithTheLast) {
  WorkerPools pools;
  FakeSystem system;
  auto pool = pools.Share(system, 0, 2, "test");
  EXPECT_EQ(RecruitOf(*pool, 2), 2);
  const std::weak_ptr<WorkerPool> gone = pool;
  pool = nullptr;
  EXPECT_TRUE(gone.expired());
  pool = pools.Share(system, 0, 1, "test");
  EXPECT_EQ(pool->helpers_started(), 0);
  EXPECT_EQ(RecruitOf(*pool, 2), 1);
}

TEST(WorkerPoolsTest, AForkHoldsEachPoolOnceHoweverManyShareIt) {
  WorkerPools pools;
  FakeSystem system;
  const auto pool = pools.Share(system, 0, 2, "test");
  const auto same = pools.Share(system, 0, 2, "test");
  const auto nicer = pools.Share(system, 1, 2, "test");
  for (int i = 0; i < 2; ++i) {
    pools.AtFork(ForkStep::kBefore);
    pools.AtFork(ForkStep::kInParent);
    EXPECT_EQ(RecruitOf(*pool, 2), 2);
    EXPECT_EQ(RecruitOf(*nicer, 2), 2);
  }
}

TEST(WorkerPoolsTest, OneThatLosesItsOwnersDuringAForkGoesAfterwards) {
  WorkerPools pools;
  FakeSystem system;
  auto pool = pools.Share(system, 0, 2, "test");
  EXPECT_EQ(RecruitOf(*pool, 2), 2);
  const std::weak_ptr<WorkerPool> weak = pool;
  pools.AtFork(ForkStep::kBefore);
  std::thread([&pool] { pool = nullptr; }).join();
  EXPECT_FALSE(weak.expired());
  pools.AtFork(ForkStep::kInParent);
  EXPECT_TRUE(weak.expired());
}

}  // namespace
}  // namespace ebb::background
