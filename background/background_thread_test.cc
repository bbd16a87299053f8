#include "background/background_thread.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "platform/clock.h"
#include "platform/fake_clock.h"
#include "platform/fake_system.h"
#include "platform/system.h"

namespace ebb::background {
namespace {

using platform::FakeClock;
using platform::System;
using TaskId = BackgroundThread::TaskId;

constexpr absl::Duration kTick = absl::Seconds(1);

// A background thread whose clock stands still unless told, so that tasks run by Tick only.
class BackgroundThreadTest : public testing::Test {
 protected:
  void SetUp() override {
    auto background = BackgroundThread::Create(System::Real(), {.tick = kTick, .clock = &clock_});
    ASSERT_TRUE(background.ok()) << background.status();
    background_ = *std::move(background);
  }

  // A task that writes its name down.
  TaskId AddWriter(Stage stage, const std::string& name) {
    return background_->AddTask(stage, name, [this, name] { log_.push_back(name); });
  }

  std::vector<std::string> TickAndTakeLog() {
    background_->Tick();
    return std::exchange(log_, {});
  }

  using Log = std::vector<std::string>;
  FakeClock clock_;
  Log log_;
  std::unique_ptr<BackgroundThread> background_;
};

TEST_F(BackgroundThreadTest, RunsTasksByStageThenInsertion) {
  AddWriter(Stage::kEnd, "end 1");
  AddWriter(Stage::kMiddle, "middle 1");
  AddWriter(Stage::kStart, "start 1");
  AddWriter(Stage::kMiddle, "middle 2");
  AddWriter(Stage::kEnd, "end 2");
  AddWriter(Stage::kStart, "start 2");
  const Log order = {"start 1", "start 2", "middle 1", "middle 2", "end 1", "end 2"};
  EXPECT_EQ(background_->TaskNames(), order);
  EXPECT_EQ(TickAndTakeLog(), order);
  EXPECT_EQ(TickAndTakeLog(), order);
}

TEST_F(BackgroundThreadTest, CountsTasks) {
  EXPECT_EQ(background_->task_count(), 0);
  const TaskId a = AddWriter(Stage::kStart, "a");
  const TaskId b = AddWriter(Stage::kStart, "b");
  EXPECT_NE(a, b);
  EXPECT_EQ(background_->task_count(), 2);
  EXPECT_TRUE(background_->RemoveTask(a));
  EXPECT_EQ(background_->task_count(), 1);
  EXPECT_FALSE(background_->RemoveTask(a));
  EXPECT_EQ(background_->task_count(), 1);
  EXPECT_TRUE(background_->RemoveTask(b));
  EXPECT_EQ(background_->task_count(), 0);
  EXPECT_FALSE(background_->RemoveTask(12345));
}

TEST_F(BackgroundThreadTest, RemovedTasksDoNotRun) {
  AddWriter(Stage::kStart, "a");
  const TaskId b = AddWriter(Stage::kStart, "b");
  AddWriter(Stage::kStart, "c");
  EXPECT_TRUE(background_->RemoveTask(b));
  EXPECT_EQ(TickAndTakeLog(), (Log{"a", "c"}));
}

TEST_F(BackgroundThreadTest, RemoveTaskDestroysTheTask) {
  auto shared = std::make_shared<int>(0);
  const TaskId id = background_->AddTask(Stage::kStart, "holds", [shared] {});
  EXPECT_EQ(shared.use_count(), 2);
  background_->RemoveTask(id);
  EXPECT_EQ(shared.use_count(), 1);
}

TEST_F(BackgroundThreadTest, ATaskAddedByATaskRunsInTheNextTick) {
  bool added = false;
  background_->AddTask(Stage::kMiddle, "adds", [&] {
    log_.push_back("adds");
    if (std::exchange(added, true)) return;
    AddWriter(Stage::kStart, "start");
    AddWriter(Stage::kMiddle, "middle");
    AddWriter(Stage::kEnd, "end");
  });
  EXPECT_EQ(TickAndTakeLog(), (Log{"adds"}));
  EXPECT_EQ(TickAndTakeLog(), (Log{"start", "adds", "middle", "end"}));
}

TEST_F(BackgroundThreadTest, ATaskMayRemoveOthers) {
  std::vector<TaskId> others;
  others.push_back(AddWriter(Stage::kStart, "before"));
  background_->AddTask(Stage::kMiddle, "removes", [&] {
    for (TaskId id : std::exchange(others, {})) EXPECT_TRUE(background_->RemoveTask(id));
    log_.push_back("removes");
  });
  others.push_back(AddWriter(Stage::kMiddle, "next"));
  others.push_back(AddWriter(Stage::kEnd, "later"));
  AddWriter(Stage::kEnd, "last");
  EXPECT_EQ(TickAndTakeLog(), (Log{"before", "removes", "last"}));
  EXPECT_EQ(TickAndTakeLog(), (Log{"removes", "last"}));
}

TEST_F(BackgroundThreadTest, ATaskMayRemoveItself) {
  auto shared = std::make_shared<int>(0);
  TaskId self = 0;
  self = background_->AddTask(Stage::kStart, "once", [this, &self, shared] {
    EXPECT_TRUE(background_->RemoveTask(self));
    EXPECT_FALSE(background_->RemoveTask(self));
    EXPECT_EQ(background_->task_count(), 1);
    log_.push_back("once");
    EXPECT_GT(shared.use_count(), 1);  // what it holds lives until it has ended
  });
  AddWriter(Stage::kStart, "other");
  EXPECT_EQ(TickAndTakeLog(), (Log{"once", "other"}));
  EXPECT_EQ(shared.use_count(), 1);
  EXPECT_EQ(TickAndTakeLog(), (Log{"other"}));
}

TEST_F(BackgroundThreadTest, TickInsideATaskDoesNothing) {
  background_->AddTask(Stage::kStart, "ticks", [&] {
    log_.push_back("ticks");
    background_->Tick();
  });
  EXPECT_EQ(TickAndTakeLog(), (Log{"ticks"}));
}

TEST_F(BackgroundThreadTest, RemoveTaskWaitsWhileTheTaskRuns) {
  absl::Notification running;
  absl::Notification go_on;
  bool done = false;  // an ordinary variable: RemoveTask orders the accesses
  const TaskId id = background_->AddTask(Stage::kStart, "slow", [&] {
    running.Notify();
    go_on.WaitForNotification();
    done = true;
  });
  std::thread ticker([&] { background_->Tick(); });
  running.WaitForNotification();
  std::thread remover([&] {
    while (background_->task_count() != 0) std::this_thread::yield();
    go_on.Notify();
  });
  EXPECT_TRUE(background_->RemoveTask(id));
  EXPECT_TRUE(done);
  ticker.join();
  remover.join();
}

TEST_F(BackgroundThreadTest, NoLockIsHeldWhileATaskRuns) {
  background_->AddTask(Stage::kStart, "asks", [&] {
    std::thread([&] {
      EXPECT_EQ(background_->task_count(), 1);
      const TaskId id = AddWriter(Stage::kEnd, "short-lived");
      EXPECT_TRUE(background_->RemoveTask(id));
    }).join();
  });
  background_->Tick();
}

TEST_F(BackgroundThreadTest, DestructionWaitsForTheTaskThatRunsAndSkipsTheOthers) {
  constexpr int kTasks = 20'000;  // at least 20 s of work
  absl::Notification running;
  std::atomic<int> begun{0};
  std::atomic<int> ended{0};
  for (int i = 0; i < kTasks; ++i) {
    background_->AddTask(Stage::kStart, "works", [&] {
      if (++begun == 1) running.Notify();
      absl::SleepFor(absl::Milliseconds(1));  // stands for work
      ++ended;
    });
  }
  clock_.Advance(kTick);
  AddWriter(Stage::kEnd, "makes the thread look at the clock");
  running.WaitForNotification();
  background_.reset();
  EXPECT_EQ(begun, ended);
  EXPECT_LT(ended, kTasks);
}

// The thread's own ticks. AddTask makes the thread look at the clock.
class OwnTicksTest : public BackgroundThreadTest {
 protected:
  // Moves the clock to where a tick is due, and returns when all tasks before the last stage have
  // run in it.
  void AdvanceAndAwaitTick(absl::Duration by) {
    absl::Notification ticked;
    const TaskId tells = background_->AddTask(Stage::kEnd, "tells", [&] {
      if (!ticked.HasBeenNotified()) ticked.Notify();
    });
    clock_.Advance(by);
    const TaskId wakes = background_->AddTask(Stage::kEnd, "wakes", [] {});
    ticked.WaitForNotification();
    background_->RemoveTask(tells);
    background_->RemoveTask(wakes);
  }
};

TEST_F(OwnTicksTest, TicksThatWereMissedCollapseIntoOne) {
  std::atomic<int> ticks{0};
  background_->AddTask(Stage::kStart, "counts", [&] { ++ticks; });
  AdvanceAndAwaitTick(100 * kTick);
  EXPECT_EQ(ticks, 1);
  for (int i = 2; i <= 5; ++i) {
    AdvanceAndAwaitTick(kTick);
    EXPECT_EQ(ticks, i);
  }
  background_.reset();
  EXPECT_EQ(ticks, 5);
}

TEST_F(OwnTicksTest, NothingRunsBeforeItIsDue) {
  std::atomic<int> ticks{0};
  background_->AddTask(Stage::kStart, "counts", [&] { ++ticks; });
  clock_.Advance(kTick - absl::Nanoseconds(1));
  AddWriter(Stage::kEnd, "makes the thread look at the clock");
  background_.reset();
  EXPECT_EQ(ticks, 0);
}

TEST_F(OwnTicksTest, TheFirstTaskStartsTheClock) {
  clock_.Advance(100 * kTick);
  std::atomic<int> ticks{0};
  background_->AddTask(Stage::kStart, "counts", [&] { ++ticks; });
  AddWriter(Stage::kEnd, "makes the thread look at the clock");
  background_.reset();
  EXPECT_EQ(ticks, 0);
}

// A clock that counts how often it is read, which the thread does each time it wakes with a task.
class CountingClock : public platform::Clock {
 public:
  absl::Duration Now() const override {
    ++reads_;
    return platform::Clock::Monotonic().Now();
  }
  int reads() const { return reads_; }

