// CallbackTable: functions to be called when objects have died. Design:
// docs/design/finalization.md#callbacks

#ifndef EBB_HEAP_RC_CALLBACK_TABLE_H_
#define EBB_HEAP_RC_CALLBACK_TABLE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "heap/rc/cell.h"
#include "platform/fork.h"

namespace ebb::rc::internal {

// What is to be called once an object has died. It has a weak reference to the object's cell, which
// whoever takes it drops.
struct Callback {
  Callback(Cell& cell, absl::AnyInvocable<void() &&> call) : cell(cell), call(std::move(call)) {}

  // True for the one thread that may call it, or forget it. Relaxed: what it refers to was ordered
  // by the lock of the table that gave it out.
  bool Take() { return !taken.exchange(true, std::memory_order_relaxed); }

  Cell& cell;
  absl::AnyInvocable<void() &&> call;
  std::atomic<bool> taken = false;
  std::shared_ptr<Callback> next;  // in a CallbackList
};

// In the order in which they are to be called. Adding to it takes no memory.
class CallbackList {
 public:
  CallbackList() = default;
  CallbackList(CallbackList&& other) noexcept
      : first_(std::move(other.first_)), last_(other.last_), size_(std::exchange(other.size_, 0)) {}
  CallbackList& operator=(CallbackList&& other) = delete;
  ~CallbackList() {
    while (!empty()) Pop();  // not by recursion
  }

  bool empty() const { return first_ == nullptr; }
  int64_t size() const { return size_; }
  void PushFront(std::shared_ptr<Callback> callback);
  void Append(CallbackList list);
  std::shared_ptr<Callback> Pop();
  // O(length).
  void Remove(const Callback& callback);

 private:
  std::shared_ptr<Callback> first_;
  Callback* last_ = nullptr;  // undefined when empty
  int64_t size_ = 0;
};

// Thread-safe.
class CallbackTable {
 public:
  // Its cell gets a weak reference. May throw std::bad_alloc.
  void Add(std::shared_ptr<Callback> callback) ABSL_LOCKS_EXCLUDED(mu_);
  // It waits no more, if it did. O(callbacks of the same object).
  void Remove(const Callback& callback) ABSL_LOCKS_EXCLUDED(mu_);
  // Those of an object that has died, the newest first.
  CallbackList TakeOf(Cell& cell) ABSL_LOCKS_EXCLUDED(mu_);
  // Whether any waits. Relaxed, a hint: who adds one has a reference to its object, and the object
  // dies, for whoever asks then, after that reference has gone.
  bool empty() const { return size_.load(std::memory_order_relaxed) == 0; }

  void AtFork(platform::ForkStep step) { platform::LockAcrossFork(mu_, step); }

 private:
  void NoteSize() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  absl::Mutex mu_;
  absl::flat_hash_map<const Cell*, CallbackList> of_cell_ ABSL_GUARDED_BY(mu_);
  std::atomic<int64_t> size_ = 0;  // cells that have some
};

}  // namespace ebb::rc::internal

#endif  // EBB_HEAP_RC_CALLBACK_TABLE_H_
