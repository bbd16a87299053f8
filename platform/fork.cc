#include "platform/fork.h"

#include <cstdint>
#include <cstring>

namespace ebb::platform {
namespace {

// inv.fork-no-dead-waiters: an absl::Mutex is one word, which leads to the queue of those that
// wait, and says whether one of them has been woken and will see to the others. In the child none
// of them is there: to unlock such a mutex would wake a dead thread, which then would never wake
// another; or would wait for one that was just queueing up. So the word becomes that of a mutex
// which its owner holds and nobody waits for, and is unlocked in the ordinary way, for the sake of
// what a debug build of Abseil and ThreadSanitizer remember about it.
void Renew(absl::Mutex& mutex) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  static_assert(sizeof(absl::Mutex) == sizeof(intptr_t));
  absl::Mutex nobody_waits;
  nobody_waits.Lock();
  std::memcpy(static_cast<void*>(&mutex), static_cast<const void*>(&nobody_waits),
              sizeof(absl::Mutex));
  mutex.Unlock();
  nobody_waits.Unlock();
}

}  // namespace

void LockAcrossFork(absl::Mutex& mutex, ForkStep step) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  switch (step) {
    case ForkStep::kBefore:
      mutex.Lock();
      return;
    case ForkStep::kInParent:
      mutex.Unlock();
      return;
    case ForkStep::kInChild:
      Renew(mutex);
      return;
  }
}

}  // namespace ebb::platform
