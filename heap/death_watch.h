// DeathWatch: who is told of objects that have been found dead while their memory is as it was.
// Design: docs/design/weak.md#death-watches

#ifndef EBB_HEAP_DEATH_WATCH_H_
#define EBB_HEAP_DEATH_WATCH_H_

#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "platform/fork.h"

namespace ebb::internal {

// Of objects that it knows by their addresses, and keeps alive no more than a Weak does.
class DeathWatch {
 public:
  // Where an object is now; 0 if it is dead. What is dead may be read until the call returns.
  using SurvivorOf = absl::FunctionRef<uintptr_t(uintptr_t object)>;
  // When a trace has ended, and nothing dead has been given back; by the thread that runs the
  // cycle, in a pause or beside running mutators, and beside the pauses of minor cycles.
  virtual void AfterTrace(SurvivorOf survivor_of) = 0;
  // The same of a minor cycle, in its pause: of those that were young.
  virtual void AfterMinorCycle(SurvivorOf survivor_of,
                               absl::FunctionRef<bool(uintptr_t object)> is_young) = 0;

 protected:
  ~DeathWatch() = default;
};

// Thread-safe; a watch is called under the lock, by several threads at once: the pause of a minor
// cycle does not wait until a trace has told of all objects.
class DeathWatches {
 public:
  void Add(DeathWatch& watch) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    watches_.push_back(&watch);
  }
  void Remove(DeathWatch& watch) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    std::erase(watches_, &watch);
  }
  bool empty() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::ReaderMutexLock lock(&mu_);
    return watches_.empty();
  }
  template <typename F>
  void ForEach(F f) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::ReaderMutexLock lock(&mu_);
    for (DeathWatch* watch : watches_) f(*watch);
  }
  void AtFork(platform::ForkStep step) { platform::LockAcrossFork(mu_, step); }

 private:
  mutable absl::Mutex mu_;
  std::vector<DeathWatch*> watches_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_DEATH_WATCH_H_
