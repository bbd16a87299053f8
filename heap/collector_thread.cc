#include "heap/collector_thread.h"

#include <utility>

#include "absl/memory/memory.h"

namespace ebb::internal {

absl::StatusOr<std::unique_ptr<CollectorThread>> CollectorThread::Create(
    platform::System& system, int niceness, absl::AnyInvocable<void()> run_cycle,
    absl::AnyInvocable<void()> cycle_ended) {
  auto collector = absl::WrapUnique(
      new CollectorThread(system, niceness, std::move(run_cycle), std::move(cycle_ended)));
  absl::MutexLock lock(&collector->mu_);
  if (absl::Status status = collector->StartThread(); !status.ok()) return status;
  return collector;
}

absl::Status CollectorThread::StartThread() {
  auto thread = system_.StartThread("ebb-collector", [this] {
    platform::LowerPriority(niceness_);
    Loop();
  });
  if (!thread.ok()) return thread.status();
  thread_ = *std::move(thread);
  return absl::OkStatus();
}

CollectorThread::~CollectorThread() {
  std::unique_ptr<platform::Thread> thread;
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
    thread = std::move(thread_);
  }
  if (thread != nullptr) thread->Join();
}

void CollectorThread::Loop() {
  absl::MutexLock lock(&mu_);
  const auto has_to_do = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return stopping_ || begun_ < wanted_;
  };
  for (;;) {
    mu_.Await(absl::Condition(&has_to_do));
    if (stopping_) return;
    ++begun_;
    mu_.Unlock();
    run_cycle_();
    mu_.Lock();
    ended_ = begun_;
    mu_.Unlock();
    cycle_ended_();
    mu_.Lock();
  }
}

void CollectorThread::Request() {
  absl::MutexLock lock(&mu_);
  if (ended_ == wanted_) wanted_ = begun_ + 1;
  // In a forked child. Without a thread the next caller of EnsureThread sees to it.
  if (thread_ == nullptr) StartThread().IgnoreError();
}

absl::Status CollectorThread::EnsureThread() {
  absl::MutexLock lock(&mu_);
  return thread_ != nullptr ? absl::OkStatus() : StartThread();
}

void CollectorThread::AtFork(platform::ForkStep step) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  platform::LockAcrossFork(mu_, step);
  if (step != platform::ForkStep::kInChild) return;
  // Who wanted a cycle is not there, and the thread may have been about to begin one.
  wanted_ = ended_ = begun_;
  if (thread_ != nullptr) thread_->AbandonInChild();
  thread_ = nullptr;
}

void CollectorThread::AwaitEnded(int64_t cycle) {
  const auto ended = [this, cycle]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return ended_ >= cycle || stopping_;
  };
  mu_.Await(absl::Condition(&ended));
}

void CollectorThread::RunOne() {
  absl::MutexLock lock(&mu_);
  wanted_ = begun_ + 1;
  AwaitEnded(wanted_);
}

}  // namespace ebb::internal
