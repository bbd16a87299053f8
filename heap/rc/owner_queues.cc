#include "heap/rc/owner_queues.h"

#include <new>
#include <utility>

#include "absl/log/check.h"
#include "absl/log/log.h"

namespace ebb::rc::internal {

namespace {

// So many suspects a thread merges at a time: some ten microseconds.
constexpr int kMergesAtOnce = 1024;

}  // namespace

constinit thread_local OwnerQueues::Queue* OwnerQueues::this_queue = nullptr;
constinit thread_local int OwnerQueues::entries = 0;
constinit thread_local LocalSlots* this_threads_slots = nullptr;

OwnerQueues& OwnerQueues::Get() {
  static OwnerQueues& queues = *new OwnerQueues;  // never destroyed: threads may outlive main
  return queues;
}

OwnerQueues::Queue& OwnerQueues::QueueOf(ThreadIndex index) {
  DCHECK_LE(index / 2 - 1, kMaxThreads - 1);  // inv.owner-holds
  // Acquire: pairs with the release in MakeQueue; the payload is the queue.
  return *queues_[index / 2 - 1].load(std::memory_order_acquire);
}

void OwnerQueues::Enter() {
  if (entries++ > 0) return;
  ThreadIndex index = kOwnsNothing;
  {
    absl::MutexLock lock(&mu_);
    if (!free_.empty()) {
      index = free_.back();
      free_.pop_back();
    } else if (made_ < kMaxThreads) {
      index = MakeQueue();
    }
  }
  if (index == kOwnsNothing) return;
  this_queue = &QueueOf(index);
  this_threads_slots = &this_queue->locals;
  absl::MutexLock lock(&this_queue->mu);
  this_queue->has_thread = true;
  this_thread = index;
}

ThreadIndex OwnerQueues::MakeQueue() {
  try {
    free_.reserve(made_ + 1);  // Leave needs no memory
    auto* queue = new Queue;
    // Release: pairs with the acquire in QueueOf; the payload is the queue.
    queues_[made_].store(queue, std::memory_order_release);
    return static_cast<ThreadIndex>(2 * ++made_);
  } catch (const std::bad_alloc&) {
    return kOwnsNothing;  // right, if slower
  }
}

void OwnerQueues::Leave(OnDead on_dead) {
  if (entries > 1 || this_queue == nullptr) {
    --entries;
    return;
  }
  Queue& queue = *this_queue;
  queue.locals.Leave();
  // Until nothing has come in the meantime: what dies may drop more.
  for (bool empty = false; !empty;) {
    Drain(on_dead);
    absl::MutexLock lock(&queue.mu);
    empty = queue.cells.empty() && queue.requests.empty();
    if (empty) queue.has_thread = false;
  }
  const ThreadIndex index = std::exchange(this_thread, kOwnsNothing);
  this_queue = nullptr;
  this_threads_slots = nullptr;
  --entries;
  absl::MutexLock lock(&mu_);
  free_.push_back(index);
}

Cell::Outcome OwnerQueues::Push(ThreadIndex owner, Cell& cell) {
  Queue& queue = QueueOf(owner);
  absl::MutexLock lock(&queue.mu);
  // The lock orders this after all that the thread did with its counts before it left, and before
  // all that the next one of this index does.
  if (!queue.has_thread) return cell.MergeQueued(owner);
  try {
    queue.cells.push_back(&cell);
  } catch (const std::bad_alloc&) {
    LOG_FIRST_N(ERROR, 1) << "ebb::rc: no memory to tell a thread that a reference to an object of "
                             "its own has been dropped by another: the object stays alive for good";
    cell.MakeImmortal();
    return Cell::Outcome::kAlive;
  }
  queue.due.store(true, std::memory_order_relaxed);  // a hint
  return Cell::Outcome::kAlive;
}

void OwnerQueues::RequestMerge(ThreadIndex owner, std::shared_ptr<MergeRequest> request) {
  // Acquire: as in QueueOf. Nothing orders this thread after the one that made the queue, whose
  // index it has found in a cell: it may not see it yet.
  Queue* const queue = queues_[owner / 2 - 1].load(std::memory_order_acquire);
  if (queue == nullptr) return request->done.Notify();
  for (bool done = false; !done;) {
    absl::MutexLock lock(&queue->mu);
    if (queue->has_thread) {
      queue->requests.push_back(std::move(request));
      queue->due.store(true, std::memory_order_relaxed);  // a hint
      return;
    }
    done = MergeSome(*request, owner);  // ordered as in Push
  }
}

void OwnerQueues::CancelMerge(ThreadIndex owner, MergeRequest& request) {
  Queue* const queue = queues_[owner / 2 - 1].load(std::memory_order_acquire);  // as above
  if (queue == nullptr) return;
  absl::MutexLock lock(&queue->mu);
  request.cells.clear();
}

bool OwnerQueues::MergeSome(MergeRequest& request, ThreadIndex owner) {
  for (int i = 0; i < kMergesAtOnce && !request.cells.empty(); ++i) {
    request.cells.back()->MergeSuspect(owner);
    request.cells.pop_back();
  }
  if (!request.cells.empty()) return false;
  request.done.Notify();
  return true;
}

void OwnerQueues::MergeRequested() {
  Queue& queue = *this_queue;
  absl::MutexLock lock(&queue.mu);
  if (queue.requests.empty()) return;
  if (MergeSome(*queue.requests.back(), this_thread)) queue.requests.pop_back();
  if (!queue.requests.empty()) queue.due.store(true, std::memory_order_relaxed);  // a hint
}

void OwnerQueues::AtFork(platform::ForkStep step) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (step == platform::ForkStep::kBefore) platform::LockAcrossFork(mu_, step);
  for (size_t i = 0; i < made_; ++i) {
    Queue& queue = QueueOf(static_cast<ThreadIndex>(2 * (i + 1)));
    if (step == platform::ForkStep::kInChild) {
      queue.requests.clear();  // who made them is not there
      if (&queue != this_queue && std::exchange(queue.has_thread, false)) {
        queue.locals.Leave();  // what they name, they name for good
        free_.push_back(static_cast<ThreadIndex>(2 * (i + 1)));
      }
    }
    platform::LockAcrossFork(queue.mu, step);
  }
  if (step != platform::ForkStep::kBefore) platform::LockAcrossFork(mu_, step);
}

void OwnerQueues::Drain(OnDead on_dead) {
  if (!IsDrainDue()) return;
  Queue& queue = *this_queue;
  const ThreadIndex index = this_thread;
  std::vector<Cell*> cells;
  {
    absl::MutexLock lock(&queue.mu);
    cells.swap(queue.cells);
    queue.due.store(false, std::memory_order_relaxed);  // a hint
  }
  for (Cell* cell : cells) {
    if (cell->MergeQueued(index) == Cell::Outcome::kDead) on_dead(*cell);
  }
  MergeRequested();
}

}  // namespace ebb::rc::internal
