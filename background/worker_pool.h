// WorkerPool: threads that help one thread at a time with a job, and cost nothing in between.
// Used by the heap for the parallel phases of a collection.
// Design: docs/design/background.md#worker-pool

#ifndef EBB_BACKGROUND_WORKER_POOL_H_
#define EBB_BACKGROUND_WORKER_POOL_H_

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/base/optimization.h"
#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "platform/fork.h"
#include "platform/park.h"
#include "platform/system.h"
#include "platform/thread.h"

namespace ebb::background {

// Thread-safe.
class WorkerPool {
 public:
  // Starts no thread yet: each is started, through `system`, when a job first needs it, and at most
  // `max_helpers` ever run (less than zero counts as zero). A thread that cannot be started means
  // fewer helpers, never an error; start_failures() and last_start_failure() tell, and the next job
  // tries again. Threads are called `thread_name` with their number ("gc-1"; the kernel keeps 15
  // characters). `system` outlives the pool.
  WorkerPool(platform::System& system, int max_helpers, absl::string_view thread_name);

  // Wakes and joins the threads. No Job may be left.
  ~WorkerPool();

  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // A piece of work that up to `helpers` threads of the pool do, together with the caller, who
  // counts as worker 0 and does his part himself, whatever that is:
  //
  //   WorkerPool::Job job(pool, 3, [this](int worker) { Trace(worker); });
  //   Trace(0);  // calls job.Recruit() when it finds enough to share
  //   job.Join();
  //
  // A job holds the pool from its construction until Join. One that is constructed while another
  // holds the pool gets no helpers (its Recruit returns 0), rather than wait: its owner can always
  // do the work alone. A job that is never recruited costs three uncontended locks.
  //
  // Order: what happened before Recruit was called (by the thread that was first to call it), and
  // before the constructor, happens before `work` on every helper, and the end of every `work`
  // happens before Join returns.
  class Job {
    template <typename Function>
    static constexpr bool kTemporary =
        std::is_class_v<Function> && !std::is_same_v<Function, absl::FunctionRef<void(int worker)>>;
    // What absl::AnyInvocable stores in place.
    template <typename Function>
    static constexpr bool kSmall =
        sizeof(Function) <= 2 * sizeof(void*) && alignof(Function) <= alignof(std::max_align_t) &&
        std::is_nothrow_move_constructible_v<Function>;

   public:
    // `work(i)` runs at most once for each i in [1, helpers]. `work`, and what it refers to,
    // outlives the job.
    Job(WorkerPool& pool, int helpers, absl::FunctionRef<void(int worker)> work);

    // As above, for a lambda written in place: it is moved into the job, without an allocation.
    template <typename Function>
      requires kTemporary<Function> && kSmall<Function>
    Job(WorkerPool& pool, int helpers, Function&& work)
        : pool_(pool), helpers_(helpers), owned_(std::move(work)), work_(owned_) {
      TakeHold();
    }
    // A large one would need an allocation, in the middle of a collection: give it a name, or let
    // it capture less.
    template <typename Function>
      requires kTemporary<Function> && (!kSmall<Function>)
    Job(WorkerPool& pool, int helpers, Function&& work) = delete;

    ~Job() { Join(); }
    Job(const Job&) = delete;
    Job& operator=(const Job&) = delete;

    // Wakes the helpers, starting threads if need be. Any thread may call it, `work` included; only
    // the first call does something, the others cost one load. Returns on how many helpers `work`
    // runs: on workers 1 to that number. After Join, recruits nobody.
    int Recruit() {
      const int recruited = recruited_.load(std::memory_order_relaxed);  // see recruited_
      return recruited >= 0 ? recruited : RecruitSlow();
    }

    // Whether Recruit has been called before Join, with or without success. Any thread; true in
    // `work`.
    bool recruited() const {
      return asked_.load(std::memory_order_relaxed);  // see asked_
    }

    // Waits until `work` has returned on all helpers and lets go of the pool. Only the thread that
    // owns the job. Idempotent.
    void Join();

   private:
    friend class WorkerPool;

    // The last step of construction.
    void TakeHold();
    int RecruitSlow();

    WorkerPool& pool_;
    const int helpers_;
    const absl::AnyInvocable<void(int worker) const> owned_;  // null if `work` is the caller's
    const absl::FunctionRef<void(int worker)> work_;
    // Number of helpers, or -1 while nobody called Recruit. Relaxed everywhere: it publishes
    // nothing but itself; the helpers get the job by way of their Parkers. Written under mutex_.
    std::atomic<int> recruited_{-1};
    // Whether Recruit was called. Written under mutex_; relaxed as recruited_ is.
    std::atomic<bool> asked_{false};
  };

  // Threads of the pool that run now, at work or not.
  int helpers_started() const;
  // How often a thread could not be started, and how that last went; OK if that never happened.
  int start_failures() const;
  absl::Status last_start_failure() const;

  // Around a fork, while no Job is there: a child has no helpers until it needs some.
  void AtFork(platform::ForkStep step);

 private:
  // A helper parks until a token comes. With it comes a job, or nothing: then the thread ends.
  struct alignas(ABSL_CACHELINE_SIZE) Helper {
    platform::Parker parker;
    // Handed over by the parker's token: written by the recruiting thread before Unpark, read by
    // the helper after Park, and not written again before running_ told that the helper is done.
    // Every Unpark belongs to one Park, since a helper gets no second token before it is done.
    Job* job = nullptr;
    std::unique_ptr<platform::Thread> thread;  // under mutex_, or in the destructor
  };

  // The body of thread `worker`.
  void Help(int worker);
  // Wakes helper `worker` to do `job`; false if its thread cannot be started.
  bool Employ(int worker, Job& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Waits until no helper is at work.
  void AwaitHelpers();

  platform::System& system_;
  const std::string thread_name_;
  std::vector<Helper> helpers_;  // worker i is helpers_[i - 1]; never resized

  mutable absl::Mutex mutex_;
  Job* holder_ ABSL_GUARDED_BY(mutex_) = nullptr;
  int helpers_started_ ABSL_GUARDED_BY(mutex_) = 0;  // helpers_ before this have a thread
  int start_failures_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status last_start_failure_ ABSL_GUARDED_BY(mutex_);

  // Helpers at work for the holder, and where its Join waits for the last of them. They are here
  // and not in Job because the last helper wakes Join after counting itself out, when the Job may
  // already be gone.
  alignas(ABSL_CACHELINE_SIZE) std::atomic<int> running_{0};
  platform::Parker joiner_;
};

}  // namespace ebb::background

#endif  // EBB_BACKGROUND_WORKER_POOL_H_
