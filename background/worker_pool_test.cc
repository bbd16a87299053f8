#include "background/worker_pool.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <set>
#include <thread>
#include <type_traits>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/synchronization/barrier.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"
#include "platform/fake_system.h"
#include "platform/system.h"

namespace ebb::background {
namespace {

using platform::Call;
using platform::FakeSystem;

// A function object that has a name is referred to; a temporary is moved into the job if it is
// small, and else refused at compile time.
constexpr auto kSmall = [](int) {};
using Small = std::remove_const_t<decltype(kSmall)>;
struct Large {
  void operator()(int) const {}
  void* captures[3];
};
template <typename Work>
constexpr bool kIsWork = std::is_constructible_v<WorkerPool::Job, WorkerPool&, int, Work>;
static_assert(kIsWork<Small&> && kIsWork<const Small&> && kIsWork<Small>);
static_assert(kIsWork<Large&> && kIsWork<const Large&> && !kIsWork<Large>);
static_assert(kIsWork<void (*)(int)> && kIsWork<absl::FunctionRef<void(int)>>);

// Remembers who worked.
class Roll {
 public:
  void Call(int worker) {
    absl::MutexLock lock(&mutex_);
    EXPECT_TRUE(workers_.insert(worker).second) << "worker " << worker << " works twice";
    threads_.insert(std::this_thread::get_id());
  }
  std::set<int> workers() const {
    absl::MutexLock lock(&mutex_);
    return workers_;
  }
  size_t threads() const {
    absl::MutexLock lock(&mutex_);
    return threads_.size();
  }

