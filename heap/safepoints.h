// Safepoints: which mutators there are, which of them run, and how all of them are stopped.
// Design: docs/design/safepoints.md

#ifndef EBB_HEAP_SAFEPOINTS_H_
#define EBB_HEAP_SAFEPOINTS_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "copyspace/mutators_stopped.h"
#include "heap/histogram.h"

namespace ebb {

class Mutator;

// The protocol. Every change of a mutator's state happens under mu_:
//
//   running --Block--> blocked --TryUnblock (not while a pause is wanted or on)--> running
//   running --it wants a Pause itself--> stopped --its pause ends--> running
//
// inv.pause: while a Pause lives, no mutator is running, and none becomes so.
// A mutator learns of a request without taking the lock: the requester sets requested_, then forces
// the slow path of the mutator's allocator (a release). The owner restores the allocator's limit (an
// acquire), and only then looks at requested_: either it sees the request, or the force comes after
// the restoring and the next allocation or poll is slow again (copyspace/bump_allocator.h).
class Safepoints {
 public:
  explicit Safepoints(absl::Duration warn_after) : warn_after_(warn_after) {}
  ~Safepoints();
  Safepoints(const Safepoints&) = delete;
  Safepoints& operator=(const Safepoints&) = delete;

  // By the mutator's own thread. Attach waits while a pause is on.
  void Attach(Mutator& mutator) ABSL_LOCKS_EXCLUDED(mu_);
  void Detach(Mutator& mutator) ABSL_LOCKS_EXCLUDED(mu_);
  void Block(Mutator& mutator) ABSL_LOCKS_EXCLUDED(mu_);
  // False, and nothing has changed, while a pause is wanted or on.
  bool TryUnblock(Mutator& mutator) ABSL_LOCKS_EXCLUDED(mu_);
  // Waits until no pause is wanted or on. The thread runs in no heap meanwhile (inv.park-all).
  void AwaitEndOfPause() ABSL_LOCKS_EXCLUDED(mu_);

  // Whether a pause is wanted or on; for a mutator that has just restored its allocator's limit.
  bool requested() const {
    // Relaxed: BumpAllocator::RestoreLimit has acquired what ForceSlow published.
    return requested_.load(std::memory_order_relaxed);
  }

  // All mutators are stopped while one of these lives. One at a time: a second one waits, its
  // mutator counting as stopped.
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

  // From the request to the stop of each running mutator, the requester included; nanoseconds.
  Histogram time_to_safepoint() const ABSL_LOCKS_EXCLUDED(mu_);
  int mutator_count() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void BeginPause(Mutator* self) ABSL_LOCKS_EXCLUDED(mu_);
  void EndPause(Mutator* self) ABSL_LOCKS_EXCLUDED(mu_);
  void AwaitAllStopped() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AwaitNoPause() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void StopRunning(Mutator& mutator) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Resume(Mutator& mutator) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::string LateThreads() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const absl::Duration warn_after_;
  // Written under mu_; read without it by polls.
  std::atomic<bool> requested_ = false;

  mutable absl::Mutex mu_;
  std::vector<Mutator*> mutators_ ABSL_GUARDED_BY(mu_);
  int running_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t request_time_ ABSL_GUARDED_BY(mu_) = 0;
  Histogram time_to_safepoint_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ebb

#endif  // EBB_HEAP_SAFEPOINTS_H_
