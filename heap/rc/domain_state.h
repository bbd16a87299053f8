// DomainState: what a Domain and the Owners attached to it share.

#ifndef EBB_HEAP_RC_DOMAIN_STATE_H_
#define EBB_HEAP_RC_DOMAIN_STATE_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "heap/heap.h"
#include "heap/job_thread.h"
#include "heap/rc/cell.h"
#include "heap/rc/cell_table.h"
#include "heap/rc/coalescer.h"
#include "heap/rc/domain.h"
#include "heap/rc/holder_table.h"
#include "platform/fork.h"

namespace ebb::rc::internal {

// What one thread has done. Relaxed: only that thread writes them, and nothing is read on their
// strength.
struct Tally {
  std::atomic<int64_t> made = 0;
  std::atomic<int64_t> destroyed = 0;
  std::atomic<int64_t> finalized = 0;

  // Relaxed, and not one change: see above.
  static void Add(std::atomic<int64_t>& figure) {
    figure.store(figure.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
};

// Thread-safe.
class DomainState {
 public:
  DomainState(Heap& heap, const DomainOptions& options);
  ~DomainState();
  DomainState(const DomainState&) = delete;
  DomainState& operator=(const DomainState&) = delete;

  Heap& heap() { return heap_; }
  const DomainOptions& options() const { return options_; }
  CellTable& table() { return table_; }
  HolderTable& holders() { return *holders_; }
  // Null if the domain counts eagerly.
  Coalescer* coalescer() { return coalescer_.get(); }

  // `tally` counts from here on, until Remove.
  void Add(const Tally& tally) ABSL_LOCKS_EXCLUDED(mu_);
  void Remove(const Tally& tally) ABSL_LOCKS_EXCLUDED(mu_);
  DomainStats stats() const ABSL_LOCKS_EXCLUDED(mu_);

  // A thread's turn to look for cycles, or to ask questions: one at a time.
  class DetectionTurn {
   public:
    // Waits up to `timeout`. By a thread that has no turn.
    DetectionTurn(DomainState& domain, absl::Duration timeout) ABSL_LOCKS_EXCLUDED(domain.mu_);
    ~DetectionTurn() ABSL_LOCKS_EXCLUDED(domain_.mu_);
    DetectionTurn(const DetectionTurn&) = delete;
    DetectionTurn& operator=(const DetectionTurn&) = delete;
    bool has_begun() const { return has_begun_; }

    // The domain of which the calling thread has the turn; null if it has none. It never has two:
    // two threads could wait for each other's.
    static const DomainState* OfThisThread() { return of_this_thread; }

   private:
    static constinit thread_local const DomainState* of_this_thread;

    DomainState& domain_;
    bool has_begun_;
  };
  // Around what is done in such a turn. `dead` of the cells in use are about to be free; it was
  // `mixed` if it looked for cycles through traced objects, too.
  void BeginDetection();
  void EndDetection(const absl::StatusOr<Detection>& detection, int64_t dead, bool mixed)
      ABSL_LOCKS_EXCLUDED(mu_);

  DetectionDebug debug() const ABSL_LOCKS_EXCLUDED(mu_);
  void set_debug(const DetectionDebug& debug) ABSL_LOCKS_EXCLUDED(mu_);
  // References that somebody has counted. False if there is no memory for them.
  bool AddGarbage(const std::vector<Cell*>& cells) ABSL_LOCKS_EXCLUDED(mu_);
  std::vector<Cell*> TakeGarbage() ABSL_LOCKS_EXCLUDED(mu_);

  // Wakes `thread`, if there is one. Null: there is none any more.
  void set_detecting_thread(ebb::internal::JobThread* thread) ABSL_LOCKS_EXCLUDED(mu_);
  bool WakeDetectingThread() ABSL_LOCKS_EXCLUDED(mu_);

  // Around a fork: of every domain.
  static void AllAtFork(platform::ForkStep step);

  // The current exception was thrown by what is `called`, of an object of that type.
  void ReportException(Called called, std::string_view type);

  // Relaxed, both: nothing is read on their strength.
  void set_automatic(bool automatic) { automatic_.store(automatic, std::memory_order_relaxed); }
  bool automatic() const { return automatic_.load(std::memory_order_relaxed); }
  // As of Domain.
  absl::Status SetThresholds(const DetectionThresholds& thresholds) ABSL_LOCKS_EXCLUDED(mu_);
  DetectionThresholds thresholds() const ABSL_LOCKS_EXCLUDED(mu_);
  // Whether so many objects have been made that cycles are to be looked for.
  bool IsDetectionDue() const;
  // How many cells may be taken until one is due; 0 if it is.
  int64_t CellsUntilDetection() const;
  // Whether the next automatic one is to be mixed: if the last one left so many more cells in use
  // than there were after the last mixed one.
  bool IsMixedDue() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // What one thread does is counted in.
  struct Member {
    const Tally* tally;
    std::thread::id thread;
  };

  // `dead` of the cells in use are about to be free.
  void SetNextDetection(int64_t dead, bool mixed) ABSL_LOCKS_EXCLUDED(mu_);
  // How many cells more than those in use, by the thresholds, make a detection due.
  int64_t MoreThan(int64_t in_use) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void UpdateDetectAt() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AtFork(platform::ForkStep step);
  // What it has done and leaves behind. When it goes.
  std::string Report();

  Heap& heap_;
  const DomainOptions options_;
  CellTable& table_;
  std::unique_ptr<HolderTable> holders_;
  std::shared_ptr<Coalescer> coalescer_;
  Listener default_listener_;
  Listener& listener_;
  mutable absl::Mutex mu_;
  std::vector<Member> members_ ABSL_GUARDED_BY(mu_);
  DomainStats totals_ ABSL_GUARDED_BY(mu_);  // of threads that have left, and of detections
  bool detecting_ ABSL_GUARDED_BY(mu_) = false;
  ebb::internal::JobThread* job_thread_ ABSL_GUARDED_BY(mu_) = nullptr;
  DetectionDebug debug_ ABSL_GUARDED_BY(mu_);
  std::vector<Cell*> garbage_ ABSL_GUARDED_BY(mu_);
  DetectionThresholds thresholds_ ABSL_GUARDED_BY(mu_);
  int64_t in_use_after_last_ ABSL_GUARDED_BY(mu_) = 0;   // cells, as the last detection ended
  int64_t in_use_after_mixed_ ABSL_GUARDED_BY(mu_) = 0;  // the least since the last mixed one
  std::atomic<bool> automatic_;
  // In cells in use; changed under the lock. Relaxed: a hint until one's turn has begun.
  std::atomic<int64_t> detect_at_;
};

}  // namespace ebb::rc::internal

#endif  // EBB_HEAP_RC_DOMAIN_STATE_H_
