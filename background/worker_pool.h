// WorkerPool: threads that help others with their jobs, several jobs at a time, and cost nothing in
// between. Used by heaps for the parallel phases of a collection.
// Design: docs/design/background.md#worker-pool

#ifndef EBB_BACKGROUND_WORKER_POOL_H_
#define EBB_BACKGROUND_WORKER_POOL_H_

#include <atomic>
#include <cstddef>
#include <deque>
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

// Thread-safe. Protocol: a helper is vacant (without a thread), idle, or one job's. Recruit takes
// it from the pool and counts it in; it works, and counts itself out; when all of the job's have
// done so, Join gives them back to the pool (inv.pool-one-job). What Job::running_ counts is the
// job's helpers at work, and Join:
//   helper: decrement; if that made it 0, unpark Join.
//   Join:   decrement; unless that made it 0, park.
// So exactly one of them is last, and Join returns after taking the token of the helper that is,
// or where no helper is to come, without one. Either way no helper touches the Job afterwards,
// which lies on its owner's stack (inv.job-untouched). Model-checked: background/worker_pool.pml
class WorkerPool {
  struct Helper;

 public:
  // Starts no thread yet: each is started, through `system`, when a job wants more helpers than are
  // idle, and at most `max_helpers` ever run (less than zero counts as zero). A thread that cannot
  // be started means fewer helpers, never an error; start_failures() and last_start_failure() tell,
  // and the next job tries again. Threads are called `thread_name` with their number ("gc-1"; the
  // kernel keeps 15 characters). `system` outlives the pool.
  WorkerPool(platform::System& system, int max_helpers, absl::string_view thread_name);

  // Wakes and joins the threads. No Job may be left.
  ~WorkerPool();

  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // From here on at most `max_helpers` run, if that is more than before.
  void RaiseMaximum(int max_helpers) ABSL_LOCKS_EXCLUDED(mutex_);

  // A piece of work that up to `helpers` threads of the pool do, together with the caller, who
  // counts as worker 0 and does his part himself, whatever that is:
  //
  //   WorkerPool::Job job(pool, 3, [this](int worker) { Trace(worker); });
  //   Trace(0);  // calls job.Recruit() when it finds enough to share
  //   job.Join();
  //
  // Of several jobs at a time, the first to recruit gets as many helpers as it wants, and the
  // others what is left, perhaps none, rather than wait: an owner can always do the work alone.
  // Helpers are a job's until Join. A job that is never recruited costs one uncontended lock of its
  // own.
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
    // `work(i)` runs at most once for each i in [1, helpers], whichever threads serve. `work`, and
    // what it refers to, outlives the job.
    Job(WorkerPool& pool, int helpers, absl::FunctionRef<void(int worker)> work);

    // As above, for a lambda written in place: it is moved into the job, without an allocation.
    template <typename Function>
      requires kTemporary<Function> && kSmall<Function>
    Job(WorkerPool& pool, int helpers, Function&& work)
        : pool_(pool), wanted_(helpers), owned_(std::move(work)), work_(owned_) {
      pool_.CountJob(1);
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

    // Waits until `work` has returned on all helpers of this job and gives them back to the pool.
    // Only the thread that owns the job. Idempotent.
    void Join();

   private:
    friend class WorkerPool;

    int RecruitSlow() ABSL_LOCKS_EXCLUDED(mu_);
    // By a helper, as the last thing that it does with the job.
    void CountOut();
    // Waits until all helpers have counted themselves out. Once.
    void AwaitHelpers();

    WorkerPool& pool_;
    const int wanted_;
    const absl::AnyInvocable<void(int worker) const> owned_;  // null if `work` is the caller's
    const absl::FunctionRef<void(int worker)> work_;

    // Held by whoever recruits, so that Join, and others who ask, know how many there are.
    absl::Mutex mu_ ABSL_ACQUIRED_BEFORE(pool_.mutex_);
    Helper* crew_ ABSL_GUARDED_BY(mu_) = nullptr;  // the job's helpers, linked by Helper::next
    // Number of helpers, or -1 while nobody called Recruit. Relaxed everywhere: it publishes
    // nothing but itself; the helpers get the job by way of their Parkers. Written under mu_.
    std::atomic<int> recruited_{-1};
    // Whether Recruit was called. Written under mu_; relaxed as recruited_ is.
    std::atomic<bool> asked_{false};
    bool joined_ = false;  // the owner's

    // The job's helpers at work, and one for Join: see the protocol above.
    std::atomic<int> running_{1};
    platform::Parker joiner_;  // gets at most one token, ever
  };

  // Threads of the pool that run now, at work or not.
  int helpers_started() const;
  // How often a thread could not be started, and how that last went; OK if that never happened.
  int start_failures() const;
  absl::Status last_start_failure() const;

  // Around a fork, once for the pool, whoever shares it. A child has no helpers until it needs
  // some; of a Job that is there at the fork, the owner must not go on in the child.
  void AtFork(platform::ForkStep step);

 private:
  // A helper parks until a token comes. With it comes a job, or nothing: then the thread ends.
  struct alignas(ABSL_CACHELINE_SIZE) Helper {
    explicit Helper(int number) : number(number) {}

    const int number;  // in the thread's name
    platform::Parker parker;
    // What it is to do next. Handed over by the parker's token: written by the recruiting thread
    // before Unpark, read by the helper after Park, and not written again before Join has seen that
    // the helper is done and has given it back under mutex_, which the next recruiting thread
    // takes. Every Unpark belongs to one Park, since a helper gets no second token before it is
    // done.
    Job* job = nullptr;
    int worker = 0;
    Helper* next = nullptr;                    // in the list that it is in: under that list's lock
    std::unique_ptr<platform::Thread> thread;  // under mutex_, or in the destructor
  };

  // A list that `first` begins.
  static void Push(Helper*& first, Helper& helper);
  static Helper* Pop(Helper*& first);

  void CountJob(int more) {
    jobs_.fetch_add(more, std::memory_order_relaxed);  // see jobs_
  }
  // The body of a helper's thread.
  static void Help(Helper& self);
  // A helper that has a thread and nothing to do; null if there is none, and none can be started.
  Helper* TakeHelper() ABSL_LOCKS_EXCLUDED(mutex_);
  // The other way: all helpers of the list that `crew` begins.
  void GiveBack(Helper* crew) ABSL_LOCKS_EXCLUDED(mutex_);

  platform::System& system_;
  const std::string thread_name_;

  // Held for a few instructions, but for RaiseMaximum's allocation; threads are started without it.
  mutable absl::Mutex mutex_;
  std::deque<Helper> helpers_ ABSL_GUARDED_BY(mutex_);  // only grows: a helper stays where it is
  // Lists by Helper::next; a helper is in one of them, or in a job's.
  Helper* vacant_ ABSL_GUARDED_BY(mutex_) = nullptr;
  Helper* idle_ ABSL_GUARDED_BY(mutex_) = nullptr;
  int helpers_started_ ABSL_GUARDED_BY(mutex_) = 0;  // that have a thread
  int start_failures_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status last_start_failure_ ABSL_GUARDED_BY(mutex_);

  // Jobs that are there. Relaxed: a count for a check, which publishes nothing.
  std::atomic<int> jobs_{0};
};

}  // namespace ebb::background

#endif  // EBB_BACKGROUND_WORKER_POOL_H_
