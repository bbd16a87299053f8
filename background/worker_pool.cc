#include "background/worker_pool.h"

#include <cstddef>

#include "absl/log/check.h"
#include "absl/strings/str_cat.h"
#include "platform/spin_wait.h"

namespace ebb::background {

WorkerPool::WorkerPool(platform::System& system, int max_helpers, absl::string_view thread_name)
    : system_(system), thread_name_(thread_name) {
  RaiseMaximum(max_helpers);
}

WorkerPool::~WorkerPool() {
  // Relaxed: see jobs_.
  CHECK_EQ(jobs_.load(std::memory_order_relaxed), 0)
      << "a WorkerPool is destroyed while a Job uses it";
  for (Helper& helper : helpers_) {
    if (helper.thread == nullptr) continue;
    helper.job = nullptr;
    helper.parker.Unpark();
  }
  for (Helper& helper : helpers_) helper.thread.reset();
}

void WorkerPool::RaiseMaximum(int max_helpers) {
  absl::MutexLock lock(&mutex_);
  const int before = static_cast<int>(helpers_.size());
  for (int i = before; i < max_helpers; ++i) helpers_.emplace_back(/*number=*/i + 1);
  // The least number comes first.
  for (int i = max_helpers; i > before; --i) Push(vacant_, helpers_[static_cast<size_t>(i - 1)]);
}

void WorkerPool::Push(Helper*& first, Helper& helper) {
  helper.next = first;
  first = &helper;
}

WorkerPool::Helper* WorkerPool::Pop(Helper*& first) {
  Helper* const helper = first;
  if (helper != nullptr) first = helper->next;
  return helper;
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

void WorkerPool::Help(Helper& self) {
  for (;;) {
    self.parker.Park();
    Job* const job = self.job;
    if (job == nullptr) return;
    job->work_(self.worker);
    job->CountOut();
  }
}

WorkerPool::Helper* WorkerPool::TakeHelper() {
  Helper* helper = nullptr;
  {
    absl::MutexLock lock(&mutex_);
    if (idle_ != nullptr) return Pop(idle_);
    helper = Pop(vacant_);
    if (helper == nullptr) return nullptr;
  }
  // In no list, it is nobody else's. Without the lock, so that other jobs do not wait meanwhile.
  auto thread = system_.StartThread(absl::StrCat(thread_name_, "-", helper->number),
                                    [helper] { Help(*helper); });
  absl::MutexLock lock(&mutex_);
  if (!thread.ok()) {
    ++start_failures_;
    last_start_failure_ = thread.status();
    Push(vacant_, *helper);
    return nullptr;
  }
  helper->thread = *std::move(thread);
  ++helpers_started_;
  return helper;
}

void WorkerPool::GiveBack(Helper* crew) {
  absl::MutexLock lock(&mutex_);
  while (Helper* const helper = Pop(crew)) Push(idle_, *helper);
}

void WorkerPool::AtFork(platform::ForkStep step) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  platform::LockAcrossFork(mutex_, step);
  if (step != platform::ForkStep::kInChild) return;
  // Also what a job had, since its owner is not there either.
  vacant_ = idle_ = nullptr;
  for (auto helper = helpers_.rbegin(); helper != helpers_.rend(); ++helper) {
    helper->parker.RenewInChild();
    if (helper->thread != nullptr) helper->thread->AbandonInChild();
    helper->thread = nullptr;
    Push(vacant_, *helper);
  }
  helpers_started_ = 0;
  jobs_.store(0, std::memory_order_relaxed);  // see there
}

WorkerPool::Job::Job(WorkerPool& pool, int helpers, absl::FunctionRef<void(int worker)> work)
    : pool_(pool), wanted_(helpers), work_(work) {
  pool_.CountJob(1);
}

int WorkerPool::Job::RecruitSlow() {
  absl::MutexLock lock(&mu_);
  // Relaxed, all of them, under mu_: see asked_ and recruited_.
  asked_.store(true, std::memory_order_relaxed);
  int recruited = recruited_.load(std::memory_order_relaxed);
  if (recruited >= 0) return recruited;
  for (recruited = 0; recruited < wanted_; ++recruited) {
    Helper* const helper = pool_.TakeHelper();
    if (helper == nullptr) break;
    Push(crew_, *helper);
    helper->job = this;
    helper->worker = recruited + 1;
    // Relaxed: the helper counts itself out after taking the token, and Join takes mu_ first.
    running_.fetch_add(1, std::memory_order_relaxed);
    helper->parker.Unpark();
  }
  recruited_.store(recruited, std::memory_order_relaxed);  // as above
  return recruited;
}

void WorkerPool::Job::CountOut() {
  // Release: publishes what this helper did, its reads of Helper::job and worker included, to the
  // acquires of Join's decrement and of the last helper's; the decrements between, being
  // read-modify-writes, carry it on. Acquire: the last helper passes it all on to Join with its
  // token. Unless it is the last one, the Job may be gone from here on.
  if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) joiner_.Unpark();
}

void WorkerPool::Job::AwaitHelpers() {
  // Helpers mostly end together, so spin a little before going to sleep.
  constexpr int kSpins = 12;
  platform::SpinWait wait;
  // Relaxed: a hint when to stop spinning.
  for (int i = 0; i < kSpins && running_.load(std::memory_order_relaxed) > 1; ++i) wait.Once();
  // Acquire: pairs with the release in CountOut of every helper; it publishes nothing itself.
  if (running_.fetch_sub(1, std::memory_order_acquire) == 1) return;
  // inv.job-untouched: the last helper is still to unpark us, or has just done so. Not a loop
  // around running_, which would return before that.
  joiner_.Park();
}

void WorkerPool::Job::Join() {
  if (joined_) return;
  joined_ = true;
  Helper* crew = nullptr;
  {
    absl::MutexLock lock(&mu_);
    // No recruiting from here on. Relaxed, under mu_: see recruited_.
    if (recruited_.load(std::memory_order_relaxed) < 0) {
      recruited_.store(0, std::memory_order_relaxed);
    }
    crew = crew_;
  }
  if (crew != nullptr) {
    AwaitHelpers();
    pool_.GiveBack(crew);
  }
  pool_.CountJob(-1);
}

}  // namespace ebb::background
