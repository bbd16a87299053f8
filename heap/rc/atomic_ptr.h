// rc::AtomicPtr<T>, rc::AtomicField<T>: counted references that several threads load and store at
// once. Design: docs/design/counting.md#atomic-references

#ifndef EBB_HEAP_RC_ATOMIC_PTR_H_
#define EBB_HEAP_RC_ATOMIC_PTR_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <utility>

#include "heap/rc/cell.h"
#include "heap/rc/counted_type.h"
#include "heap/rc/ptr.h"
#include "heap/rc/reference.h"
#include "heap/reflect.h"

namespace ebb::rc {

namespace internal {

// The cell's address, and in its lowest bit a lock: whoever copies the reference must be sure that
// nobody drops it before it is counted. The lock is held for a few instructions, none of which is a
// safepoint.
class AtomicReference {
 public:
  AtomicReference() = default;
  // A reference that is counted already.
  explicit AtomicReference(Cell* cell) : bits_(BitsOf(cell)) {}
  AtomicReference(const AtomicReference&) = delete;
  AtomicReference& operator=(const AtomicReference&) = delete;

  // Counted for the caller.
  Cell* Load() const {
    // Acquire: as in Lock. Null needs no lock.
    if (bits_.load(std::memory_order_acquire) == 0) return nullptr;
    Cell* const cell = Lock();
    if (cell != nullptr) cell->Retain();
    Unlock(cell);
    return cell;
  }
  // Takes a counted reference, and gives that which was there.
  Cell* Exchange(Cell* cell) {
    Cell* const before = Lock();
    Unlock(cell);
    return before;
  }
  // The same if it refers to `expected`. Else false, and `cell` is a counted reference to what was
  // there.
  bool CompareExchange(const Cell* expected, Cell*& cell) {
    Cell* const before = Lock();
    if (before == expected) {
      Unlock(std::exchange(cell, before));
      return true;
    }
    if (before != nullptr) before->Retain();
    Unlock(before);
    cell = before;
    return false;
  }

 private:
  static constexpr uintptr_t kLocked = 1;
  static constexpr int kSpins = 64;

  static uintptr_t BitsOf(Cell* cell) { return reinterpret_cast<uintptr_t>(cell); }

  Cell* Lock() const {
    for (int spins = 0;; ++spins) {
      uintptr_t bits = bits_.load(std::memory_order_relaxed) & ~kLocked;
      // Acquire: pairs with the release in Unlock; the payload is the object, and its count.
      if (bits_.compare_exchange_weak(bits, bits | kLocked, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        return reinterpret_cast<Cell*>(bits);
      }
      if (spins >= kSpins) std::this_thread::yield();  // the holder may have no processor
    }
  }
  void Unlock(Cell* cell) const { bits_.store(BitsOf(cell), std::memory_order_release); }

  mutable std::atomic<uintptr_t> bits_ = 0;
};

}  // namespace internal

// A place outside of counted objects (a global, a member of an ordinary class) that holds a Ptr<T>,
// and that any threads use at once, attached or not. Each operation is one atomic step: who loads
// what another thread stored sees all that that thread did before. Each takes and gives back a lock
// in the place's own word: two atomic changes, and those of the counts.
template <typename T>
class AtomicPtr {
 public:
  AtomicPtr() = default;
  AtomicPtr(std::nullptr_t) {}  // NOLINT: implicit, as for any pointer
  AtomicPtr(Ptr<T> object)      // NOLINT: implicit, as std::atomic
      : reference_(internal::Reference<T>::Disown(std::move(object))) {}
  ~AtomicPtr() { exchange(nullptr); }

  Ptr<T> load() const { return internal::Reference<T>::Adopt(reference_.Load()); }
  operator Ptr<T>() const { return load(); }  // NOLINT: implicit, as std::atomic
  void store(Ptr<T> object) { exchange(std::move(object)); }
  AtomicPtr& operator=(Ptr<T> object) {
    store(std::move(object));
    return *this;
  }
  Ptr<T> exchange(Ptr<T> object) {
    return internal::Reference<T>::Adopt(
        reference_.Exchange(internal::Reference<T>::Disown(std::move(object))));
  }
  // If it refers to the same object as `expected`, refers to `desired` from here on. Else false,
  // and `expected` is what it refers to.
  bool compare_exchange(Ptr<T>& expected, Ptr<T> desired) {
    internal::Cell* cell = internal::Reference<T>::Disown(std::move(desired));
    const bool same = reference_.CompareExchange(expected.cell(), cell);
    // `desired` is not used then; what has come in its place is.
    Ptr<T> other(internal::Reference<T>::Adopt(cell));
    if (!same) expected = std::move(other);
    return same;
  }

 private:
  internal::AtomicReference reference_;
};

}  // namespace ebb::rc

#endif  // EBB_HEAP_RC_ATOMIC_PTR_H_
