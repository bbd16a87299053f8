// Safepoints: which mutators there are, which of them run, and how all of them are stopped.
// Design: docs/design/safepoints.md

#ifndef EBB_HEAP_SAFEPOINTS_H_
#define EBB_HEAP_SAFEPOINTS_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "copyspace/mutators_stopped.h"
#include "heap/histogram.h"
#include "heap/pause_hook.h"
#include "platform/fork.h"

namespace ebb {

class Mutator;

// The protocol. Every change of a mutator's state happens under mu_:
//
//   running --Block--> blocked --TryUnblock (not while MayRun says no)--> running
//   running --it wants a Pause itself--> stopped --its pause ends--> running
//
// inv.pause: while a Pause lives, no mutator is running, and none becomes so.
// A mutator learns of a request without taking the lock: the requester sets requested_, then forces
// the slow path of the mutator's allocator (a release). The owner restores the allocator's limit
// (an acquire), and only then looks at requested_: either it sees the request, or the force comes
// after the restoring and the next allocation or poll is slow again (copyspace/bump_allocator.h).
//
// A handshake is learnt of in the same way: round_ is raised, then the slow path is forced. A
// mutator that runs acknowledges at its next safepoint, or when it blocks or detaches; for one that
// is blocked the requester does (inv.handshake-once).
class Safepoints {
 public:
  class Pause;

  explicit Safepoints(absl::Duration warn_after) : warn_after_(warn_after) {}
  ~Safepoints();
  Safepoints(const Safepoints&) = delete;
  Safepoints& operator=(const Safepoints&) = delete;

  // By the mutator's own thread. Attach waits while a pause is on.
  void Attach(Mutator& mutator) ABSL_LOCKS_EXCLUDED(mu_);
  void Detach(Mutator& mutator) ABSL_LOCKS_EXCLUDED(mu_);
  void Block(Mutator& mutator) ABSL_LOCKS_EXCLUDED(mu_);
  // False, and nothing has changed, while the mutator may not run.
  bool TryUnblock(Mutator& mutator) ABSL_LOCKS_EXCLUDED(mu_);
  // Waits until the mutator may run: no pause is wanted or on, and nobody forwards its roots. The
  // thread runs in no heap meanwhile (inv.park-all).
  void AwaitMayRun(const Mutator& mutator) ABSL_LOCKS_EXCLUDED(mu_);

  // Whether a pause is wanted or on; for a mutator that has just restored its allocator's limit.
  bool requested() const {
    // Relaxed: BumpAllocator::RestoreLimit has acquired what ForceSlow published.
    return requested_.load(std::memory_order_relaxed);
  }
  // Every mutator's next allocation is slow, and sees what the caller did before.
  void ForceSlow() ABSL_LOCKS_EXCLUDED(mu_);
  // Whether `mutator`, the caller's, has a handshake to acknowledge; likewise.
  bool handshake_due(const Mutator& mutator) const;
  // By the mutator's own thread: it does its part of the handshake.
  void Acknowledge(Mutator& mutator) ABSL_LOCKS_EXCLUDED(mu_);

  // From here to Pause: for the one thread that runs a concurrent cycle.

  // In the pause of the flip: every mutator's load barrier is armed from here on, and each owes its
  // roots: it forwards them before it runs on, unless it is blocked.
  void ArmBarriers(const Pause& pause) ABSL_LOCKS_EXCLUDED(mu_);
  // Forwards, by `forward`, the roots that blocked mutators owe. Such a mutator does not unblock
  // meanwhile. After this no blocked mutator owes roots.
  void ForwardRootsOfBlocked(absl::FunctionRef<void(std::atomic<uintptr_t>& slot)> forward)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Every mutator hands over what it has found grey, and says whether it has found anything since
  // its last handshake. Waits for all. True if none has.
  bool Handshake() ABSL_LOCKS_EXCLUDED(mu_);
  // Disarms the barriers: by a handshake; in a pause.
  void DisarmBarriers() ABSL_LOCKS_EXCLUDED(mu_);
  void DisarmBarriers(const Pause& pause) ABSL_LOCKS_EXCLUDED(mu_);

