#include "background/worker_pool.h"

#include <algorithm>

#include "absl/log/check.h"
#include "absl/strings/str_cat.h"
#include "platform/spin_wait.h"

namespace ebb::background {

WorkerPool::WorkerPool(platform::System& system, int max_helpers, absl::string_view thread_name)
    : system_(system), thread_name_(thread_name), helpers_(std::max(max_helpers, 0)) {}

WorkerPool::~WorkerPool() {
  {
    absl::MutexLock lock(&mutex_);
    CHECK(holder_ == nullptr) << "a WorkerPool is destroyed while a Job holds it";
  }
  for (Helper& helper : helpers_) {
    if (helper.thread == nullptr) continue;
    helper.job = nullptr;
    helper.parker.Unpark();
  }
  for (Helper& helper : helpers_) helper.thread.reset();
}

int WorkerPool::helpers_started() const {
  absl::MutexLock lock(&mutex_);
  return helpers_started_;
}

int WorkerPool::start_failures() const {
  absl::MutexLock lock(&mutex_);
  return start_failures_;
}

absl::Status WorkerPool::last_start_failure() const {
  absl::MutexLock lock(&mutex_);
  return last_start_failure_;
}

void WorkerPool::Help(int worker) {
  Helper& self = helpers_[worker - 1];
  for (;;) {
    self.parker.Park();
    Job* const job = self.job;
    if (job == nullptr) return;
    job->work_(worker);
    // Release: publishes what this helper did, its read of self.job included, to the acquire in
    // AwaitHelpers. The other helpers' decrements, being read-modify-writes, carry it on.
    if (running_.fetch_sub(1, std::memory_order_release) == 1) joiner_.Unpark();
  }
}

bool WorkerPool::Employ(int worker, Job& job) {
  Helper& helper = helpers_[worker - 1];
  if (helper.thread == nullptr) {
    auto thread = system_.StartThread(absl::StrCat(thread_name_, "-", worker),
                                      [this, worker] { Help(worker); });
    if (!thread.ok()) {
      ++start_failures_;
      last_start_failure_ = thread.status();
      return false;
    }
    helper.thread = *std::move(thread);
    ++helpers_started_;
  }
  helper.job = &job;
  // Relaxed: no helper of this job can have counted itself out for Join yet, as Join takes mutex_
  // first, which we hold.
  running_.fetch_add(1, std::memory_order_relaxed);
  helper.parker.Unpark();
  return true;
}

void WorkerPool::AwaitHelpers() {
  // Helpers mostly end together, so spin a little before going to sleep.
  constexpr int kSpins = 12;
  platform::SpinWait wait;
  // Acquire: pairs with the release of every helper's decrement; what they did happens before
  // Join returns, and their Helper::job may be written again.
  for (int i = 0; running_.load(std::memory_order_acquire) != 0; ++i) {
    if (i < kSpins) {
      wait.Once();
    } else {
      // May take a token left by an earlier job's last helper, hence the loop.
      joiner_.Park();
    }
  }
}

void WorkerPool::AtFork(platform::ForkStep step) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  platform::LockAcrossFork(mutex_, step);
  if (step != platform::ForkStep::kInChild) return;
  for (Helper& helper : helpers_) {
    helper.parker.RenewInChild();
    if (helper.thread != nullptr) helper.thread->AbandonInChild();
    helper.thread = nullptr;
  }
  helpers_started_ = 0;
  // The last helper of a job may have counted itself out and not yet woken anybody.
  joiner_.RenewInChild();
}

WorkerPool::Job::Job(WorkerPool& pool, int helpers, absl::FunctionRef<void(int worker)> work)
    : pool_(pool), helpers_(helpers), work_(work) {
  TakeHold();
}

void WorkerPool::Job::TakeHold() {
  absl::MutexLock lock(&pool_.mutex_);
  if (pool_.holder_ == nullptr) pool_.holder_ = this;
}

int WorkerPool::Job::RecruitSlow() {
  absl::MutexLock lock(&pool_.mutex_);
  // Relaxed, all of them, under mutex_: see asked_ and recruited_.
  asked_.store(true, std::memory_order_relaxed);
  int recruited = recruited_.load(std::memory_order_relaxed);
  if (recruited >= 0) return recruited;
  recruited = 0;
  if (pool_.holder_ == this) {
    const int most = std::min(helpers_, static_cast<int>(pool_.helpers_.size()));
    while (recruited < most && pool_.Employ(recruited + 1, *this)) ++recruited;
  }
  recruited_.store(recruited, std::memory_order_relaxed);  // as above
  return recruited;
}

void WorkerPool::Job::Join() {
  {
    absl::MutexLock lock(&pool_.mutex_);
    // No recruiting from here on.
    if (recruited_.load(std::memory_order_relaxed) < 0) {
      recruited_.store(0, std::memory_order_relaxed);
    }
    if (pool_.holder_ != this) return;
  }
  pool_.AwaitHelpers();
  absl::MutexLock lock(&pool_.mutex_);
  pool_.holder_ = nullptr;
}

}  // namespace ebb::background
