#include "platform/thread.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/base/const_init.h"
#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/log/check.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "platform/park.h"
#include "platform/system_error.h"

namespace ebb::platform {
namespace {

constexpr size_t kMaxNameLength = 15;  // of the kernel; pthread_setname_np refuses longer ones

struct Task {
  std::string name;
  absl::AnyInvocable<void() &&> body;
  Parker* ready;  // of the thread that starts this one
};

// inv.fork-no-dead-waiters, of Abseil's own locks: each thread has a record there, made by its
// first wait and given back at its end, under locks that know of no fork. So threads are started
// under this one, and it keeps count of those that end.
ABSL_CONST_INIT absl::Mutex transitions_mu(absl::kConstInit);
int ending ABSL_GUARDED_BY(transitions_mu) = 0;  // and not yet joined

void* RunTask(void* argument) {
  MakeAbseilsRecord();
  std::unique_ptr<Task> task(static_cast<Task*>(argument));
  pthread_setname_np(pthread_self(), task->name.c_str());  // a nameless thread works as well
  task->ready->Unpark();
  std::move(task->body)();
  task = nullptr;
  absl::MutexLock lock(&transitions_mu);
  ++ending;
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
  Parker ready;
  auto task = std::make_unique<Task>(Task{.name = std::string(name.substr(0, kMaxNameLength)),
                                          .body = std::move(body),
                                          .ready = &ready});
  absl::MutexLock lock(&transitions_mu);
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
  ready.Park();
  return thread;
}

void Thread::Join() {
  if (joined_) return;
  const int error = pthread_join(handle_, nullptr);
  CHECK_EQ(error, 0) << "a thread cannot join itself";
  joined_ = true;
  absl::MutexLock lock(&transitions_mu);
  --ending;
}

void Thread::AllAtFork(ForkStep step) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  LockAcrossFork(transitions_mu, step);
  if (step != ForkStep::kBefore) return;
  const auto none_ends = []() ABSL_NO_THREAD_SAFETY_ANALYSIS { return ending == 0; };
  transitions_mu.Await(absl::Condition(&none_ends));
}

void MakeAbseilsRecord() {
  absl::Mutex mu;
  bool never = false;
  absl::MutexLock lock(&mu);
  mu.AwaitWithTimeout(absl::Condition(&never), absl::ZeroDuration());
}

void LowerPriority(int niceness) {
  if (niceness == 0) return;
  // On Linux, process 0 is the calling thread alone. Neither call can fail for a value that rises.
  const int before = getpriority(PRIO_PROCESS, 0);
  setpriority(PRIO_PROCESS, 0, before + niceness);
}

}  // namespace ebb::platform
