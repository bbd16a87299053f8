// Trace: the forwarding of all that roots lead to, by several workers, and what these share.
// Design: docs/design/tracing.md

#ifndef EBB_HEAP_TRACE_H_
#define EBB_HEAP_TRACE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "background/termination.h"
#include "background/worker_pool.h"
#include "copyspace/mutators_stopped.h"
#include "heap/block_owners.h"
#include "heap/evacuator.h"
#include "heap/freezer.h"
#include "heap/grey_stock.h"
#include "heap/shared_greys.h"
#include "heap/spaces.h"
#include "heap/weak_reads.h"
#include "platform/bytes.h"

namespace ebb::internal {

class Tracer;

struct TraceCounts {
  EvacuationCounts evacuation;
  int64_t overflows = 0;  // objects that no worklist had room for

  TraceCounts& operator+=(const TraceCounts& other) {
    evacuation += other.evacuation;
    overflows += other.overflows;
    return *this;
  }
};

// Kept from cycle to cycle. Run is for a pause; what a concurrent cycle uses says so. For the
// thread that runs the cycle, but for Abandon, scanned_in_place, SeekWork, Assist, greys,
// weak_reads, rules, freezer.
class Trace {
 public:
  struct Options {
    int workers = 1;                // inside a pause
    int concurrent_workers = 1;     // beside mutators; at most `workers`
    int assistants = 0;             // mutators that can assist at a time
    int64_t fail_evacuation = 0;    // as StressOptions
    int64_t worklist_capacity = 0;  // as StressOptions
  };
  Trace(Spaces& spaces, background::WorkerPool& pool, const Options& options);
  ~Trace();

  // Forwards every root and everything reachable from them. `visit_roots(i, forward)` calls
  // `forward(slot)` for each root of share i of `root_shares`; shares are visited by several
  // threads. The calling thread begins alone and recruits helpers when the work is worth it.
  using ForwardSlot = absl::FunctionRef<void(std::atomic<uintptr_t>& slot)>;
  using VisitRoots = absl::FunctionRef<void(size_t share, ForwardSlot forward)>;
  TraceCounts Run(size_t root_shares, VisitRoots visit_roots);

  // Beside running mutators, by the one thread that runs the cycle: BeginBesideMutators, then the
  // others in any order, then Finish.
  void BeginBesideMutators();
  // How many threads copy, at most, beside the mutators' own load barriers.
  int threads_beside_mutators() const { return options_.concurrent_workers + options_.assistants; }
  void ForwardRoot(std::atomic<uintptr_t>& slot);
  // Scans all that is grey, and what mutators hand in meanwhile, until nothing is left to be found.
  void Drain();
  // Whether that is still so.
  bool idle() const { return greys_.empty_hint() && !AnyWorkToShare(); }
  // Some grey objects are known only by their marks: DrainInPause has to find them.
  bool must_rescan() const;
  // As Drain, with mutators stopped, and with a rescan if need be.
  void DrainInPause();
  TraceCounts Finish();
  // Any thread: nobody will look at an object any more. What is grey is dropped from here on, so
  // that a cycle that is under way soon ends.
  void Abandon() { abandoned_.store(true, std::memory_order_relaxed); }  // publishes nothing

  // Any thread: how much has been scanned of arrays of references that are not copied, since
  // BeginBesideMutators.
  platform::Bytes scanned_in_place() const {
    // Relaxed: it sets the pace, and publishes nothing.
    return platform::Bytes(scanned_in_place_.load(std::memory_order_relaxed));
  }

  // By a running mutator: whether there is work that it could take. If not, workers are asked to
  // share theirs, for its next try.
  bool SeekWork();
  // By a running mutator: evacuates about `most`, if there is that much to be had before `deadline`
  // (MonotonicNanos). False if no trace is on, or enough others assist.
  bool Assist(platform::Bytes most, int64_t deadline) ABSL_LOCKS_EXCLUDED(assistants_mu_);

  SharedGreys& greys() { return greys_; }
  WeakReads& weak_reads() { return weak_reads_; }
  EvacuationRules& rules() { return rules_; }
  Freezer& freezer() { return freezer_; }
  // In the pause of each flip: whether the cycle freezes, which it does if it may and somebody
  // wants it.
  void BeginFreezing(bool may_freeze, const copyspace::MutatorsStopped&) {
    rules_.SetFreezer(freezer_.Begin(may_freeze) ? &freezer_ : nullptr);
  }

  // Of all tables: the workers', the assistants', and what they share.
  platform::Bytes memory() const;

 private:
  friend class Tracer;

  void ForwardRoots(Tracer& tracer, VisitRoots visit_roots);
  bool MayRecruit() const;
  bool work_wanted() const {
    // Relaxed: hints.
    return termination_.idle_hint() > 0 || assistant_idle_.load(std::memory_order_relaxed);
  }
  // Whether a mutator assists. Relaxed: a hint.
  bool assisted() const { return assisting_.load(std::memory_order_relaxed) > 0; }
  // Relaxed: a hint, as above.
  void WantWorkToShare() { assistant_idle_.store(true, std::memory_order_relaxed); }
  // From here on several workers may forward.
  void Recruit();
  // In the deques or in stock, a moment ago.
  bool AnyWorkToShare() const;
  void RescanInPlace(Tracer& tracer);

  Spaces& spaces_;
  background::WorkerPool& pool_;
  const Options options_;
  std::vector<std::unique_ptr<Tracer>> tracers_;  // the workers', then the assistants'
  absl::Mutex assistants_mu_;
  std::vector<Tracer*> idle_assistants_ ABSL_GUARDED_BY(assistants_mu_);
  bool assistants_welcome_ ABSL_GUARDED_BY(assistants_mu_) = false;
  // An assistant has found nothing to do. Cleared where the next Drain begins, and by Finish: until
  // then workers share whenever their deques are empty, whether or not the assistant has come back.
  std::atomic<bool> assistant_idle_ = false;
  std::atomic<int> assisting_ = 0;  // mutators
  std::atomic<bool> abandoned_ = false;
  std::atomic<int64_t> scanned_in_place_ = 0;  // see there
  BlockOwners owners_;
  background::Termination termination_;
  size_t root_shares_ = 0;
  // Relaxed throughout: hands out shares of the roots, whose contents the pause has ordered.
  std::atomic<size_t> next_root_share_ = 0;
  // Set when an object without a from-space original could not be queued (see Tracer::PushSlow).
  // Relaxed: read when the helpers have been joined, and assisting mutators have shaken hands or
  // stopped.
  std::atomic<bool> rescan_ = false;
  EvacuationRules rules_;
  Freezer freezer_;
  GreyStock stock_;
  SharedGreys greys_;
  WeakReads weak_reads_;
  background::WorkerPool::Job* job_ = nullptr;  // of the Run in progress
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_TRACE_H_
