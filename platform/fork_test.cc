// Handlers around a fork, and a mutex that threads wait for which the child does not have.

#include "platform/fork.h"

#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <thread>
#include <vector>

#include "absl/base/config.h"
#include "absl/log/check.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"

namespace ebb::platform {
namespace {

constexpr int kMostSecondsInChild = 60;

// The child's exit status: 0 if `work` has returned in time.
int StatusOfChild(const std::function<void()>& work) {
  const pid_t child = fork();
  CHECK_GE(child, 0);
  if (child == 0) {
    alarm(kMostSecondsInChild);
    work();
    _exit(0);
  }
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  return status;
}

std::vector<ForkStep> steps;
void NoteStep(ForkStep step) { steps.push_back(step); }

std::vector<bool> second_called;  // whether `steps` had been told before
void NoteOrder(ForkStep) { second_called.push_back(steps.size() > second_called.size()); }

TEST(ForkTest, HandlersAreCalledAroundAFork) {
  ASSERT_TRUE(AddForkHandler<NoteStep>().ok());
  ASSERT_TRUE(AddForkHandler<NoteOrder>().ok());
  EXPECT_EQ(StatusOfChild([] {
              CHECK(steps == std::vector({ForkStep::kBefore, ForkStep::kInChild}));
              CHECK(second_called == std::vector({false, true}));
            }),
            0);
  EXPECT_EQ(steps, std::vector({ForkStep::kBefore, ForkStep::kInParent}));
  EXPECT_EQ(second_called, std::vector({false, true}));
}

absl::Mutex mutex(absl::kConstInit);
int number ABSL_GUARDED_BY(mutex) = 0;

void AwaitNumber(int wanted) {
  absl::MutexLock lock(&mutex);
  const auto reached = [=]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return number >= wanted; };
  mutex.Await(absl::Condition(&reached));
}

void SetNumber(int value) {
  absl::MutexLock lock(&mutex);
  number = value;
}

void HoldMutex(ForkStep step) { LockAcrossFork(mutex, step); }

// Some wait for a number, and some queue up for the mutex itself, which the fork holds.
TEST(ForkTest, NobodyWaitsForAMutexInTheChild) {
  // It has a lock of its own, which the fork may find held: see docs/design/fork.md.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  ASSERT_TRUE(AddForkHandler<HoldMutex>().ok());
  std::vector<std::thread> waiters;
  for (int i = 0; i < 3; ++i) waiters.emplace_back([] { AwaitNumber(1); });
  absl::Notification done;
  std::thread locker([&] {
    while (!done.HasBeenNotified()) {
      absl::MutexLock lock(&mutex);
      CHECK_LT(number, 3);
    }
  });
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(StatusOfChild([] {
                SetNumber(2);
#ifndef ABSL_HAVE_THREAD_SANITIZER  // which lets a child start no threads
                std::vector<std::thread> threads;
                for (int i = 0; i < 2; ++i) threads.emplace_back([] { AwaitNumber(3); });
                for (int i = 0; i < 100; ++i) SetNumber(2);
                SetNumber(3);
                for (std::thread& thread : threads) thread.join();
#endif
                absl::MutexLock lock(&mutex);
                mutex.AssertHeld();
              }),
              0);
  }
  SetNumber(1);
  done.Notify();
  for (std::thread& waiter : waiters) waiter.join();
  locker.join();
}

}  // namespace
}  // namespace ebb::platform
