#include "heap/job_thread.h"

#include <utility>

#include "absl/memory/memory.h"

namespace ebb::internal {

absl::StatusOr<std::unique_ptr<JobThread>> JobThread::Create(platform::System& system,
                                                             absl::string_view name, int niceness,
                                                             absl::AnyInvocable<void()> job,
                                                             absl::AnyInvocable<void()> job_ended) {
  auto thread =
      absl::WrapUnique(new JobThread(system, name, niceness, std::move(job), std::move(job_ended)));
  absl::MutexLock lock(&thread->mu_);
  if (absl::Status status = thread->StartThread(); !status.ok()) return status;
  return thread;
}

absl::Status JobThread::StartThread() {
  auto thread = system_.StartThread(name_, [this] {
    platform::LowerPriority(niceness_);
    Loop();
  });
  if (!thread.ok()) return thread.status();
  thread_ = *std::move(thread);
  return absl::OkStatus();
}

JobThread::~JobThread() {
  std::unique_ptr<platform::Thread> thread;
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
    thread = std::move(thread_);
  }
  if (thread != nullptr) thread->Join();
}

void JobThread::Loop() {
  absl::MutexLock lock(&mu_);
  const auto has_to_do = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return stopping_ || begun_ < wanted_;
  };
  for (;;) {
    mu_.Await(absl::Condition(&has_to_do));
    if (stopping_) return;
    ++begun_;
    mu_.Unlock();
    job_();
    mu_.Lock();
    ended_ = begun_;
    mu_.Unlock();
    job_ended_();
    mu_.Lock();
  }
}

void JobThread::Request() {
  absl::MutexLock lock(&mu_);
  if (ended_ == wanted_) wanted_ = begun_ + 1;
  // In a forked child. Without a thread the next caller of EnsureThread sees to it.
  if (thread_ == nullptr) StartThread().IgnoreError();
}

absl::Status JobThread::EnsureThread() {
  absl::MutexLock lock(&mu_);
  return thread_ != nullptr ? absl::OkStatus() : StartThread();
}

void JobThread::AtFork(platform::ForkStep step) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  platform::LockAcrossFork(mu_, step);
  if (step != platform::ForkStep::kInChild) return;
  // Who wanted it is not there, and nor is the thread that was about to begin.
  wanted_ = ended_ = begun_;
  if (thread_ != nullptr) thread_->AbandonInChild();
  thread_ = nullptr;
}

void JobThread::AwaitEnded(int64_t job) {
  const auto ended = [this, job]()
                         ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return ended_ >= job || stopping_; };
  mu_.Await(absl::Condition(&ended));
}

void JobThread::RunOne() {
  absl::MutexLock lock(&mu_);
  wanted_ = begun_ + 1;
  AwaitEnded(wanted_);
}

}  // namespace ebb::internal
