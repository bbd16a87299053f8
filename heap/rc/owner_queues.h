// OwnerQueues: the indices of threads that own cells, and for each a queue of references that other
// threads dropped. Design: docs/design/counting.md#queues

#ifndef EBB_HEAP_RC_OWNER_QUEUES_H_
#define EBB_HEAP_RC_OWNER_QUEUES_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "heap/rc/cell.h"
#include "heap/rc/local_slots.h"
#include "heap/rc/thread_index.h"
#include "platform/fork.h"

namespace ebb::rc::internal {

// Thread-safe; one for the process, never destroyed.
class OwnerQueues {
 public:
  // Threads beyond so many own nothing: all that they count is shared.
  static constexpr size_t kMaxThreads = size_t{1} << 14;

  // What is done with a cell that died as it was merged.
  using OnDead = absl::FunctionRef<void(Cell& cell)>;

  static OwnerQueues& Get();

  // Gives the calling thread an index, if it has none, and there is one and memory for it; nests.
  void Enter() ABSL_LOCKS_EXCLUDED(mu_);
  // The last one takes the index away. What is left in the queue is merged first.
  void Leave(OnDead on_dead) ABSL_LOCKS_EXCLUDED(mu_);

  // A reference of `cell` that its owner has to count, by another thread. If there is no thread of
  // that index, the cell is merged at once: kDead or kAlive, as of Cell::MergeQueued. If there is
  // no memory for the queue, the object becomes immortal.
  Cell::Outcome Push(ThreadIndex owner, Cell& cell);

  // Cells of which some may belong to a thread, which is to merge them as suspects.
  struct MergeRequest {
    std::vector<Cell*> cells;  // under the queue's lock, once it is requested
    absl::Notification done;
  };
  // For cycle detection: `owner` merges the cells as it drains its queue, some at a time, until
  // CancelMerge. If there is no such thread, they are merged at once: O(cells), but no lock is held
  // for more than some of them. May throw std::bad_alloc.
  void RequestMerge(ThreadIndex owner, std::shared_ptr<MergeRequest> request);
  // What has not been merged by now stays as it is. Before the table of the cells may be closed.
  void CancelMerge(ThreadIndex owner, MergeRequest& request);

  // The calling thread's; none if it has no index.
  static LocalSlots& Locals() {
    return this_threads_slots == nullptr ? LocalSlots::None() : *this_threads_slots;
  }
  // Calls f(cell) for each that an rc::Local names, of whichever thread and domain: see LocalSlots.
  // Nothing is known of the cell but its address.
  template <typename F>
  void ForEachNamed(F f) const;

  // Around a fork. In the child the threads that are not there have left, and what is in their
  // queues is for whoever has their index next.
  void AtFork(platform::ForkStep step);

  // Whether Drain has anything to do for the calling thread. One relaxed load.
  static bool IsDrainDue() {
    return this_queue != nullptr && this_queue->due.load(std::memory_order_relaxed);
  }
  // Merges what other threads have dropped of the calling thread's cells, and some of what it was
  // requested to. `on_dead` is called without a lock. O(what they dropped), and 1,024 merges.
  void Drain(OnDead on_dead);

 private:
  // One thread's.
  struct Queue {
    absl::Mutex mu;
    bool has_thread ABSL_GUARDED_BY(mu) = false;
    std::vector<Cell*> cells ABSL_GUARDED_BY(mu);
    std::vector<std::shared_ptr<MergeRequest>> requests ABSL_GUARDED_BY(mu);
    // Relaxed: a hint; what it hints at is read under the lock.
    std::atomic<bool> due = false;
    LocalSlots locals;
  };

  OwnerQueues() = default;
  Queue& QueueOf(ThreadIndex index);
  // Some of the calling thread's requests.
  void MergeRequested();
  // Some of the request's cells, under the lock of `owner`'s queue; whether that was all.
  static bool MergeSome(MergeRequest& request, ThreadIndex owner);
  // A new index, or kOwnsNothing.
  ThreadIndex MakeQueue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  static constinit thread_local Queue* this_queue;
  static constinit thread_local int entries;

  absl::Mutex mu_;
  std::vector<ThreadIndex> free_ ABSL_GUARDED_BY(mu_);
  size_t made_ ABSL_GUARDED_BY(mu_) = 0;  // so many of queues_
  // That of index 2 (i + 1) is element i; it is made once, and stays.
  std::array<std::atomic<Queue*>, kMaxThreads> queues_ = {};
};

template <typename F>
void OwnerQueues::ForEachNamed(F f) const {
  for (const std::atomic<Queue*>& place : queues_) {
    // Acquire: pairs with the release in MakeQueue; the payload is the queue. One that is not seen
    // is of a thread that had no Local before what is looked for lost a reference.
    const Queue* const queue = place.load(std::memory_order_acquire);
    if (queue == nullptr) return;
    queue->locals.ForEach(f);
  }
}

}  // namespace ebb::rc::internal

#endif  // EBB_HEAP_RC_OWNER_QUEUES_H_
