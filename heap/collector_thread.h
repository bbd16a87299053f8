// CollectorThread: the thread of a heap that runs its concurrent cycles, one at a time, on request.
// Design: docs/design/concurrent.md

#ifndef EBB_HEAP_COLLECTOR_THREAD_H_
#define EBB_HEAP_COLLECTOR_THREAD_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "platform/fork.h"
#include "platform/system.h"
#include "platform/thread.h"

namespace ebb::internal {

// Thread-safe. Sleeps while nobody wants a cycle.
class CollectorThread {
 public:
  // `run_cycle` is called on the thread, and `cycle_ended` after it, when Request has an effect
  // again. `niceness`: as of platform::LowerPriority. The system's error if the thread cannot be
  // started. `system` outlives the object.
  static absl::StatusOr<std::unique_ptr<CollectorThread>> Create(
      platform::System& system, int niceness, absl::AnyInvocable<void()> run_cycle,
      absl::AnyInvocable<void()> cycle_ended = [] {});
  // Waits for the end of the cycle that is running; one that is only wanted is not begun.
  ~CollectorThread();
  CollectorThread(const CollectorThread&) = delete;
  CollectorThread& operator=(const CollectorThread&) = delete;

  // A cycle will begin, unless one is running or wanted.
  void Request() ABSL_LOCKS_EXCLUDED(mu_);
  // Its thread is there, but for a forked child to which the system refuses one: its error. Then
  // RunOne would wait for ever.
  absl::Status EnsureThread() ABSL_LOCKS_EXCLUDED(mu_);
  // Requests a cycle and waits for the end of one that began after this call: several callers at
  // once share it. The caller runs in no heap meanwhile.
  void RunOne() ABSL_LOCKS_EXCLUDED(mu_);

  // Around a fork, while it is not in the midst of a cycle. In the child no cycle is wanted, and
  // the thread is started when one is.
  void AtFork(platform::ForkStep step);

 private:
  CollectorThread(platform::System& system, int niceness, absl::AnyInvocable<void()> run_cycle,
                  absl::AnyInvocable<void()> cycle_ended)
      : system_(system),
        niceness_(niceness),
        run_cycle_(std::move(run_cycle)),
        cycle_ended_(std::move(cycle_ended)) {}

  absl::Status StartThread() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Loop();
  void AwaitEnded(int64_t cycle) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  platform::System& system_;
  const int niceness_;
  absl::AnyInvocable<void()> run_cycle_;    // the thread's
  absl::AnyInvocable<void()> cycle_ended_;  // likewise
  absl::Mutex mu_;
  int64_t wanted_ ABSL_GUARDED_BY(mu_) = 0;  // the number of the last cycle that is to be run
  int64_t begun_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t ended_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::unique_ptr<platform::Thread> thread_ ABSL_GUARDED_BY(mu_);  // null: see AtFork
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_COLLECTOR_THREAD_H_
