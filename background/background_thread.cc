#include "background/background_thread.h"

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

#include "absl/log/check.h"
#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace ebb::background {

absl::StatusOr<std::unique_ptr<BackgroundThread>> BackgroundThread::Create(platform::System& system,
                                                                           Options options) {
  if (options.tick <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError(absl::StrCat("the tick of a background thread is ",
                                                   absl::FormatDuration(options.tick),
                                                   "; it must be more than 0"));
  }
  auto background = absl::WrapUnique(new BackgroundThread(options));
  if (absl::Status status = background->EnsureThread(system); !status.ok()) return status;
  return background;
}

absl::Status BackgroundThread::EnsureThread(platform::System& system) {
  absl::MutexLock lock(&mutex_);
  return thread_ != nullptr ? absl::OkStatus() : StartThread(system);
}

absl::Status BackgroundThread::StartThread(platform::System& system) {
  auto thread = system.StartThread("ebb-background", [this] { Run(); });
  if (!thread.ok()) return thread.status();
  thread_ = *std::move(thread);
  return absl::OkStatus();
}

BackgroundThread::BackgroundThread(Options options)
    : tick_(options.tick),
      clock_(options.clock != nullptr ? *options.clock : platform::Clock::Monotonic()) {}

BackgroundThread::~BackgroundThread() {
  std::unique_ptr<platform::Thread> thread;
  {
    absl::MutexLock lock(&mutex_);
    CHECK(!InsideTask()) << "a task destroys the BackgroundThread it runs on";
    stopping_ = true;
    thread = std::move(thread_);
  }
  wake_.Unpark();
  if (thread != nullptr) thread->Join();
}

BackgroundThread::TaskId BackgroundThread::AddTask(Stage stage, absl::string_view name,
                                                   absl::AnyInvocable<void()> run) {
  auto task = std::make_unique<Task>(stage, TaskId{0}, std::string(name), std::move(run));
  TaskId id;
  {
    absl::MutexLock lock(&mutex_);
    id = task->id = next_id_++;
    if (tasks_.empty()) due_ = clock_.Now() + tick_;
    // Ids grow, so after all of its stage is its place.
    auto place = std::upper_bound(
        tasks_.begin(), tasks_.end(), stage,
        [](Stage stage, const std::unique_ptr<Task>& other) { return stage < other->stage; });
    tasks_.insert(place, std::move(task));
  }
  wake_.Unpark();
  return id;
}

bool BackgroundThread::RemoveTask(TaskId id) {
  std::unique_ptr<Task> task;  // destroyed without the lock
  absl::MutexLock lock(&mutex_);
  auto place = std::find_if(tasks_.begin(), tasks_.end(),
                            [id](const std::unique_ptr<Task>& task) { return task->id == id; });
  const bool found = place != tasks_.end();
  if (found) {
    (running_ == id ? removed_ : task) = std::move(*place);
    tasks_.erase(place);
  }
  // Also when another thread, or the task itself, has removed it: it may still be running.
  if (!InsideTask()) {
    while (running_ == id) ended_.Wait(&mutex_);
  }
  return found;
}

int BackgroundThread::task_count() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int>(tasks_.size());
}

std::vector<std::string> BackgroundThread::TaskNames() const {
  std::vector<std::string> names;
  absl::MutexLock lock(&mutex_);
  for (const std::unique_ptr<Task>& task : tasks_) names.push_back(task->name);
  return names;
}

void BackgroundThread::Tick() {
  {
    absl::MutexLock lock(&mutex_);
    if (InsideTask()) return;
  }
  RunTasks(StartTick());
  EndTick();
}

void BackgroundThread::Run() {
  while (std::optional<absl::Duration> sleep = TimeToTick()) {
    if (*sleep > absl::ZeroDuration()) {
      wake_.ParkFor(*sleep);
    } else {
      Tick();
    }
  }
}

std::optional<absl::Duration> BackgroundThread::TimeToTick() {
  absl::MutexLock lock(&mutex_);
  if (stopping_) return std::nullopt;
  if (tasks_.empty()) return absl::InfiniteDuration();
  const absl::Duration now = clock_.Now();
  if (now < due_) return due_ - now;
  // From now, not from when it was due: what was missed is not made up for.
  due_ = now + tick_;
  return absl::ZeroDuration();
}

BackgroundThread::TaskId BackgroundThread::StartTick() {
  absl::MutexLock lock(&mutex_);
  while (ticking_) ended_.Wait(&mutex_);
  ticking_ = true;
  ticker_ = std::this_thread::get_id();
  return next_id_;
}

void BackgroundThread::RunTasks(TaskId end) {
  Order last(Stage::kStart, 0);
  while (Task* task = StartTaskAfter(last, end)) {
    last = Order(task->stage, task->id);
    task->run();
    EndTask();
  }
}

void BackgroundThread::EndTick() {
  absl::MutexLock lock(&mutex_);
  ticking_ = false;
  ended_.SignalAll();
}

BackgroundThread::Task* BackgroundThread::StartTaskAfter(Order last, TaskId end) {
  absl::MutexLock lock(&mutex_);
  if (stopping_) return nullptr;
  for (const std::unique_ptr<Task>& task : tasks_) {
    if (Order(task->stage, task->id) > last && task->id < end) {
      running_ = task->id;
      return task.get();
    }
  }
  return nullptr;
}

void BackgroundThread::EndTask() {
  absl::MutexLock lock(&mutex_);
  if (std::unique_ptr<Task> removed = std::move(removed_)) {
    // Destroyed without the lock, but while it still counts as running, so that RemoveTask returns
    // only afterwards.
    mutex_.Unlock();
    removed.reset();
    mutex_.Lock();
  }
  running_ = 0;
  ended_.SignalAll();
}

void BackgroundThread::AtFork(platform::ForkStep step) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  platform::LockAcrossFork(mutex_, step);
  if (step == platform::ForkStep::kBefore) {
    while (running_ != 0) ended_.Wait(&mutex_);
  }
  if (step != platform::ForkStep::kInChild) return;
  // The only thread there is. A tick that was under way ends with the thread that ran it.
  ::new (&ended_) absl::CondVar;  // inv.fork-no-dead-waiters
  wake_.RenewInChild();
  ticking_ = false;
  if (thread_ != nullptr) thread_->AbandonInChild();
  thread_ = nullptr;
}

}  // namespace ebb::background
