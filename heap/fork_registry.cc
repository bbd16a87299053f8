#include "heap/fork_registry.h"

#include <atomic>
#include <utility>

#include "absl/log/log.h"
#include "background/worker_pools.h"
#include "heap/heap_core.h"
#include "heap/mutator.h"
#include "heap/root_table.h"
#include "platform/thread.h"

namespace ebb::internal {

using platform::ForkStep;
using platform::LockAcrossFork;

namespace {

// Whether Before has stopped the heaps for the fork that the calling thread is in.
constinit thread_local bool stopped_for_fork = false;

// Relaxed: written in a child that has one thread.
constinit std::atomic<bool> heaps_are_lost = false;

}  // namespace

ForkRegistry& ForkRegistry::Get() {
  static ForkRegistry& registry = *new ForkRegistry;
  return registry;
}

ForkRegistry::ForkRegistry() {
  absl::Status status = platform::AddForkHandler<AtFork>();
  LOG_IF(WARNING, !status.ok()) << "a forked child must not use its heaps: " << status;
}

absl::Status ForkRegistry::CheckHeapsAreSound() {
  // Relaxed: see heaps_are_lost.
  if (!heaps_are_lost.load(std::memory_order_relaxed)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "this process was forked in a NoSafepoint scope, or in an exhaustion handler, where its "
      "heaps could not be stopped: it may call exec or _exit, and read what it holds");
}

void ForkRegistry::Add(const std::shared_ptr<HeapCore>& heap) {
  absl::MutexLock lock(&list_mu_);
  std::erase_if(heaps_, [](const std::weak_ptr<HeapCore>& other) { return other.expired(); });
  heaps_.push_back(heap);
  ++additions_;
}

void ForkRegistry::AddHook(void (*hook)(ForkStep)) {
  absl::MutexLock lock(&list_mu_);
  hooks_.push_back(hook);
}

int64_t ForkRegistry::Snapshot() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  stopped_.clear();  // may be the end of a heap
  absl::MutexLock lock(&list_mu_);
  for (const std::weak_ptr<HeapCore>& weak : heaps_) {
    if (std::shared_ptr<HeapCore> heap = weak.lock()) stopped_.push_back(std::move(heap));
  }
  return additions_;
}

void ForkRegistry::AtFork(ForkStep step) {
  ForkRegistry& registry = Get();
  switch (step) {
    case ForkStep::kBefore:
      registry.Before();
      return;
    case ForkStep::kInParent:
      break;
    case ForkStep::kInChild:
      // Relaxed: see heaps_are_lost.
      if (!stopped_for_fork) heaps_are_lost.store(true, std::memory_order_relaxed);
      break;
  }
  if (std::exchange(stopped_for_fork, false)) registry.After(step);
}

// All turns before the first pause: a thread that has the turn of one heap may wait until it may
// run in another.
void ForkRegistry::StopAll() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  for (const auto& heap : stopped_) heap->TakeTurnForFork();
  for (const auto& heap : stopped_) heap->safepoints().BeginPauseForFork();
}

void ForkRegistry::ResumeAll(ForkStep step) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  for (const auto& heap : stopped_) heap->safepoints().EndPauseForFork();
  for (const auto& heap : stopped_) heap->ReturnTurnAfterFork(step);
}

void ForkRegistry::Before() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (!Mutator::CheckThreadMayStop("fork").ok()) return;  // the child may still exec
  // inv.park-all: from here until the end the thread runs in no heap.
  Mutator::ParkThread(/*except=*/nullptr);
  fork_mu_.Lock();
  for (;;) {
    const int64_t additions = Snapshot();
    StopAll();
    list_mu_.Lock();
    // A heap that was made meanwhile: its turn must not be waited for in the others' pauses.
    if (additions_ == additions) break;
    list_mu_.Unlock();
    ResumeAll(ForkStep::kInParent);
  }
  // In the order of docs/design/fork.md. Nobody who holds one of these waits for what is held here.
  for (const auto& heap : stopped_) heap->WatchersAtFork(ForkStep::kBefore);
  for (const auto& hook : hooks_) hook(ForkStep::kBefore);
  RootTable::AllAtFork(ForkStep::kBefore);
  for (const auto& heap : stopped_) heap->AtFork(ForkStep::kBefore);
  background::WorkerPools::Get().AtFork(ForkStep::kBefore);
  platform::Thread::AllAtFork(ForkStep::kBefore);
  stopped_for_fork = true;
}

void ForkRegistry::After(ForkStep step) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  platform::Thread::AllAtFork(step);
  background::WorkerPools::Get().AtFork(step);
  for (const auto& heap : stopped_) heap->AtFork(step);
  RootTable::AllAtFork(step);
  // inv.fork-stacks: before any thread is started, which might get the stack of one that is gone.
  for (const auto& hook : hooks_) hook(step);
  for (const auto& heap : stopped_) heap->WatchersAtFork(step);
  LockAcrossFork(list_mu_, step);
  if (step == ForkStep::kInChild) {
    for (const auto& heap : stopped_) heap->AbandonMutatorsInChild();
  }
  ResumeAll(step);
  std::vector<std::shared_ptr<HeapCore>> heaps = std::move(stopped_);
  stopped_.clear();
  heaps.clear();  // the end of those that nobody else owns; before another thread may fork
  LockAcrossFork(fork_mu_, step);
  Mutator::UnparkThread();
}

}  // namespace ebb::internal
