// ForkRegistry: the heaps of this process, and what is done with them around a fork, so that they
// work in the child too. Design: docs/design/fork.md

#ifndef EBB_HEAP_FORK_REGISTRY_H_
#define EBB_HEAP_FORK_REGISTRY_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "platform/fork.h"

namespace ebb::internal {

class HeapCore;

// Thread-safe; one for the process, never destroyed.
class ForkRegistry {
 public:
  static ForkRegistry& Get();

  // From here on the heap is seen to, as long as it lives.
  void Add(const std::shared_ptr<HeapCore>& heap) ABSL_LOCKS_EXCLUDED(list_mu_);

  // From here on `hook` is called around each fork, while all heaps are stopped: before their own
  // locks are held, and when they are no longer. For what is built upon heaps.
  void AddHook(void (*hook)(platform::ForkStep)) ABSL_LOCKS_EXCLUDED(list_mu_);

  // FailedPrecondition in a child whose heaps could not be seen to, since it was forked in a
  // NoSafepoint scope.
  static absl::Status CheckHeapsAreSound();

 private:
  ForkRegistry();

  static void AtFork(platform::ForkStep step);
  void Before();
  void After(platform::ForkStep step);

  // Heaps that are there now, and how many there ever were.
  int64_t Snapshot() ABSL_LOCKS_EXCLUDED(list_mu_);
  void StopAll();
  void ResumeAll(platform::ForkStep step);

  // Held around a fork: of several at a time, one is under way.
  absl::Mutex fork_mu_;
  std::vector<std::shared_ptr<HeapCore>> stopped_ ABSL_GUARDED_BY(fork_mu_);

  absl::Mutex list_mu_ ABSL_ACQUIRED_AFTER(fork_mu_);
  std::vector<std::weak_ptr<HeapCore>> heaps_ ABSL_GUARDED_BY(list_mu_);
  std::vector<void (*)(platform::ForkStep)> hooks_ ABSL_GUARDED_BY(list_mu_);
  int64_t additions_ ABSL_GUARDED_BY(list_mu_) = 0;
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_FORK_REGISTRY_H_
