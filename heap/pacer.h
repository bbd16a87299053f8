// Pacer: keeps mutators from using up the room that there is before a concurrent cycle has made
// more: when a cycle begins, what is kept for its copies, and how much of its work mutators do.
// Design: docs/design/concurrent.md#memory

#ifndef EBB_HEAP_PACER_H_
#define EBB_HEAP_PACER_H_

#include <atomic>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "copyspace/copy_space.h"
#include "copyspace/geometry.h"
#include "copyspace/mutators_stopped.h"
#include "platform/bytes.h"
#include "platform/fork.h"

namespace ebb::internal {

class Pacer {
 public:
  Pacer(copyspace::CopySpace& space, platform::Bytes max_bytes)
      : space_(space), max_bytes_(max_bytes) {}
  Pacer(const Pacer&) = delete;
  Pacer& operator=(const Pacer&) = delete;

  // By the thread that runs the cycle. In the pause, after the flip: from-space holds `in_copies`,
  // and up to `evacuators` threads will copy, each into a region of its own.
  void BeginCycle(platform::Bytes in_copies, int64_t evacuators, const copyspace::MutatorsStopped&);
  // After it. `scanned`: as of Advise.
  void EndCycle(platform::Bytes evacuated, platform::Bytes scanned);

  // Of one assistance: bytes evacuated at most, and nanoseconds, about.
  static constexpr platform::Bytes kMostAssistance = 8 * copyspace::kRegionSize;
  static constexpr int64_t kLongestAssistNanos = 500'000;
  // Any thread, O(1), as of HeapCore::Pace. `scanned`: of arrays of references that are
  // not copied, by the cycle that runs.
  struct Advice {
    bool begin_cycle;        // unless one runs
    platform::Bytes assist;  // how much the thread is to evacuate, or scan as long
  };
  Advice Advise(platform::Bytes scanned) const;
  // Whether a cycle has flipped and not yet ended. Any thread; takes a short lock.
  bool cycle_runs() const { return space_.room().for_evacuation > platform::Bytes(0); }

  // Tells those that wait for room that there may be some: after a flip, and at the end of a cycle.
  void NoteRoom() ABSL_LOCKS_EXCLUDED(mu_);
  int64_t room_noted() const ABSL_LOCKS_EXCLUDED(mu_);
  // Waits for the NoteRoom after the `seen`th, but no longer than `most`; false if it did not come.
  bool AwaitRoom(int64_t seen, absl::Duration most) const ABSL_LOCKS_EXCLUDED(mu_);

  // Around a fork, in a pause.
  void AtFork(platform::ForkStep step) { platform::LockAcrossFork(mu_, step); }

 private:
  copyspace::CopySpace& space_;
  const platform::Bytes max_bytes_;

  // For the thread that runs cycles.
  platform::Bytes in_copies_;  // at the last flip
  platform::Bytes evacuated_;  // by the last cycle
  // The share of what is allocated between two flips that lives at the second: a mean over cycles,
  // of which each counts twice as much as the one before. A guess at first.
  double new_that_live_ = 0.5;

  // Of the last flip. Relaxed: they set the pace, and publish nothing.
  std::atomic<int64_t> for_mutators_at_flip_ = 0;
  std::atomic<int64_t> for_evacuation_at_flip_ = 0;
  // By the last cycle. Relaxed likewise.
  std::atomic<int64_t> expected_scans_ = 0;

  mutable absl::Mutex mu_;
  int64_t room_noted_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_PACER_H_