 private:
  mutable absl::Mutex mutex_;
  std::set<int> workers_ ABSL_GUARDED_BY(mutex_);
  std::set<std::thread::id> threads_ ABSL_GUARDED_BY(mutex_);
};

TEST(WorkerPoolTest, StartsNoThreadUntilRecruiting) {
  FakeSystem system;
  WorkerPool pool(system, 3, "test");
  {
    auto work = [](int) { ADD_FAILURE() << "never recruited"; };
    WorkerPool::Job job(pool, 3, work);
    EXPECT_FALSE(job.recruited());
  }
  EXPECT_EQ(pool.helpers_started(), 0);
  EXPECT_EQ(system.uses(Call::kStartThread), 0);
  EXPECT_EQ(pool.start_failures(), 0);
  EXPECT_TRUE(pool.last_start_failure().ok());
}

TEST(WorkerPoolTest, EachHelperWorksOnceOnAThreadOfItsOwn) {
  FakeSystem system;
  WorkerPool pool(system, 3, "test");
  Roll roll;
  auto work = [&](int worker) { roll.Call(worker); };
  WorkerPool::Job job(pool, 3, work);
  EXPECT_EQ(job.Recruit(), 3);
  EXPECT_TRUE(job.recruited());
  EXPECT_EQ(job.Recruit(), 3);
  job.Join();
  EXPECT_EQ(roll.workers(), (std::set<int>{1, 2, 3}));
  EXPECT_EQ(roll.threads(), 3u);
  EXPECT_EQ(pool.helpers_started(), 3);
}

// AddressSanitizer and ThreadSanitizer complain if the job refers to the temporary.
TEST(WorkerPoolTest, ALambdaWrittenInPlaceLivesAsLongAsTheJob) {
  WorkerPool pool(platform::System::Real(), 3, "test");
  std::atomic<int> sum{0};
  int offset = 10;
  WorkerPool::Job job(pool, 3, [&sum, &offset](int worker) { sum += offset + worker; });
  job.Recruit();
  job.Join();
  EXPECT_EQ(sum, 36);
}

TEST(WorkerPoolTest, HelpersWorkAtTheSameTimeAsTheCaller) {
  WorkerPool pool(platform::System::Real(), 2, "test");
  absl::Barrier* barrier = new absl::Barrier(3);
  auto meet = [&](int) {
    if (barrier->Block()) delete barrier;
  };
  WorkerPool::Job job(pool, 2, meet);
  ASSERT_EQ(job.Recruit(), 2);
  meet(0);
}

TEST(WorkerPoolTest, ThreadsAreUsedAgain) {
  FakeSystem system;
  WorkerPool pool(system, 2, "test");
  for (int i = 0; i < 100; ++i) {
    Roll roll;
    auto work = [&](int worker) { roll.Call(worker); };
    WorkerPool::Job job(pool, 2, work);
    EXPECT_EQ(job.Recruit(), 2);
    job.Join();
    EXPECT_EQ(roll.workers(), (std::set<int>{1, 2}));
  }
  EXPECT_EQ(system.uses(Call::kStartThread), 2);
}

TEST(WorkerPoolTest, AJobMayWantFewerHelpersThanThereAre) {
  WorkerPool pool(platform::System::Real(), 3, "test");
  for (int helpers : {1, 3, 0, 2, -1, 1}) {
    Roll roll;
    auto work = [&](int worker) { roll.Call(worker); };
    WorkerPool::Job job(pool, helpers, work);
    EXPECT_EQ(job.Recruit(), std::max(helpers, 0));
    EXPECT_TRUE(job.recruited());
    job.Join();
    EXPECT_EQ(roll.workers().size(), static_cast<size_t>(std::max(helpers, 0)));
  }
}

TEST(WorkerPoolTest, NeverStartsMoreThanItsMaximum) {
  WorkerPool pool(platform::System::Real(), 1, "test");
  Roll roll;
  auto work = [&](int worker) { roll.Call(worker); };
  WorkerPool::Job job(pool, 7, work);
  EXPECT_EQ(job.Recruit(), 1);
  job.Join();
  EXPECT_EQ(roll.workers(), (std::set<int>{1}));
}

TEST(WorkerPoolTest, APoolWithoutHelpersIsAllowed) {
  for (int max : {0, -3}) {
    WorkerPool pool(platform::System::Real(), max, "test");
    auto work = [](int) { ADD_FAILURE(); };
    WorkerPool::Job job(pool, 2, work);
    EXPECT_EQ(job.Recruit(), 0);
  }
}

TEST(WorkerPoolTest, OrdersWhatHappensBeforeAndAfter) {
  WorkerPool pool(platform::System::Real(), 3, "test");
  // Ordinary variables: ThreadSanitizer complains if the pool does not order the accesses.
  int before = 0;
  std::vector<int> results(4);
  for (int round = 1; round <= 50; ++round) {
    auto work = [&](int worker) { results[worker] = before + worker; };
    WorkerPool::Job job(pool, 3, work);
    before = round;
    job.Recruit();
    job.Join();
    for (int worker = 1; worker <= 3; ++worker) EXPECT_EQ(results[worker], round + worker);
  }
}

TEST(WorkerPoolTest, TheDestructorOfAJobJoins) {
  WorkerPool pool(platform::System::Real(), 1, "test");
  absl::Notification started;
  absl::Notification go_on;
  int done = 0;
  std::thread other;
  {
    auto work = [&](int) {
      started.Notify();
      go_on.WaitForNotification();
      ++done;
    };
    WorkerPool::Job job(pool, 1, work);
    ASSERT_EQ(job.Recruit(), 1);
    other = std::thread([&] {
      started.WaitForNotification();
      go_on.Notify();
    });
  }
  EXPECT_EQ(done, 1);
  other.join();
}

TEST(WorkerPoolTest, AnyParticipantMayRecruit) {
  WorkerPool pool(platform::System::Real(), 3, "test");
  std::atomic<int> sum{0};
  WorkerPool::Job* shared = nullptr;
  auto work = [&](int) { sum += shared->Recruit(); };
  WorkerPool::Job job(pool, 3, work);
  shared = &job;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&] { EXPECT_EQ(job.Recruit(), 3); });
  for (std::thread& thread : threads) thread.join();
  job.Join();
  EXPECT_EQ(sum, 9);
}

// Helpers that stay at work until they are let go.
class HeldWork {
 public:
  void Call(int worker) {
    roll_.Call(worker);
    Hold();
  }
  void Hold() {
    go_on_.WaitForNotification();
    ++done_;
  }
  void LetGo() { go_on_.Notify(); }
  const Roll& roll() const { return roll_; }
  int done() const { return done_; }

 private:
  Roll roll_;
  absl::Notification go_on_;
  std::atomic<int> done_ = 0;
};

