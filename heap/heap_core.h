// HeapCore: what is behind a Heap. It lives until the Heap and the last Mutator are gone.
// Design: docs/design/heap.md

#ifndef EBB_HEAP_HEAP_CORE_H_
#define EBB_HEAP_HEAP_CORE_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "background/background_thread.h"
#include "background/worker_pool.h"
#include "heap/balance.h"
#include "heap/cleanups.h"
#include "heap/job_thread.h"
#include "heap/concurrent_cycle.h"
#include "heap/cycle.h"
#include "heap/death_watch.h"
#include "heap/evacuator.h"
#include "heap/external_memory.h"
#include "heap/generations.h"
#include "heap/heap.h"
#include "heap/heap_limit.h"
#include "heap/mutator_forwarder.h"
#include "heap/options.h"
#include "heap/pacer.h"
#include "heap/root_table.h"
#include "heap/safepoints.h"
#include "heap/spaces.h"
#include "heap/stopped_heap.h"
#include "platform/fork.h"

namespace ebb::internal {

class HeapCore {
 public:
  // `options` are valid; defaults are not yet filled in.
  static absl::StatusOr<std::shared_ptr<HeapCore>> Create(Options options);
  ~HeapCore();
  HeapCore(const HeapCore&) = delete;
  HeapCore& operator=(const HeapCore&) = delete;

  const Options& options() const { return options_; }
  Safepoints& safepoints() { return safepoints_; }
  Spaces& spaces() { return *spaces_; }
  RootTable& roots() { return *roots_; }
  RootTable& weak_roots() { return *weak_roots_; }
  Trace& trace() { return cycle_->trace(); }

  Cleanups& cleanups() { return cleanups_; }
  DeathWatches& watches() { return watches_; }

  // The Heap itself has gone: Persistents and Weaks read as null.
  void ClearRoots() {
    roots_->Clear();
    weak_roots_->Clear();
  }

  // Null without generations.
  RememberedSet* remembered() {
    return generations_ != nullptr ? &generations_->remembered() : nullptr;
  }
  // For a new mutator of a heap whose cycles are concurrent; else null.
  std::unique_ptr<MutatorForwarder> NewForwarder();
  Balance& balance() { return *balance_; }
  // What mutators have evacuated, by way of their forwarders.
  void AddEvacuationCounts(const EvacuationCounts& counts);
  // What a mutator has allocated in the copy space, when it is known.
  void AddAllocated(platform::Bytes bytes) { balance_->AddAllocated(bytes); }
  // A fresh region for the mutator's allocator, with room for `bytes`.
  absl::Status Refill(Mutator& mutator, size_t bytes);
  // `mutator` has taken a fresh region, or is about to allocate in place: the next cycle may be
  // due, or the one that runs late.
  void Pace(Mutator& mutator);

  const ExternalMemory& external() const { return external_; }
  absl::Status ReportExternal(int64_t bytes);
  // At a safepoint of `self`, before it allocates: where what objects hold outside has grown too
  // far, runs a cycle, or waits until one begins.
  void CollectForExternal(Mutator& self);

  // As of Heap. `self` is the calling thread's running mutator, or null.
  absl::Status Collect(Mutator* self);
  absl::Status CollectMinor(Mutator* self);
  absl::Status Freeze(Mutator* self);
  absl::Status Verify(Mutator* self);
  absl::Status RunBetweenCycles(Mutator* self, absl::FunctionRef<absl::Status(StoppedHeap&)> act);
  absl::Status SetMaxBytes(int64_t max_bytes);
  absl::Status Trim();
  HeapStats stats() const;
  int64_t max_bytes() const { return limit_->max_bytes().count(); }
  platform::System& system() { return system_; }

  // Around a fork, by ForkRegistry, for a thread that runs in no heap: see docs/design/fork.md. No
  // concurrent cycle runs between the first two.
  void TakeTurnForFork();
  void ReturnTurnAfterFork(platform::ForkStep step);
  // The first locks, and the last: with them others' are taken, of whoever is told of pauses and of
  // deaths.
  void WatchersAtFork(platform::ForkStep step);
  void AtFork(platform::ForkStep step);
  // In the child, when all heaps' locks are sound again. What mutators of threads that are not
  // there have held stays alive for good, by way of Persistents.
  void AbandonMutatorsInChild();

  // What `attempt` returns, called again after a cycle and after asking the exhaustion handler for
  // as long as it fails; `attempt` may be called inside a pause. `bytes` is for messages; `moves`:
  // where objects move, so that a minor cycle may help.
  using Attempt = absl::FunctionRef<absl::StatusOr<uintptr_t>()>;
  absl::StatusOr<uintptr_t> Allocate(Mutator& self, size_t bytes, bool moves, Attempt attempt);

