#include "background/termination.h"

#include <atomic>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace ebb::background {
namespace {

bool Never() { return false; }
bool Always() { return true; }

TEST(TerminationTest, IsFinishedBeforeTheFirstReset) {
  Termination termination;
  EXPECT_FALSE(termination.Enter());
}

TEST(TerminationTest, WithNoActiveWorkerIsFinishedAtOnce) {
  Termination termination;
  termination.Reset(0);
  EXPECT_FALSE(termination.Enter());
}

TEST(TerminationTest, OneWorkerFinishesAtOnceWithoutAnotherLook) {
  Termination termination;
  termination.Reset(1);
  EXPECT_FALSE(termination.AwaitWork(Always));
  EXPECT_FALSE(termination.Enter());
}

TEST(TerminationTest, AWorkerWaitsWhileAnotherIsActiveAndThenBothFinish) {
  Termination termination;
  termination.Reset(2);
  bool written = false;
  std::thread other([&] {
    EXPECT_FALSE(termination.AwaitWork(Never));
    EXPECT_TRUE(written);  // ordered by the end of the work, or ThreadSanitizer complains
  });
  while (termination.idle_hint() == 0) std::this_thread::yield();
  written = true;
  EXPECT_FALSE(termination.AwaitWork(Never));
  other.join();
  EXPECT_FALSE(termination.Enter());
}

TEST(TerminationTest, AWorkerThatSeesWorkBecomesActiveAgain) {
  Termination termination;
  termination.Reset(2);
  // Relaxed throughout: flags that hand nothing over.
  std::atomic<bool> work{false};
  std::atomic<bool> active_again{false};
  std::thread other([&] {
    EXPECT_TRUE(termination.AwaitWork([&] { return work.load(std::memory_order_relaxed); }));
    EXPECT_EQ(termination.idle_hint(), 0);
    // Relaxed: as said above.
    active_again.store(true, std::memory_order_relaxed);
    EXPECT_FALSE(termination.AwaitWork(Never));
  });
  while (termination.idle_hint() == 0) std::this_thread::yield();
  // Relaxed: as said above.
  work.store(true, std::memory_order_relaxed);
  while (!active_again.load(std::memory_order_relaxed)) std::this_thread::yield();
  EXPECT_FALSE(termination.AwaitWork(Never));
  other.join();
}

TEST(TerminationTest, ALateWorkerIsWaitedFor) {
  Termination termination;
  termination.Reset(1);
  ASSERT_TRUE(termination.Enter());
  std::atomic<bool> finished{false};  // relaxed throughout: hands nothing over
  std::thread first([&] {
    EXPECT_FALSE(termination.AwaitWork(Never));
    finished.store(true, std::memory_order_relaxed);
  });
  while (termination.idle_hint() == 0) std::this_thread::yield();
  // Relaxed: as said above.
  EXPECT_FALSE(finished.load(std::memory_order_relaxed));
  EXPECT_FALSE(termination.AwaitWork(Never));
  first.join();
}

TEST(TerminationTest, CanBeUsedAgainAfterReset) {
  Termination termination;
  for (int round = 0; round < 3; ++round) {
    termination.Reset(3);
    EXPECT_EQ(termination.idle_hint(), 0);
    std::vector<std::thread> workers;
    for (int i = 0; i < 3; ++i) {
      workers.emplace_back([&] { EXPECT_FALSE(termination.AwaitWork(Never)); });
    }
    for (std::thread& worker : workers) worker.join();
  }
}

}  // namespace
}  // namespace ebb::background
