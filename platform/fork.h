// What a fork needs of those who want to work in the child: handlers around it, and locks that are
// sound on both sides. Design: docs/design/fork.md

#ifndef EBB_PLATFORM_FORK_H_
#define EBB_PLATFORM_FORK_H_

#include <pthread.h>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "platform/system_error.h"

namespace ebb::platform {

// All on the thread that forks, which is the only one in the child.
enum class ForkStep { kBefore, kInParent, kInChild };

// Has every fork() of this process from now on call `handler` for its steps. The handlers that were
// added last are called first before a fork, and last after it. ResourceExhausted if the system has
// no memory for it.
template <void (*handler)(ForkStep)>
absl::Status AddForkHandler() {
  const int error =
      pthread_atfork([] { handler(ForkStep::kBefore); }, [] { handler(ForkStep::kInParent); },
                     [] { handler(ForkStep::kInChild); });
  return error == 0 ? absl::OkStatus() : SystemError(error, "add a fork handler");
}

// Holds `mutex` from kBefore to the other step, so that what it guards is whole in the child. There
// it is then as if nobody had ever waited for it.
void LockAcrossFork(absl::Mutex& mutex, ForkStep step);

}  // namespace ebb::platform

#endif  // EBB_PLATFORM_FORK_H_
