// Parker: lets one thread sleep until another one wakes it, with a token so that a wake-up that
// comes first is not lost.
// Design: docs/design/platform.md#waiting; the protocol is model-checked: platform/park.pml

#ifndef EBB_PLATFORM_PARK_H_
#define EBB_PLATFORM_PARK_H_

#include <atomic>
#include <cstdint>

#include "absl/time/time.h"

namespace ebb::platform {

// Holds at most one token. Unpark puts it there; Park waits for it and takes it. What a thread
// wrote before Unpark is seen by the thread whose Park takes the token. A token says "look again",
// not what happened: callers park in a loop around their condition.
//
// One thread at a time may be in Park or ParkFor; any number may Unpark. The Parker may be
// destroyed as soon as the Park that an Unpark caused has returned: after its swap Unpark passes
// the word's address to the kernel but reads nothing there, and a wake-up that hits a stranger's
// futex at that address is a spurious one, which every futex user must expect.
//
// Protocol. `state_` is kEmpty, kToken or kParked (by the parking thread only).
//   Park:    subtract 1: kToken becomes kEmpty, done; kEmpty becomes kParked. Then sleep as long
//            as the word is kParked (the kernel compares it under its lock), and swap kToken for
//            kEmpty.
//   Unpark:  swap in kToken; if that replaced kParked, wake.
// So inv.park-no-lost-token holds (docs/design/platform.md#waiting): a thread sleeps only while no
// token is there, or a wake-up is on its way.
class Parker {
 public:
  Parker() = default;
  Parker(const Parker&) = delete;
  Parker& operator=(const Parker&) = delete;

  // Returns once it has taken a token.
  void Park();

  // As Park, but waits no longer than `timeout` (measured by CLOCK_MONOTONIC). Says whether it took
  // a token. Zero or less polls; InfiniteDuration is Park.
  bool ParkFor(absl::Duration timeout);

  // Adds the token if there is none, and wakes the parked thread. No system call unless it sleeps.
  void Unpark();

  // In a forked child: neither a token nor a parked thread is there.
  void RenewInChild() {
    state_.store(kEmpty, std::memory_order_relaxed);  // relaxed: the only thread there is
  }

 private:
  static constexpr int32_t kParked = -1;
  static constexpr int32_t kEmpty = 0;
  static constexpr int32_t kToken = 1;

  bool TakeTokenOrAnnounce();
  bool TakeTokenAfterSleep();

  std::atomic<int32_t> state_{kEmpty};
};

}  // namespace ebb::platform

#endif  // EBB_PLATFORM_PARK_H_
