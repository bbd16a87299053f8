// BackgroundThread: one thread that runs periodic tasks in a fixed order, tick after tick.
// Used by the heap for what is not urgent (page-out, pacing figures).
// Design: docs/design/background.md#background-thread

#ifndef EBB_BACKGROUND_BACKGROUND_THREAD_H_
#define EBB_BACKGROUND_BACKGROUND_THREAD_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "platform/clock.h"
#include "platform/fork.h"
#include "platform/park.h"
#include "platform/system.h"
#include "platform/thread.h"

namespace ebb::background {

// When within a tick a task runs: all of kStart, then all of kMiddle, then all of kEnd.
enum class Stage { kStart, kMiddle, kEnd };

// A tick runs all tasks once, by stage, and within a stage in the order in which they were added.
// Two ticks by the clock never begin less than a tick's length apart: ticks that were missed,
// because tasks took long or the machine was suspended, collapse into one. Without tasks the thread
// sleeps and is not woken.
//
// Thread-safe; all of it may be called from inside a task, except destruction. No lock is held
// while a task runs, and only one task runs at a time. A task must not throw.
class BackgroundThread {
 public:
  using TaskId = int64_t;  // positive, never used again

  struct Options {
    absl::Duration tick = absl::Seconds(1);  // more than zero
    // Null: platform::Clock::Monotonic(). Another clock outlives the object; when it jumps, that is
    // noticed at the next AddTask or after the time that was left by the system's clock.
    const platform::Clock* clock = nullptr;
  };

  // InvalidArgument for a tick that is not positive; else as System::StartThread. `system` is used
  // only within the call.
  static absl::StatusOr<std::unique_ptr<BackgroundThread>> Create(platform::System& system,
                                                                  Options options);

  // Prompt: does not wait for a tick, waits for a task that runs, skips those after it. No Tick may
  // be under way on another thread.
  ~BackgroundThread();

  BackgroundThread(const BackgroundThread&) = delete;
  BackgroundThread& operator=(const BackgroundThread&) = delete;

  // The task first runs in the next tick that begins; the first task starts the clock, with one
  // tick's length to go. O(number of tasks), as is RemoveTask.
  TaskId AddTask(Stage stage, absl::string_view name, absl::AnyInvocable<void()> run);

  // Once it has returned, the task does not run, never will, and has been destroyed; the caller may
  // free what it uses. So it waits while the task runs, unless called from inside a task, where
  // that can only be the calling task itself: it ends its run and is destroyed then. False if
  // there was no such task (any more).
  bool RemoveTask(TaskId id);

  int task_count() const;

  // Runs one tick on the caller's thread, after one that is under way. The time of the next tick by
  // the clock stays. Does nothing when called from inside a task.
  void Tick();

  // In the order in which they run: for logs.
  std::vector<std::string> TaskNames() const;

  // Around a fork, not from inside a task: no task runs meanwhile. In the child the tasks are
  // there, but the thread is not until EnsureThread.
  void AtFork(platform::ForkStep step);
  // As Create, if the thread is not there.
  absl::Status EnsureThread(platform::System& system);

 private:
  struct Task {
    Stage stage;
    TaskId id;
    std::string name;
    absl::AnyInvocable<void()> run;
  };
  using Order = std::pair<Stage, TaskId>;

  explicit BackgroundThread(Options options);

  absl::Status StartThread(platform::System& system) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The thread's body.
  void Run();
  // How long the thread may sleep; zero when a tick is due; nothing when it is to end.
  std::optional<absl::Duration> TimeToTick();

  // A tick: StartTick, the tasks, EndTick. StartTick returns the id from which on tasks are too new
  // to take part.
  TaskId StartTick();
  void RunTasks(TaskId end);
  void EndTick();
  // Chooses and marks as running the next task after `last`; null when there is none.
  Task* StartTaskAfter(Order last, TaskId end);
  // Unmarks it and, if it was removed meanwhile, destroys it.
  void EndTask();

  bool InsideTask() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return ticking_ && ticker_ == std::this_thread::get_id();
  }

  const absl::Duration tick_;
  const platform::Clock& clock_;

  mutable absl::Mutex mutex_;
  // Sorted by Order. Not held in place: a task that runs does not move.
  std::vector<std::unique_ptr<Task>> tasks_ ABSL_GUARDED_BY(mutex_);
  TaskId next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  absl::Duration due_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteDuration();
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  // Signalled when a task or a tick has ended.
  absl::CondVar ended_;
  // The tick under way, its thread, and its task that runs (0: none).
  bool ticking_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread::id ticker_ ABSL_GUARDED_BY(mutex_);
  TaskId running_ ABSL_GUARDED_BY(mutex_) = 0;
  // That task, if it was removed while it ran.
  std::unique_ptr<Task> removed_ ABSL_GUARDED_BY(mutex_);

  platform::Parker wake_;  // a token: something changed that TimeToTick looks at
  std::unique_ptr<platform::Thread> thread_ ABSL_GUARDED_BY(mutex_);  // null: see AtFork
};

}  // namespace ebb::background

#endif  // EBB_BACKGROUND_BACKGROUND_THREAD_H_
