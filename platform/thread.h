// Thread: a thread of the operating system whose failure to start is a Status, not an exception.
// Started through System::StartThread, so that a test can make it fail.
// Design: docs/design/platform.md#threads

#ifndef EBB_PLATFORM_THREAD_H_
#define EBB_PLATFORM_THREAD_H_

#include <pthread.h>

#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "platform/fork.h"

namespace ebb::platform {

// Thread-compatible: one owner joins and destroys it.
class Thread {
 public:
  // Runs `body` on a new thread called `name` (the kernel keeps 15 characters). The new thread
  // takes no asynchronous signals: those are for the program's own threads. Returns when it is
  // about to run. ResourceExhausted when the system allows no further thread.
  static absl::StatusOr<std::unique_ptr<Thread>> Start(absl::string_view name,
                                                       absl::AnyInvocable<void() &&> body);

  ~Thread() { Join(); }
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

  // Waits until `body` has returned; at once if it was joined before. Not from the thread itself.
  void Join();

  // In a forked child, where the thread is not: there is nothing to join.
  void AbandonInChild() { joined_ = true; }
  // Around a fork, after all locks that are held where Start is called: no thread of ours begins or
  // ends meanwhile, which Abseil takes locks for.
  static void AllAtFork(ForkStep step);

 private:
  Thread() = default;

  pthread_t handle_{};
  bool joined_ = false;
};

// Makes the calling thread nicer than it is, by `niceness` from 0 (as it was) to 19: it gives way
// to others when processors are short. Threads that it starts from then on inherit that. Needs no
// privileges; not undone.
void LowerPriority(int niceness);

// Has Abseil make its record of the calling thread, which it does at a thread's first wait, under
// locks that a fork must not find held (docs/design/fork.md#locks). Any thread; again does nothing.
void MakeAbseilsRecord();

}  // namespace ebb::platform

#endif  // EBB_PLATFORM_THREAD_H_
