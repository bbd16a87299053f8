#include "heap/safepoints.h"

#include <algorithm>

#include "absl/log/check.h"
#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "heap/mutator.h"
#include "platform/clock.h"

namespace ebb {

Safepoints::~Safepoints() {
  absl::MutexLock lock(&mu_);
  CHECK(mutators_.empty()) << "inv.heap-outlives-mutators: " << mutators_.size() << " attached";
}

void Safepoints::AwaitNoPause() {
  mu_.Await(absl::Condition(
      +[](const Safepoints* self) {
        // Relaxed: written under mu_, which is held.
        return !self->requested_.load(std::memory_order_relaxed);
      },
      this));
}

void Safepoints::Resume(Mutator& mutator) {
  mutator.state_ = Mutator::State::kRunning;
  ++running_;
}

void Safepoints::StopRunning(Mutator& mutator) {
  mutator.state_ = Mutator::State::kStopped;
  --running_;
  time_to_safepoint_.Record(platform::MonotonicNanos() - request_time_);
}

void Safepoints::Attach(Mutator& mutator) {
  absl::MutexLock lock(&mu_);
  AwaitNoPause();
  mutators_.push_back(&mutator);
  Resume(mutator);
}

void Safepoints::Detach(Mutator& mutator) {
  absl::MutexLock lock(&mu_);
  // A running mutator holds up a pause that is wanted meanwhile until it has gone.
  DCHECK(mutator.state_ == Mutator::State::kRunning);
  mutators_.erase(std::find(mutators_.begin(), mutators_.end(), &mutator));
  --running_;
}

void Safepoints::Block(Mutator& mutator) {
  absl::MutexLock lock(&mu_);
  DCHECK(mutator.state_ == Mutator::State::kRunning);
  // Relaxed: under mu_.
  if (requested_.load(std::memory_order_relaxed)) {
    time_to_safepoint_.Record(platform::MonotonicNanos() - request_time_);
  }
  mutator.state_ = Mutator::State::kBlocked;
  --running_;
}

bool Safepoints::TryUnblock(Mutator& mutator) {
  absl::MutexLock lock(&mu_);
  // Relaxed: under mu_.
  if (requested_.load(std::memory_order_relaxed)) return false;
  Resume(mutator);
  return true;
}

void Safepoints::AwaitEndOfPause() {
  absl::MutexLock lock(&mu_);
  AwaitNoPause();
}

std::string Safepoints::LateThreads() const {
  std::string names;
  for (const Mutator* mutator : mutators_) {
    if (mutator->state_ != Mutator::State::kRunning) continue;
    absl::StrAppend(&names, names.empty() ? "" : ", ", mutator->thread_name());
  }
  return names;
}

void Safepoints::AwaitAllStopped() {
  const auto none_runs = absl::Condition(
      +[](const Safepoints* self) ABSL_NO_THREAD_SAFETY_ANALYSIS { return self->running_ == 0; },
      this);
  while (!mu_.AwaitWithTimeout(none_runs, warn_after_)) {
    const std::string late = LateThreads();
    const int64_t waited = platform::MonotonicNanos() - request_time_;
    // Without the lock: a log sink may ask the heap something. The request stands meanwhile.
    mu_.Unlock();
    LOG(WARNING) << "waiting to stop " << late << " for " << absl::Nanoseconds(waited)
                 << ": a thread that does not allocate calls Mutator::Safepoint() in its loops, and "
                    "one that waits does so in an ebb::Blocking scope";
    mu_.Lock();
  }
}

void Safepoints::BeginPause(Mutator* self) {
  absl::MutexLock lock(&mu_);
  // Relaxed: under mu_.
  while (requested_.load(std::memory_order_relaxed)) {
    if (self != nullptr) StopRunning(*self);
    AwaitNoPause();
    if (self != nullptr) Resume(*self);
  }
  request_time_ = platform::MonotonicNanos();
  // Relaxed: published by the release of ForceSlow to who does not take mu_.
  requested_.store(true, std::memory_order_relaxed);
  for (Mutator* mutator : mutators_) {
    if (mutator != self) mutator->allocator_.ForceSlow();
  }
  if (self != nullptr) StopRunning(*self);
  AwaitAllStopped();
}

void Safepoints::EndPause(Mutator* self) {
  absl::MutexLock lock(&mu_);
  // Relaxed: who waits for it does so under mu_, which publishes all that the pause did.
  requested_.store(false, std::memory_order_relaxed);
  if (self != nullptr) Resume(*self);
}

Safepoints::Pause::Pause(Safepoints& safepoints, Mutator* self)
    : safepoints_(safepoints), self_(self), parked_others_(Mutator::ParkThread(self)) {
  safepoints_.BeginPause(self_);
  absl::MutexLock lock(&safepoints_.mu_);
  requested_at_ = safepoints_.request_time_;
}

Safepoints::Pause::~Pause() {
  safepoints_.EndPause(self_);
  Mutator::UnparkThread();
}

Histogram Safepoints::time_to_safepoint() const {
  absl::MutexLock lock(&mu_);
  return time_to_safepoint_;
}

int Safepoints::mutator_count() const {
  absl::MutexLock lock(&mu_);
  return static_cast<int>(mutators_.size());
}

}  // namespace ebb
