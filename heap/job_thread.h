// JobThread: a thread that does one job, again and again, on request: a heap's concurrent cycles,
// a domain's detections. Design: docs/design/concurrent.md

#ifndef EBB_HEAP_JOB_THREAD_H_
#define EBB_HEAP_JOB_THREAD_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "platform/fork.h"
#include "platform/system.h"
#include "platform/thread.h"

namespace ebb::internal {

// Thread-safe. Sleeps while nobody wants the job done.
class JobThread {
 public:
  // `job` is called on the thread, and `job_ended` after it, when Request has an effect again.
  // `name` and `niceness`: as of platform::System::StartThread and LowerPriority. The system's
  // error if the thread cannot be started. `system` outlives the object, as does `name`.
  static absl::StatusOr<std::unique_ptr<JobThread>> Create(
      platform::System& system, absl::string_view name, int niceness,
      absl::AnyInvocable<void()> job, absl::AnyInvocable<void()> job_ended = [] {});
  // Waits for the end of the job that is under way; one that is only wanted is not begun.
  ~JobThread();
  JobThread(const JobThread&) = delete;
  JobThread& operator=(const JobThread&) = delete;

  // The job will begin, unless it is under way or wanted.
  void Request() ABSL_LOCKS_EXCLUDED(mu_);
  // Its thread is there, but for a forked child to which the system refuses one: its error. Then
  // RunOne would wait for ever.
  absl::Status EnsureThread() ABSL_LOCKS_EXCLUDED(mu_);
  // Requests the job and waits for the end of one that began after this call: several callers at
  // once share it. The caller runs in no heap meanwhile.
  void RunOne() ABSL_LOCKS_EXCLUDED(mu_);

  // Around a fork. In the child nothing is wanted or under way, and the thread is started when it
  // is wanted.
  void AtFork(platform::ForkStep step);

 private:
  JobThread(platform::System& system, absl::string_view name, int niceness,
            absl::AnyInvocable<void()> job, absl::AnyInvocable<void()> job_ended)
      : system_(system),
        name_(name),
        niceness_(niceness),
        job_(std::move(job)),
        job_ended_(std::move(job_ended)) {}

  absl::Status StartThread() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Loop();
  void AwaitEnded(int64_t job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  platform::System& system_;
  const absl::string_view name_;
  const int niceness_;
  absl::AnyInvocable<void()> job_;        // the thread's
  absl::AnyInvocable<void()> job_ended_;  // likewise
  absl::Mutex mu_;
  int64_t wanted_ ABSL_GUARDED_BY(mu_) = 0;  // the number of the last job that is to be done
  int64_t begun_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t ended_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::unique_ptr<platform::Thread> thread_ ABSL_GUARDED_BY(mu_);  // null: see AtFork
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_JOB_THREAD_H_
