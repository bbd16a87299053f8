#include "platform/thread.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/log/check.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "platform/system_error.h"

namespace ebb::platform {
namespace {

constexpr size_t kMaxNameLength = 15;  // of the kernel; pthread_setname_np refuses longer ones

struct Task {
  std::string name;
  absl::AnyInvocable<void() &&> body;
};

void* RunTask(void* argument) {
  const std::unique_ptr<Task> task(static_cast<Task*>(argument));
  pthread_setname_np(pthread_self(), task->name.c_str());  // a nameless thread works as well
  std::move(task->body)();
  return nullptr;
}

// Blocks in the calling thread, while it lives, what a new thread must not take: signals sent to
// the process as a whole. The new thread inherits the mask. Left alone are signals that the
// thread's own instructions raise, and the profiler's.
class AsynchronousSignalsBlocked {
 public:
  AsynchronousSignalsBlocked() {
    sigset_t set;
    sigfillset(&set);
    for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF}) {
      sigdelset(&set, signal);
    }
    pthread_sigmask(SIG_BLOCK, &set, &before_);
  }
  ~AsynchronousSignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Thread>> Thread::Start(absl::string_view name,
                                                      absl::AnyInvocable<void() &&> body) {
  auto task = std::make_unique<Task>(
      Task{.name = std::string(name.substr(0, kMaxNameLength)), .body = std::move(body)});
  std::unique_ptr<Thread> thread(new Thread);
  AsynchronousSignalsBlocked blocked;
  const int error = pthread_create(&thread->handle_, nullptr, RunTask, task.get());
  if (error != 0) {
    thread->joined_ = true;  // there is nothing to join
    return SystemError(error,
                       absl::StrCat("start thread ", name,
                                    " (what may be exhausted, and raised: ulimit -u, the cgroup's "
                                    "pids.max, the sysctl kernel.threads-max, or memory)"));
  }
  task.release();  // RunTask owns it
  return thread;
}

void Thread::Join() {
  if (joined_) return;
  const int error = pthread_join(handle_, nullptr);
  CHECK_EQ(error, 0) << "a thread cannot join itself";
  joined_ = true;
}

void LowerPriority(int niceness) {
  if (niceness == 0) return;
  // On Linux, process 0 is the calling thread alone. Neither call can fail for a value that rises.
  const int before = getpriority(PRIO_PROCESS, 0);
  setpriority(PRIO_PROCESS, 0, before + niceness);
}

}  // namespace ebb::platform
