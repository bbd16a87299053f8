#include "platform/thread.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"

namespace ebb::platform {
namespace {

TEST(ThreadTest, RunsBodyAndJoins) {
  bool ran = false;
  {
    auto thread = Thread::Start("worker", [&ran] { ran = true; });
    ASSERT_TRUE(thread.ok()) << thread.status();
    (*thread)->Join();
    EXPECT_TRUE(ran);
    (*thread)->Join();  // again, and once more in the destructor
  }
}

TEST(ThreadTest, DestructorWaits) {
  absl::Notification may_end;
  bool ended = false;
  {
    auto thread = Thread::Start("worker", [&] {
      may_end.WaitForNotification();
      ended = true;
    });
    ASSERT_TRUE(thread.ok()) << thread.status();
    may_end.Notify();
  }
  EXPECT_TRUE(ended);
}

TEST(ThreadTest, OwnsItsBody) {
  auto owned = std::make_unique<int>(7);
  int seen = 0;
  auto thread = Thread::Start("worker", [owned = std::move(owned), &seen] { seen = *owned; });
  ASSERT_TRUE(thread.ok()) << thread.status();
  (*thread)->Join();
  EXPECT_EQ(seen, 7);
}

TEST(ThreadTest, HasItsNameCutToWhatTheKernelKeeps) {
  char name[64] = "";
  auto thread = Thread::Start("ebb-background-thread-1",
                              [&name] { pthread_getname_np(pthread_self(), name, sizeof(name)); });
  ASSERT_TRUE(thread.ok()) << thread.status();
  (*thread)->Join();
  EXPECT_STREQ(name, "ebb-background-");
}

TEST(ThreadTest, TakesNoAsynchronousSignalsAndLeavesTheStarterAlone) {
  sigset_t before, inside, after;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  auto thread =
      Thread::Start("worker", [&inside] { pthread_sigmask(SIG_SETMASK, nullptr, &inside); });
  ASSERT_TRUE(thread.ok()) << thread.status();
  (*thread)->Join();
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  EXPECT_EQ(sigismember(&inside, SIGTERM), 1);
  EXPECT_EQ(sigismember(&inside, SIGUSR1), 1);
  EXPECT_EQ(sigismember(&inside, SIGSEGV), 0);
  EXPECT_EQ(sigismember(&inside, SIGPROF), 0);
  EXPECT_EQ(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
}

// Threads of this process get stacks of `size` while this lives.
class DefaultStackSize {
 public:
  explicit DefaultStackSize(size_t size) {
    pthread_getattr_default_np(&before_);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    EXPECT_EQ(pthread_attr_setstacksize(&attributes, size), 0);
    EXPECT_EQ(pthread_setattr_default_np(&attributes), 0);
    pthread_attr_destroy(&attributes);
  }
  ~DefaultStackSize() {
    EXPECT_EQ(pthread_setattr_default_np(&before_), 0);
    pthread_attr_destroy(&before_);
  }

 private:
  pthread_attr_t before_;
};

// No address space is left for a stack of a PiB: EAGAIN, as when there are too many threads.
TEST(ThreadTest, FailureToStartIsAStatus) {
  const DefaultStackSize huge(size_t{1} << 50);
  const auto thread = Thread::Start("one-too-many", [] {});
  EXPECT_EQ(thread.status().code(), absl::StatusCode::kResourceExhausted) << thread.status();
  EXPECT_TRUE(absl::StrContains(thread.status().message(), "one-too-many")) << thread.status();
  EXPECT_TRUE(absl::StrContains(thread.status().message(), "ulimit -u")) << thread.status();
}

TEST(ThreadTest, LowerPriorityIsOfTheCallingThreadOnly) {
  const int before = getpriority(PRIO_PROCESS, 0);
  int lowered = before;
  int as_it_was = before + 1;
  auto nice = Thread::Start("nice", [&] {
    LowerPriority(0);
    as_it_was = getpriority(PRIO_PROCESS, 0);
    LowerPriority(3);
    lowered = getpriority(PRIO_PROCESS, 0);
  });
  ASSERT_TRUE(nice.ok()) << nice.status();
  (*nice)->Join();
  EXPECT_EQ(as_it_was, before);
  EXPECT_EQ(lowered, std::min(before + 3, 19));
  EXPECT_EQ(getpriority(PRIO_PROCESS, 0), before);
}

}  // namespace
}  // namespace ebb::platform
