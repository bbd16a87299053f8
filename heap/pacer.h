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
#include "copyspace/ledger.h"
#include "copyspace/mutators_stopped.h"
#include "platform/bytes.h"
#include "platform/fork.h"

namespace ebb::internal {

class Pacer {
 public:
  // `ledger` is the space's.
  Pacer(copyspace::CopySpace& space, const copyspace::Ledger& ledger)
      : space_(space), ledger_(ledger) {}
  Pacer(const Pacer&) = delete;
  Pacer& operator=(const Pacer&) = delete;

  // By the thread that runs the cycle. In the pause, before the flip: how much mutators took while
  // the request for it was on its way.
  void NoteFlip(const copyspace::MutatorsStopped&);
  // After the flip: from-space holds `in_copies`, and up to `evacuators` threads will copy, each
  // into a region of its own.
  void BeginCycle(platform::Bytes in_copies, int64_t evacuators, const copyspace::MutatorsStopped&);
  // Nothing was grey a moment ago.
  void NoteDrained() { space_.KeepLess(); }
  // After the cycle. `scanned`: as of Advise.
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
  Advice Advise(platform::Bytes scanned);
  // Whether a cycle has flipped and not yet ended (NoteEnd).
  bool cycle_runs() const ABSL_LOCKS_EXCLUDED(mu_);
  // What mutators may take. Likewise.
  platform::Bytes room() const { return space_.room().for_mutators; }

  // Tells those that wait for room that there may be some: after a flip; and at the end of a cycle,
  // when the next can be requested.
  void NoteRoom() ABSL_LOCKS_EXCLUDED(mu_);
  void NoteEnd() ABSL_LOCKS_EXCLUDED(mu_);
  int64_t room_noted() const ABSL_LOCKS_EXCLUDED(mu_);
  int64_t cycles_ended() const ABSL_LOCKS_EXCLUDED(mu_);
  // What cycles_ended will be when the cycle that has flipped, if there is one, and a whole one
  // that has not yet flipped have ended.
  int64_t ends_of_a_whole_cycle() const ABSL_LOCKS_EXCLUDED(mu_);
  // Waits for the NoteRoom or NoteEnd after the `seen`th, but no longer than `most`; false if it
  // did not come.
  bool AwaitRoom(int64_t seen, absl::Duration most) const ABSL_LOCKS_EXCLUDED(mu_);

  // Around a fork, in a pause.
  void AtFork(platform::ForkStep step);

 private:
  // An object that does not fit leaves at most its own size of a region: 8 KiB unless told
  // otherwise.
  static constexpr double kMostWaste = 1.0 / 8;
  // Mutators' room when a cycle is asked for, at least: about what one fills until its flip.
  static constexpr platform::Bytes kLeastRoomAtRequest = 16 * copyspace::kRegionSize;

  // And at most, whatever is least: the heap's limit may change.
  platform::Bytes MostRoomAtRequest() const { return ledger_.limit() / 16; }

  copyspace::CopySpace& space_;
  const copyspace::Ledger& ledger_;

  // For the thread that runs cycles.
  platform::Bytes in_copies_;  // at the last flip
  platform::Bytes evacuated_;  // by the last cycle
  // What copies need beyond their own bytes, as a share of these.
  double waste_ = kMostWaste;
  // The share of what is allocated between two flips that lives at the second: a mean over cycles,
  // of which each counts twice as much as the one before. A guess at first.
  double new_that_live_ = 0.5;

  // Of the last flip. Relaxed: they set the pace, and publish nothing.
  std::atomic<int64_t> for_mutators_at_flip_ = 0;
  std::atomic<int64_t> for_evacuation_at_flip_ = 0;
  // By the last cycle. Relaxed likewise.
  std::atomic<int64_t> expected_scans_ = 0;
  // Mutators' room when a cycle was asked for, or kNoRequest; and that at which the next one will
  // be. Relaxed likewise.
  static constexpr int64_t kNoRequest = -1;
  std::atomic<int64_t> room_at_request_ = kNoRequest;
  std::atomic<int64_t> request_below_ = kLeastRoomAtRequest.count();

  mutable absl::Mutex mu_;
  int64_t room_noted_ ABSL_GUARDED_BY(mu_) = 0;  // ends included
  int64_t cycles_ended_ ABSL_GUARDED_BY(mu_) = 0;
  bool cycle_runs_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_PACER_H_
