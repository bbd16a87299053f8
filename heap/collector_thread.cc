#include "heap/collector_thread.h"

#include <utility>

#include "absl/memory/memory.h"

namespace ebb::internal {

absl::StatusOr<std::unique_ptr<CollectorThread>> CollectorThread::Create(
    platform::System& system, int niceness, absl::AnyInvocable<void()> run_cycle,
    absl::AnyInvocable<void()> cycle_ended) {
  auto collector =
      absl::WrapUnique(new CollectorThread(std::move(run_cycle), std::move(cycle_ended)));
  auto thread = system.StartThread("ebb-collector", [raw = collector.get(), niceness] {
    platform::LowerPriority(niceness);
    raw->Loop();
  });
  if (!thread.ok()) return thread.status();
  collector->thread_ = *std::move(thread);
  return collector;
}

CollectorThread::~CollectorThread() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  if (thread_ != nullptr) thread_->Join();
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