TEST(WorkerPoolTest, JobsShareTheHelpersAndEachNumbersItsOwnFromOne) {
  FakeSystem system;
  WorkerPool pool(system, 3, "test");
  HeldWork first_work;
  WorkerPool::Job first(pool, 2, [&](int worker) { first_work.Call(worker); });
  EXPECT_EQ(first.Recruit(), 2);
  EXPECT_EQ(system.uses(Call::kStartThread), 2);
  HeldWork second_work;
  WorkerPool::Job second(pool, 3, [&](int worker) { second_work.Call(worker); });
  EXPECT_EQ(second.Recruit(), 1);
  first_work.LetGo();
  second_work.LetGo();
  first.Join();
  second.Join();
  EXPECT_EQ(first_work.roll().workers(), (std::set<int>{1, 2}));
  EXPECT_EQ(second_work.roll().workers(), (std::set<int>{1}));
  EXPECT_EQ(system.uses(Call::kStartThread), 3);
}

TEST(WorkerPoolTest, AJobThatFindsNoHelperIsDoneAlone) {
  WorkerPool pool(platform::System::Real(), 2, "test");
  HeldWork held;
  WorkerPool::Job first(pool, 2, [&](int worker) { held.Call(worker); });
  ASSERT_EQ(first.Recruit(), 2);
  {
    auto none = [](int) { ADD_FAILURE(); };
    WorkerPool::Job second(pool, 2, none);
    EXPECT_EQ(second.Recruit(), 0);
    EXPECT_TRUE(second.recruited());
    second.Join();
  }
  held.LetGo();
  first.Join();
  // Join, not destruction, gives helpers back.
  Roll roll;
  auto work = [&](int worker) { roll.Call(worker); };
  WorkerPool::Job third(pool, 2, work);
  EXPECT_EQ(third.Recruit(), 2);
}

TEST(WorkerPoolTest, AJobThatDoesNotRecruitTakesNothingFromOthers) {
  WorkerPool pool(platform::System::Real(), 2, "test");
  auto none = [](int) { ADD_FAILURE(); };
  WorkerPool::Job first(pool, 2, none);
  Roll roll;
  auto work = [&](int worker) { roll.Call(worker); };
  WorkerPool::Job second(pool, 2, work);
  EXPECT_EQ(second.Recruit(), 2);
}

TEST(WorkerPoolTest, JoinWaitsForTheHelpersOfItsOwnJobOnly) {
  WorkerPool pool(platform::System::Real(), 3, "test");
  HeldWork held;
  WorkerPool::Job first(pool, 1, [&](int worker) { held.Call(worker); });
  ASSERT_EQ(first.Recruit(), 1);
  for (int i = 0; i < 20; ++i) {
    Roll roll;
    auto work = [&](int worker) { roll.Call(worker); };
    WorkerPool::Job second(pool, 3, work);
    EXPECT_EQ(second.Recruit(), 2);
    second.Join();
    EXPECT_EQ(roll.workers(), (std::set<int>{1, 2}));
  }
  EXPECT_EQ(held.done(), 0);
  held.LetGo();
  first.Join();
  EXPECT_EQ(held.done(), 1);
}

TEST(WorkerPoolTest, ManyJobsAtOnceStartNoMoreThreadsThanTheMaximum) {
  FakeSystem system;
  WorkerPool pool(system, 3, "test");
  for (int round = 0; round < 10; ++round) {
    HeldWork held;
    std::vector<std::unique_ptr<WorkerPool::Job>> jobs;
    int recruited = 0;
    for (int i = 0; i < 10; ++i) {
      // Each of them is worker 1.
      jobs.push_back(std::make_unique<WorkerPool::Job>(pool, 1, [&held](int worker) {
        EXPECT_EQ(worker, 1);
        held.Hold();
      }));
      recruited += jobs.back()->Recruit();
    }
    EXPECT_EQ(recruited, 3);
    held.LetGo();
    jobs.clear();
    EXPECT_EQ(held.done(), 3);
  }
  EXPECT_EQ(system.uses(Call::kStartThread), 3);
  EXPECT_EQ(pool.helpers_started(), 3);
}

