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
  // The same, with `desired`, if it refers to `expected`. Else false, and `found`, counted for the
  // caller, is what it refers to.
  bool CompareExchange(const Cell* expected, Cell* desired, Cell*& found) {
    found = Lock();
    const bool same = found == expected;
    if (!same && found != nullptr) found->Retain();
    Unlock(same ? desired : found);
    return same;
  }

 private:
  static constexpr uintptr_t kLocked = 1;
  static constexpr int kSpins = 64;

  static uintptr_t BitsOf(Cell* cell) { return reinterpret_cast<uintptr_t>(cell); }

  Cell* Lock() const {
    for (int spins = 0;; ++spins) {
      // Relaxed: only to begin with.
      uintptr_t bits = bits_.load(std::memory_order_relaxed) & ~kLocked;
      // Acquire: pairs with the release in Unlock; the payload is the object, and its count.
      if (bits_.compare_exchange_weak(bits, bits | kLocked, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        return reinterpret_cast<Cell*>(bits);
      }
      if (spins >= kSpins) std::this_thread::yield();  // the holder may have no processor
    }
  }
  // Release: pairs with the acquires in Lock and Load.
  void Unlock(Cell* cell) const { bits_.store(BitsOf(cell), std::memory_order_release); }

  mutable std::atomic<uintptr_t> bits_ = 0;
};

}  // namespace internal

// A counted reference that any threads use at once, attached or not. Each operation is one atomic
// step, and who loads what another thread stored sees all that that thread did before. Costs,
// beside counting: two atomic changes of the reference, which is locked in between; a load of null,
// none.
template <typename T, bool kIsInObject>
class AtomicPlace {
 public:
  AtomicPlace() = default;
  AtomicPlace(std::nullptr_t) {}  // NOLINT: implicit, as for any pointer
  AtomicPlace(Ptr<T> object)      // NOLINT: implicit, as of std::atomic
      : reference_(Counted::Disown(std::move(object))) {}
  AtomicPlace(const AtomicPlace&) = delete;
  ~AtomicPlace() { store(nullptr); }

  Ptr<T> load() const { return Counted::Adopt(reference_.Load()); }
  operator Ptr<T>() const { return load(); }  // NOLINT: implicit, as of std::atomic
  void store(Ptr<T> object) {
    // What was referred to goes when the place is as it is to be.
    Ptr<T>(Counted::Adopt(reference_.Exchange(Counted::Disown(std::move(object)))));
  }
  AtomicPlace& operator=(const AtomicPlace&) = delete;
  AtomicPlace& operator=(std::nullptr_t) {
    store(nullptr);
    return *this;
  }
  AtomicPlace& operator=(Ptr<T> object) {
    store(std::move(object));
    return *this;
  }
  Ptr<T> exchange(Ptr<T> object) {
    Ptr<T> before(Counted::Adopt(reference_.Exchange(Counted::Disown(std::move(object)))));
    // inv.field-moves: copied, and dropped.
    if constexpr (kIsInObject) return Ptr<T>(std::as_const(before));
    return before;
  }
  // If it refers to the same object as `expected`, refers to `desired` from here on. Else false,
  // and `expected` is what it refers to. Never fails without a reason.
  bool compare_exchange(Ptr<T>& expected, Ptr<T> desired) {
    Cell* found;
    const bool same = reference_.CompareExchange(expected.cell(), desired.cell(), found);
    Ptr<T> before(Counted::Adopt(found));
    if (same) {
      Counted::Disown(std::move(desired));
    } else {
      expected = std::move(before);
    }
    return same;
  }

 private:
  using Cell = internal::Cell;
  using Counted = internal::Reference<T>;

  internal::AtomicReference reference_;
};

// Outside of counted objects: a global, a member of an ordinary class. For detections it is a
// reference from outside, as a Ptr is.
template <typename T>
using AtomicPtr = AtomicPlace<T, false>;
// A member of a counted object: what a Field is, for places that several threads change at once.
template <typename T>
using AtomicField = AtomicPlace<T, true>;

}  // namespace ebb::rc

template <typename T, bool kIsInObject>
inline constexpr bool ebb::kTriviallyRelocatable<ebb::rc::AtomicPlace<T, kIsInObject>> = true;
template <typename T, bool kIsInObject>
inline constexpr bool ebb::internal::kIsCounting<ebb::rc::AtomicPlace<T, kIsInObject>> = true;
template <typename T>
inline constexpr bool ebb::rc::internal::kIsField<ebb::rc::AtomicField<T>> = true;

#endif  // EBB_HEAP_RC_ATOMIC_PTR_H_