 private:
  explicit HeapCore(Options options);

  // The right to stop mutators: of one thread at a time, while cycles are concurrent. A thread that
  // waits for it runs in no heap.
  class Turn {
   public:
    explicit Turn(HeapCore& core);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    HeapCore& core_;
  };

  absl::Status Start();
  void StartBackground();
  void StartCollector();
  // One cycle, or what else is run like one, in `pause`; errors as of Cycle::Run.
  using HowToRun = absl::StatusOr<CycleResult> (Cycle::*)(const Safepoints::Pause&);
  absl::Status RunCycle(const Safepoints::Pause& pause, HowToRun how);
  // By the collector thread.
  void RunConcurrentCycle();
  // A cycle of the collector thread's that began after this call. The thread runs in no heap
  // meanwhile.
  absl::Status AwaitConcurrentCycle();
  // After each pause of a concurrent cycle.
  void NotePause(int64_t nanos);
  // Asks for a cycle, if external memory has grown so far.
  void LookAtExternal();
  // Evacuates for a bounded time; false if there was nothing to be had.
  bool Assist(Mutator& self, platform::Bytes most);
  // Raises a limit above `limit`, if only a policy has set it. Else assists, and while there is
  // nothing to be had waits, until a flip or the end of a cycle after the `seen`th: a safepoint.
  void Stall(Mutator& self, int64_t seen, platform::Bytes limit, platform::Bytes wanted);
  // Assists for a while; where there is nothing to be had, waits for it, or for the `seen`th
  // NoteRoom to be followed by another: whether it was. A safepoint.
  bool AssistOrAwaitRoom(Mutator& self, int64_t seen);
  void NoteStall(int64_t nanos, bool has_flipped);
  // `evacuated` and `nanos`: by the cycle, and how long it took.
  void NoteCycle(const CycleResult& result, int64_t evacuated, int64_t nanos);
  int64_t evacuated_bytes() const;  // in all
  // Whether a collector thread runs the cycles. In a forked child it may have to be started.
  bool EnsureCollector();
  platform::Bytes allocated_bytes() const { return balance_->allocated_bytes(); }
  void AddToTotals(const EvacuationCounts& counts);
  // Gives back what the last cycle found to give back, outside of the pause.
  void ReleaseGarbage();
  // `wanted`: of the heap's limit. `try_again` makes an attempt outside of pauses, `attempt`
  // inside.
  absl::StatusOr<uintptr_t> CollectAndRetry(Mutator& self, platform::Bytes wanted,
                                            Attempt try_again, Attempt attempt);
  // `attempt`, and if that fails once more after a minor cycle.
  absl::StatusOr<uintptr_t> TryWithMinorCycle(Mutator& self, Attempt attempt);
  void RunMinor(const Safepoints::Pause& pause);
  // True if `attempt` is to be made once more.
  bool AskHandler(Mutator& self, size_t bytes, int times_asked);
  absl::Status Exhausted(size_t bytes, absl::string_view why) const;

  const Options options_;
  platform::System& system_;
  Safepoints safepoints_;
  RootTable* const roots_;       // owns itself: see RootTable::Disown
  RootTable* const weak_roots_;  // likewise
  Cleanups cleanups_;
  DeathWatches watches_;
  std::unique_ptr<Spaces> spaces_;
  std::unique_ptr<Balance> balance_;
  std::unique_ptr<Generations> generations_;  // null unless the collector is generational
  ExternalMemory external_;
  std::unique_ptr<HeapLimit> limit_;
  std::shared_ptr<background::WorkerPool> pool_;  // shared with other heaps
  std::unique_ptr<Cycle> cycle_;
  std::unique_ptr<Pacer> pacer_;
  std::unique_ptr<ConcurrentCycle> concurrent_cycle_;

  // Cycles run. Written by the thread whose turn it is, read by anybody. Relaxed: a count that
  // publishes nothing; what a cycle did is published by its pauses, handshakes and locks.
  std::atomic<int64_t> cycles_ = 0;
  std::atomic<int64_t> exhaustions_ = 0;        // relaxed likewise
  std::atomic<int64_t> page_out_failures_ = 0;  // relaxed likewise

  absl::Mutex turn_;  // see Turn

  mutable absl::Mutex stats_mu_;
  HeapStats totals_ ABSL_GUARDED_BY(stats_mu_);
  absl::Status last_concurrent_status_ ABSL_GUARDED_BY(stats_mu_);

  // Last, so that they end before what they use.
  std::unique_ptr<background::BackgroundThread> background_;
  std::unique_ptr<JobThread> collector_;  // null: cycles are not concurrent
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_HEAP_CORE_H_
