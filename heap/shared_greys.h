// SharedGreys: grey objects that mutators hand over to the workers of a concurrent trace.
// Design: docs/design/concurrent.md#grey-objects

#ifndef EBB_HEAP_SHARED_GREYS_H_
#define EBB_HEAP_SHARED_GREYS_H_

#include <array>
#include <atomic>
#include <cstddef>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "copyspace/geometry.h"

namespace ebb::internal {

// Copies that are not yet scanned, by way of their dead originals: an original's header leads to
// its copy, and the first word of its payload to the next original. So a chain needs no memory, and
// has no limit. Only the thread that evacuated an object may link its original: nobody else reads
// it.
class GreyChain {
 public:
  bool empty() const { return head_ == 0; }
  copyspace::Reference head() const { return head_; }
  void Push(copyspace::Reference original) {
    Next(original) = head_;
    if (head_ == 0) tail_ = original;
    head_ = original;
  }
  // The most recent original.
  copyspace::Reference Pop() {
    const copyspace::Reference original = head_;
    head_ = Next(original);
    return original;
  }
  // Puts `other` in front. O(1).
  void Splice(GreyChain other) {
    if (other.empty()) return;
    Next(other.tail_) = head_;
    if (head_ == 0) tail_ = other.tail_;
    head_ = other.head_;
  }

 private:
  static copyspace::Reference& Next(copyspace::Reference original) {
    return *reinterpret_cast<copyspace::Reference*>(original);
  }

  copyspace::Reference head_ = 0;
  copyspace::Reference tail_ = 0;  // if not empty
};

// Thread-safe.
class SharedGreys {
 public:
  void Add(GreyChain chain) ABSL_LOCKS_EXCLUDED(mu_);
  // An object that was marked or retained where it is. When there is no room, only overflowed()
  // tells: all such objects must be scanned again.
  void AddInPlace(copyspace::Reference object) ABSL_LOCKS_EXCLUDED(mu_);

  // All copies there are.
  GreyChain TakeChain() ABSL_LOCKS_EXCLUDED(mu_);
  // An object that was added in place; 0 if there is none.
  copyspace::Reference TakeInPlace() ABSL_LOCKS_EXCLUDED(mu_);

  // Whether there was anything a moment ago. Relaxed: what is taken is published by the lock.
  bool empty_hint() const { return count_.load(std::memory_order_relaxed) == 0; }
  // An object found no room since the last ClearOverflow. Relaxed: read when mutators have stopped,
  // or have shaken hands.
  bool overflowed() const { return overflowed_.load(std::memory_order_relaxed); }
  void ClearOverflow() { overflowed_.store(false, std::memory_order_relaxed); }

 private:
  static constexpr size_t kMostInPlace = 4096;

  // After each change of what there is.
  void UpdateCount() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  absl::Mutex mu_;
  GreyChain chain_ ABSL_GUARDED_BY(mu_);
  std::array<copyspace::Reference, kMostInPlace> in_place_ ABSL_GUARDED_BY(mu_);
  size_t in_place_count_ ABSL_GUARDED_BY(mu_) = 0;
  // 0 if empty; written under mu_.
  std::atomic<size_t> count_ = 0;
  std::atomic<bool> overflowed_ = false;
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_SHARED_GREYS_H_