 private:
  mutable std::atomic<int> reads_{0};
};

TEST(BackgroundThreadRealTimeTest, TicksByItself) {
  auto background = BackgroundThread::Create(System::Real(), {.tick = absl::Milliseconds(1)});
  ASSERT_TRUE(background.ok());
  absl::Notification done;
  int ticks = 0;
  (*background)->AddTask(Stage::kMiddle, "counts", [&] {
    if (++ticks == 5) done.Notify();
  });
  done.WaitForNotification();
}

TEST(BackgroundThreadRealTimeTest, WithoutTasksItIsNotWoken) {
  CountingClock clock;
  auto background =
      BackgroundThread::Create(System::Real(), {.tick = absl::Milliseconds(1), .clock = &clock});
  ASSERT_TRUE(background.ok());
  absl::Notification ran;
  const TaskId id = (*background)->AddTask(Stage::kStart, "tells", [&] {
    if (!ran.HasBeenNotified()) ran.Notify();
  });
  ran.WaitForNotification();
  EXPECT_TRUE((*background)->RemoveTask(id));
  const int reads = clock.reads();
  // Time in which a thread that went on ticking would be seen; not a synchronisation.
  absl::SleepFor(absl::Milliseconds(20));
  EXPECT_EQ(clock.reads(), reads);
}

TEST(BackgroundThreadRealTimeTest, DestructionDoesNotWaitForATick) {
  const int64_t start = platform::MonotonicNanos();
  {
    auto background = BackgroundThread::Create(System::Real(), {.tick = absl::Hours(1)});
    ASSERT_TRUE(background.ok());
    (*background)->AddTask(Stage::kStart, "never", [] { ADD_FAILURE(); });
  }
  EXPECT_LT(platform::MonotonicNanos() - start, int64_t{60'000'000'000});
}

TEST(BackgroundThreadCreateTest, RefusesATickThatIsNotPositive) {
  for (absl::Duration tick : {absl::ZeroDuration(), absl::Seconds(-1)}) {
    auto background = BackgroundThread::Create(System::Real(), {.tick = tick});
    EXPECT_EQ(background.status().code(), absl::StatusCode::kInvalidArgument);
  }
  auto background = BackgroundThread::Create(System::Real(), {.tick = absl::Seconds(-1)});
  EXPECT_EQ(background.status().message(),
            "the tick of a background thread is -1s; it must be more than 0");
}

TEST(BackgroundThreadCreateTest, ReportsAThreadThatCannotBeStarted) {
  platform::FakeSystem system;
  system.FailOn(platform::Call::kStartThread, 1);
  auto background = BackgroundThread::Create(system, {});
  EXPECT_EQ(background.status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(BackgroundThreadDeathTest, DestroyedByATask) {
  EXPECT_DEATH(
      {
        auto background = BackgroundThread::Create(System::Real(), {});
        (*background)->AddTask(Stage::kStart, "destroys", [&] { background->reset(); });
        (*background)->Tick();
      },
      "a task destroys the BackgroundThread it runs on");
}

}  // namespace
}  // namespace ebb::background
