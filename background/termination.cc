#include "background/termination.h"

#include "absl/log/check.h"
#include "platform/spin_wait.h"

namespace ebb::background {

void Termination::Reset(int initially_active) {
  CHECK_GE(initially_active, 0);
  // Relaxed: the workers of the new round are ordered after this by whatever starts them.
  state_.store(static_cast<uint64_t>(initially_active) * kOneActive, std::memory_order_relaxed);
}

bool Termination::Enter() { return ChangeWhileActive(kOneActive); }

bool Termination::AwaitWork(absl::FunctionRef<bool()> has_work) {
  // Release: publishes what this worker did, to those that see active == 0. Acquire: if this is the
  // worker that finishes, it must see what the others did.
  const uint64_t before = state_.fetch_add(kOneIdle - kOneActive, std::memory_order_acq_rel);
  DCHECK_GT(active(before), 0u) << "AwaitWork by a worker that is not active";
  if (active(before) == 1) return false;

  platform::SpinWait wait;
  for (;;) {
    // Acquire: pairs with the release of every worker that went idle.
    if (active(state_.load(std::memory_order_acquire)) == 0) return false;
    if (has_work()) return ChangeWhileActive(kOneActive - kOneIdle);
    wait.Once();
  }
}

bool Termination::ChangeWhileActive(uint64_t change) {
  // Acquire, here and on failure: for "finished", pairs with the release of every worker that went
  // idle.
  uint64_t state = state_.load(std::memory_order_acquire);
  do {
    if (active(state) == 0) return false;
    // Success needs no order; it is acquire because gcc 12 refuses a failure order above it.
  } while (!state_.compare_exchange_weak(state, state + change, std::memory_order_acquire,
                                         std::memory_order_acquire));
  return true;
}

}  // namespace ebb::background
