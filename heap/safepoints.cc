#include "heap/safepoints.h"

#include <algorithm>
#include <utility>

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
  mutator.barrier_armed_ = armed_;
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
  // Relaxed: under mu_, here and in what follows.
  mutator.acknowledged_ = round_.load(std::memory_order_relaxed);
  Resume(mutator);
}

void Safepoints::Detach(Mutator& mutator) {
  absl::MutexLock lock(&mu_);
  // A running mutator holds up a pause that is wanted meanwhile until it has gone.
  DCHECK(mutator.state_ == Mutator::State::kRunning);
  AcknowledgeLocked(mutator);
  // Also if no handshake is due: what it has found since the last one would be forgotten with it.
  found_grey_ |= mutator.AcknowledgeHandshake();
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
  AcknowledgeLocked(mutator);
  mutator.state_ = Mutator::State::kBlocked;
  --running_;
}

bool Safepoints::MayRun(const Mutator& mutator) const {
  // Relaxed: under mu_.
  return !requested_.load(std::memory_order_relaxed) && !mutator.roots_being_forwarded_;
}

bool Safepoints::TryUnblock(Mutator& mutator) {
  absl::MutexLock lock(&mu_);
  if (!MayRun(mutator)) return false;
  Resume(mutator);
  return true;
}

void Safepoints::AwaitMayRun(const Mutator& mutator) {
  absl::MutexLock lock(&mu_);
  const auto may_run = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return MayRun(mutator); };
  mu_.Await(absl::Condition(&may_run));
}

std::string Safepoints::LateThreads() const {
  std::string names;
  for (const Mutator* mutator : mutators_) {
    if (mutator->state_ != Mutator::State::kRunning) continue;
    // Of a handshake, only those that have not acknowledged it. Relaxed: under mu_.
    if (!requested_.load(std::memory_order_relaxed) && !handshake_due(*mutator)) continue;
    absl::StrAppend(&names, names.empty() ? "" : ", ", mutator->thread_name());
  }
  return names;
}

void Safepoints::AwaitMutators(const absl::Condition& condition) {
  while (!mu_.AwaitWithTimeout(condition, warn_after_)) {
    const std::string late = LateThreads();
    const int64_t waited = platform::MonotonicNanos() - request_time_;
    // Without the lock: a log sink may ask the heap something. The request stands meanwhile.
    mu_.Unlock();
    LOG(WARNING)
        << "waiting to stop " << late << " for " << absl::Nanoseconds(waited)
        << ": a thread that does not allocate calls Mutator::Safepoint() in its loops, and "
           "one that waits does so in an ebb::Blocking scope; its Mutator goes before the thread "
           "ends";
    mu_.Lock();
  }
}

bool Safepoints::TryBeginPause(Mutator* self) {
  absl::MutexLock lock(&mu_);
  // Relaxed: under mu_.
  while (requested_.load(std::memory_order_relaxed)) {
    if (self != nullptr) return false;
    AwaitNoPause();
  }
  request_time_ = platform::MonotonicNanos();
  // Relaxed: published by the release of ForceSlow to who does not take mu_.
  requested_.store(true, std::memory_order_relaxed);
  for (Mutator* mutator : mutators_) {
    if (mutator != self) mutator->allocator_.ForceSlow();
  }
  if (self != nullptr) StopRunning(*self);
  AwaitMutators(absl::Condition(
      +[](const Safepoints* self) ABSL_NO_THREAD_SAFETY_ANALYSIS { return self->running_ == 0; },
      this));
  return true;
}

void Safepoints::EndPause(Mutator* self) {
  absl::MutexLock lock(&mu_);
  // Relaxed: who waits for it does so under mu_, which publishes all that the pause did.
  requested_.store(false, std::memory_order_relaxed);
  if (self != nullptr) Resume(*self);
}

void Safepoints::ForceSlow() {
  absl::MutexLock lock(&mu_);
  for (Mutator* mutator : mutators_) mutator->allocator_.ForceSlow();
}

// Handshakes.

bool Safepoints::handshake_due(const Mutator& mutator) const {
  // Relaxed: BumpAllocator::RestoreLimit has acquired what ForceSlow published.
  return mutator.acknowledged_ != round_.load(std::memory_order_relaxed);
}

// What is grey was handed over before, by the mutator's thread: a blocked mutator has nothing.
void Safepoints::AcknowledgeLocked(Mutator& mutator) {
  // Relaxed: under mu_.
  const uint64_t round = round_.load(std::memory_order_relaxed);
  mutator.barrier_armed_ = armed_;
  if (mutator.acknowledged_ == round) return;
  mutator.acknowledged_ = round;
  found_grey_ |= mutator.AcknowledgeHandshake();
  --unacknowledged_;
}

