#include "platform/park.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

#include "absl/log/check.h"
#include "absl/time/time.h"
#include "platform/clock.h"

namespace ebb::platform {
namespace {

static_assert(sizeof(std::atomic<int32_t>) == sizeof(int32_t), "the kernel wants the bare word");
static_assert(std::atomic<int32_t>::is_always_lock_free);

// Sleeps if `word` is `expected`, for `timeout` at most (null: without end). May return at any
// time, and for any reason: its callers look at the word, never at an errno.
void FutexWait(const std::atomic<int32_t>& word, int32_t expected, const timespec* timeout) {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, timeout, nullptr, 0);
}

void FutexWakeOne(const std::atomic<int32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

}  // namespace

// True: took a token that was there. False: the word says kParked now.
bool Parker::TakeTokenOrAnnounce() {
  // Acquire: pairs with the release in Unpark whose token this takes; what the unparking thread
  // wrote before is seen after. Announcing publishes nothing.
  const int32_t before = state_.fetch_sub(1, std::memory_order_acquire);
  DCHECK_NE(before, kParked) << "two threads in Park of one Parker";
  return before == kToken;
}

bool Parker::TakeTokenAfterSleep() {
  int32_t expected = kToken;
  // Acquire: pairs with the release in Unpark, as above. Relaxed on failure: nothing was handed
  // over, and the loop comes back.
  return state_.compare_exchange_strong(expected, kEmpty, std::memory_order_acquire,
                                        std::memory_order_relaxed);
}

void Parker::Park() {
  if (TakeTokenOrAnnounce()) return;
  do {
    FutexWait(state_, kParked, nullptr);
  } while (!TakeTokenAfterSleep());
}

bool Parker::ParkFor(absl::Duration timeout) {
  if (timeout == absl::InfiniteDuration()) {
    Park();
    return true;
  }
  if (timeout <= absl::ZeroDuration()) return TakeTokenAfterSleep();
  if (TakeTokenOrAnnounce()) return true;
  const absl::Duration deadline = Clock::Monotonic().Now() + timeout;
  for (absl::Duration left = timeout; left > absl::ZeroDuration();
       left = deadline - Clock::Monotonic().Now()) {
    const timespec relative = absl::ToTimespec(left);
    FutexWait(state_, kParked, &relative);
    if (TakeTokenAfterSleep()) return true;
  }
  // Withdraws the announcement; a token that came at the last moment is taken with it.
  // Acquire: pairs with the release in Unpark, as above.
  return state_.exchange(kEmpty, std::memory_order_acquire) == kToken;
}

void Parker::Unpark() {
  // A swap even if a token is there already: the parking thread must see what this caller wrote,
  // too. Release: publishes that to the acquires above. What is read back is only compared.
  if (state_.exchange(kToken, std::memory_order_release) == kParked) FutexWakeOne(state_);
}

}  // namespace ebb::platform