  // All mutators are stopped while one of these lives. One at a time: a second one waits, and its
  // thread is stopped by the first.
  class Pause {
   public:
    // `self`: the calling thread's mutator, or null if it has none (or it is blocked). The thread's
    // running mutators of other heaps are parked until the pause has ended.
    Pause(Safepoints& safepoints, Mutator* self);
    ~Pause();
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

    const copyspace::MutatorsStopped& stopped() const { return stopped_; }
    const std::vector<Mutator*>& mutators() const ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return safepoints_.mutators_;  // nobody attaches or detaches before the pause ends
    }
    // Whether there are such others. If not, `self` runs on from the pause's end: no other pause
    // comes between.
    bool parked_others() const { return parked_others_; }
    // When it was asked for (MonotonicNanos).
    int64_t requested_at() const { return requested_at_; }

   private:
    Safepoints& safepoints_;
    Mutator* const self_;
    const bool parked_others_;
    int64_t requested_at_ = 0;
    copyspace::MutatorsStopped stopped_;
  };

  // As of Heap.
  void AddHook(internal::PauseHook& hook) ABSL_LOCKS_EXCLUDED(hooks_mu_);
  void RemoveHook(internal::PauseHook& hook) ABSL_LOCKS_EXCLUDED(hooks_mu_);

  // Around a fork: a pause without a scope, by a thread that runs in no heap. What it waits for
  // ends without its help.
  void BeginPauseForFork() ABSL_LOCKS_EXCLUDED(mu_) { TryBeginPause(/*self=*/nullptr); }
  void EndPauseForFork() ABSL_LOCKS_EXCLUDED(mu_) { EndPause(/*self=*/nullptr); }
  // In that pause. The hooks' lock first, and last: they are called with it, and take others.
  void HooksAtFork(platform::ForkStep step) { platform::LockAcrossFork(hooks_mu_, step); }
  void AtFork(platform::ForkStep step);
  // In a forked child, in that pause: `gone` for each mutator whose thread is not there. It is
  // attached no longer.
  void RemoveOthersInChild(absl::FunctionRef<void(Mutator&)> gone) ABSL_LOCKS_EXCLUDED(mu_);

  // From the request to the stop of each running mutator, the requester included; nanoseconds.
  Histogram time_to_safepoint() const ABSL_LOCKS_EXCLUDED(mu_);
  int mutator_count() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // Waits for the end of another's pause; with a `self`, which must not, false if there is one.
  bool TryBeginPause(Mutator* self) ABSL_LOCKS_EXCLUDED(mu_);
  void EndPause(Mutator* self) ABSL_LOCKS_EXCLUDED(mu_);
  void AwaitNoPause() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void StopRunning(Mutator& mutator) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Resume(Mutator& mutator) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Waits until the condition holds, naming the threads that run in the log if that takes long.
  void AwaitMutators(const absl::Condition& condition) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::string LateThreads() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AcknowledgeLocked(Mutator& mutator) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool MayRun(const Mutator& mutator) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const absl::Duration warn_after_;
  // Written under mu_; read without it by polls.
  std::atomic<bool> requested_ = false;

  mutable absl::Mutex mu_;
  std::vector<Mutator*> mutators_ ABSL_GUARDED_BY(mu_);
  int running_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t request_time_ ABSL_GUARDED_BY(mu_) = 0;  // of a pause or a handshake
  // The number of the last handshake. Written under mu_; read without it by polls.
  std::atomic<uint64_t> round_ = 0;
  int unacknowledged_ ABSL_GUARDED_BY(mu_) = 0;
  // By a mutator that has acknowledged the handshake, or detached since the last one ended.
  bool found_grey_ ABSL_GUARDED_BY(mu_) = false;
  bool armed_ ABSL_GUARDED_BY(mu_) = false;
  Histogram time_to_safepoint_ ABSL_GUARDED_BY(mu_);

  absl::Mutex hooks_mu_;
  std::vector<internal::PauseHook*> hooks_ ABSL_GUARDED_BY(hooks_mu_);
};

}  // namespace ebb

#endif  // EBB_HEAP_SAFEPOINTS_H_