void Safepoints::Acknowledge(Mutator& mutator) {
  absl::MutexLock lock(&mu_);
  AcknowledgeLocked(mutator);
}

bool Safepoints::Handshake() {
  absl::MutexLock lock(&mu_);
  request_time_ = platform::MonotonicNanos();
  unacknowledged_ = static_cast<int>(mutators_.size());
  // Relaxed: published by the release of ForceSlow to who does not take mu_.
  round_.fetch_add(1, std::memory_order_relaxed);
  for (Mutator* mutator : mutators_) {
    if (mutator->state_ == Mutator::State::kRunning) {
      mutator->allocator_.ForceSlow();
    } else {
      AcknowledgeLocked(*mutator);
    }
  }
  AwaitMutators(absl::Condition(
      +[](const Safepoints* self)
           ABSL_NO_THREAD_SAFETY_ANALYSIS { return self->unacknowledged_ == 0; },
      this));
  // Cleared here, not where the next handshake begins: a mutator may detach in between.
  return !std::exchange(found_grey_, false);
}

void Safepoints::DisarmBarriers() {
  {
    absl::MutexLock lock(&mu_);
    armed_ = false;
  }
  Handshake();
}

// Each mutator learns of it before it runs on: see Resume.
void Safepoints::DisarmBarriers(const Pause&) {
  absl::MutexLock lock(&mu_);
  armed_ = false;
}

void Safepoints::ArmBarriers(const Pause&) {
  absl::MutexLock lock(&mu_);
  armed_ = true;
  for (Mutator* mutator : mutators_) mutator->roots_owed_ = true;
}

void Safepoints::ForwardRootsOfBlocked(
    absl::FunctionRef<void(std::atomic<uintptr_t>& slot)> forward) {
  // In this order: a running mutator's roots_owed_ is its own.
  const auto owes = [](const Mutator* mutator) {
    return mutator->state_ == Mutator::State::kBlocked && mutator->roots_owed_;
  };
  absl::MutexLock lock(&mu_);
  for (;;) {
    const auto found = std::find_if(mutators_.begin(), mutators_.end(), owes);
    if (found == mutators_.end()) return;
    Mutator& mutator = **found;
    mutator.roots_being_forwarded_ = true;
    mu_.Unlock();
    mutator.ForEachLocal(forward);
    mu_.Lock();
    mutator.roots_being_forwarded_ = false;
    mutator.roots_owed_ = false;
  }
}

Safepoints::Pause::Pause(Safepoints& safepoints, Mutator* self)
    : safepoints_(safepoints), self_(self), parked_others_(Mutator::ParkThread(self)) {
  while (!safepoints_.TryBeginPause(self_)) {
    // The thread stops for the other one like any: a cycle may flip in it.
    Mutator::ParkThread(/*except=*/nullptr);
    Mutator::UnparkThread();
    Mutator::ParkThread(self_);
  }
  {
    absl::MutexLock lock(&safepoints_.mu_);
    requested_at_ = safepoints_.request_time_;
  }
  absl::MutexLock lock(&safepoints_.hooks_mu_);
  for (internal::PauseHook* hook : safepoints_.hooks_) hook->AtPause();
}

Safepoints::Pause::~Pause() {
  safepoints_.EndPause(self_);
  Mutator::UnparkThread();
}

void Safepoints::AddHook(internal::PauseHook& hook) {
  absl::MutexLock lock(&hooks_mu_);
  hooks_.push_back(&hook);
}

void Safepoints::RemoveHook(internal::PauseHook& hook) {
  absl::MutexLock lock(&hooks_mu_);
  std::erase(hooks_, &hook);
}

// Around a fork.

void Safepoints::AtFork(platform::ForkStep step) { platform::LockAcrossFork(mu_, step); }

void Safepoints::RemoveOthersInChild(absl::FunctionRef<void(Mutator&)> gone) {
  std::vector<Mutator*> others;
  {
    absl::MutexLock lock(&mu_);
    const auto begin = std::partition(mutators_.begin(), mutators_.end(), [](Mutator* mutator) {
      return Mutator::IsThisThreads(*mutator);
    });
    others.assign(begin, mutators_.end());
    mutators_.erase(begin, mutators_.end());
  }
  for (Mutator* mutator : others) gone(*mutator);
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