TEST(WorkerPoolTest, TheMaximumMayBeRaised) {
  WorkerPool pool(platform::System::Real(), 1, "test");
  HeldWork first_work;
  WorkerPool::Job first(pool, 3, [&](int worker) { first_work.Call(worker); });
  EXPECT_EQ(first.Recruit(), 1);
  pool.RaiseMaximum(3);
  pool.RaiseMaximum(2);  // no less
  Roll roll;
  auto work = [&](int worker) { roll.Call(worker); };
  WorkerPool::Job second(pool, 3, work);
  EXPECT_EQ(second.Recruit(), 2);
  first_work.LetGo();
}

TEST(WorkerPoolTest, RecruitAfterJoinRecruitsNobody) {
  WorkerPool pool(platform::System::Real(), 2, "test");
  auto work = [](int) { ADD_FAILURE(); };
  WorkerPool::Job job(pool, 2, work);
  job.Join();
  EXPECT_FALSE(job.recruited());
  EXPECT_EQ(job.Recruit(), 0);
  job.Join();
}

TEST(WorkerPoolTest, AThreadThatCannotBeStartedMeansFewerHelpers) {
  FakeSystem system;
  WorkerPool pool(system, 3, "test");
  system.FailOn(Call::kStartThread, 2);
  {
    Roll roll;
    auto work = [&](int worker) { roll.Call(worker); };
    WorkerPool::Job job(pool, 3, work);
    EXPECT_EQ(job.Recruit(), 1);
    job.Join();
    EXPECT_EQ(roll.workers(), (std::set<int>{1}));
  }
  EXPECT_EQ(pool.helpers_started(), 1);
  EXPECT_EQ(pool.start_failures(), 1);
  EXPECT_EQ(pool.last_start_failure().code(), absl::StatusCode::kResourceExhausted);
  // The next job tries again.
  Roll roll;
  auto work = [&](int worker) { roll.Call(worker); };
  WorkerPool::Job job(pool, 3, work);
  EXPECT_EQ(job.Recruit(), 3);
  job.Join();
  EXPECT_EQ(roll.workers(), (std::set<int>{1, 2, 3}));
  EXPECT_EQ(pool.helpers_started(), 3);
  EXPECT_EQ(pool.start_failures(), 1);
}

TEST(WorkerPoolTest, AThreadThatCannotBeStartedLeavesWhatIsIdle) {
  FakeSystem system;
  WorkerPool pool(system, 4, "test");
  HeldWork held;
  WorkerPool::Job first(pool, 1, [&](int worker) { held.Call(worker); });
  ASSERT_EQ(first.Recruit(), 1);
  {
    Roll roll;
    auto work = [&](int worker) { roll.Call(worker); };
    WorkerPool::Job(pool, 1, work).Recruit();  // one is idle now
  }
  system.FailEvery(Call::kStartThread, 1);
  Roll roll;
  auto work = [&](int worker) { roll.Call(worker); };
  WorkerPool::Job second(pool, 3, work);
  EXPECT_EQ(second.Recruit(), 1);
  second.Join();
  EXPECT_EQ(roll.workers(), (std::set<int>{1}));
  EXPECT_EQ(pool.start_failures(), 1);
  EXPECT_EQ(pool.helpers_started(), 2);
  held.LetGo();
  first.Join();
  // What could not be started may be, later.
  system.StopFailing();
  Roll all;
  auto more_work = [&](int worker) { all.Call(worker); };
  WorkerPool::Job third(pool, 4, more_work);
  EXPECT_EQ(third.Recruit(), 4);
}

TEST(WorkerPoolTest, WorksWithoutAnyThread) {
  FakeSystem system;
  system.FailEvery(Call::kStartThread, 1);
  WorkerPool pool(system, 3, "test");
  for (int i = 1; i <= 3; ++i) {
    auto work = [](int) { ADD_FAILURE(); };
    WorkerPool::Job job(pool, 3, work);
    EXPECT_EQ(job.Recruit(), 0);
    EXPECT_EQ(pool.start_failures(), i);
  }
  EXPECT_EQ(pool.helpers_started(), 0);
}

TEST(WorkerPoolDeathTest, DestroyedUnderAJob) {
  EXPECT_DEATH(
      {
        auto pool = std::make_unique<WorkerPool>(platform::System::Real(), 0, "test");
        auto work = [](int) {};
        WorkerPool::Job job(*pool, 0, work);
        pool.reset();
      },
      "a WorkerPool is destroyed while a Job uses it");
}

}  // namespace
}  // namespace ebb::background
