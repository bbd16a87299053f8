#include "platform/spin_wait.h"

#include <sched.h>
#include <time.h>

namespace ebb::platform {

void SpinWait::OnceSlow() {
  if (yields_ < kYields) {
    ++yields_;
    sched_yield();
    return;
  }
  const timespec duration = {.tv_sec = 0, .tv_nsec = kSleepNanos};
  nanosleep(&duration, nullptr);  // cut short by a signal: the caller looks again, as it would
}

}  // namespace ebb::platform
