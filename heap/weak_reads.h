// WeakReads: until when reading a weak reference saves what it names from a concurrent cycle.
// Design: docs/design/weak.md

#ifndef EBB_HEAP_WEAK_READS_H_
#define EBB_HEAP_WEAK_READS_H_

#include <atomic>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "copyspace/mutators_stopped.h"

namespace ebb::internal {

// inv.weak-read. A read that finds an object white greys it, and so may begin a trace again that
// has all but ended: the end of a trace and such reads exclude each other. Thread-safe, O(1); reads
// share the lock.
class WeakReads {
 public:
  WeakReads() = default;
  WeakReads(const WeakReads&) = delete;
  WeakReads& operator=(const WeakReads&) = delete;

  // By the thread that runs the cycle. In the pause of the flip: from here on reads save.
  void Begin(const copyspace::MutatorsStopped&) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    ended_ = false;
  }
  // Before the handshake that may be the last.
  void BeginRound() ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    saved_.store(false, std::memory_order_relaxed);  // under the lock
  }
  // After it: false if a read may have saved something since BeginRound. If true, what nobody has
  // forwarded or marked by now is garbage, and reads do not find it any more.
  bool TryEnd() ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    ended_ = !saved_.load(std::memory_order_relaxed);  // stored by holders of the lock
    return ended_;
  }

  // By a running mutator whose load barrier is armed: save(), or find() after the end.
  template <typename Save, typename Find>
  uintptr_t Read(Save save, Find find) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::ReaderMutexLock lock(&mu_);
    if (ended_) return find();
    saved_.store(true, std::memory_order_relaxed);  // the lock orders it before TryEnd
    return save();
  }

 private:
  absl::Mutex mu_;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  std::atomic<bool> saved_ = false;  // by readers, who share mu_
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_WEAK_READS_H_
