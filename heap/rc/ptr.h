// rc::Ptr<T>, rc::Field<T>, rc::MakePtr: counted references, and the objects they count.
// Design: docs/design/counting.md

#ifndef EBB_HEAP_RC_PTR_H_
#define EBB_HEAP_RC_PTR_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/statusor.h"
#include "heap/local.h"
#include "heap/mutator.h"
#include "heap/rc/counted_type.h"
#include "heap/rc/owner.h"
#include "heap/rc/reference.h"
#include "heap/reflect.h"

namespace ebb::rc {

template <typename T>
class Field;
template <typename T>
class Local;

// A counted reference, of 8 bytes, null at first: its object is destroyed when the last of them
// goes. Usable anywhere: on the stack, in containers, as a member, across threads. Any thread may
// copy, move and drop one, attached or not; as with std::shared_ptr, one Ptr that several threads
// use at once needs a lock if one of them changes it, different Ptrs to one object need none.
//
// The object moves with the heap's cycles: what get, -> and * return is good until the thread's
// next safepoint. They are for threads with a Mutator of the heap.
//
// In an object that is itself counted, use a Field: cycle detection takes every Ptr for a reference
// from outside, so one in an object keeps its cycle alive for ever.
//
// Copying and dropping: a few instructions without atomics on the thread that made the object, one
// atomic one on others. T may be incomplete where a Ptr<T> is named.
template <typename T>
class Ptr : public internal::Reference<T> {
 public:
  Ptr() = default;
  Ptr(std::nullptr_t) {}  // NOLINT: implicit, as for any pointer
  template <typename U>
    requires std::is_convertible_v<U*, T*>
  Ptr(const internal::Reference<U>& other)  // NOLINT: implicit, as for any pointer
      : internal::Reference<T>(other) {}
  template <typename U>
    requires std::is_convertible_v<U*, T*>
  Ptr(internal::Reference<U>&& other) noexcept  // NOLINT: implicit
      : internal::Reference<T>(std::move(other)) {}
  // Out of a Field, which is null then. A copy and a drop: inv.field-moves.
  template <typename U>
    requires std::is_convertible_v<U*, T*>
  Ptr(Field<U>&& field) noexcept  // NOLINT: implicit
      : internal::Reference<T>(std::as_const(field)) {
    field = nullptr;
  }
  Ptr(const Ptr&) = default;
  Ptr(Ptr&&) noexcept = default;
  Ptr& operator=(Ptr other) noexcept {
    internal::Reference<T>::operator=(std::move(other));
    return *this;
  }
};

// A reference that is a member of a counted object, or in a member that is a struct or an array;
// those in containers, say, count as references from outside. Used like a Ptr; converts to one and
// from one.
//
// inv.field-moves: a reference does not leave a Field but by being dropped: what is moved out of
// one is copied first. So who reads all Fields counts no reference twice.
template <typename T>
class Field : public internal::Reference<T> {
 public:
  Field() = default;
  Field(std::nullptr_t) {}  // NOLINT: implicit, as for any pointer
  template <typename U>
    requires std::is_convertible_v<U*, T*>
  Field(const internal::Reference<U>& other)  // NOLINT: implicit, as for any pointer
      : internal::Reference<T>(other) {}
  template <typename U>
    requires std::is_convertible_v<U*, T*>
  Field(Ptr<U>&& other) noexcept  // NOLINT: implicit
      : internal::Reference<T>(std::move(other)) {}
  template <typename U>
    requires std::is_convertible_v<U*, T*>
  Field(Field<U>&& other) noexcept  // NOLINT: implicit
      : Field(Ptr<T>(std::move(other))) {}
  Field(const Field&) = default;
  Field(Field&& other) noexcept : Field(Ptr<T>(std::move(other))) {}
  ~Field() { this->ForgetUncounted(); }
  Field& operator=(std::nullptr_t) noexcept {
    if (!this->StoreUncounted(nullptr)) this->Exchange(internal::Reference<T>());
    return *this;
  }
  template <typename U>
    requires std::is_convertible_v<U*, T*>
  Field& operator=(const internal::Reference<U>& other) noexcept {
    if (!this->StoreUncounted(internal::Reference<T>::CellOf(other))) {
      this->Exchange(internal::Reference<T>(other));
    }
    return *this;
  }
  template <typename U>
    requires std::is_convertible_v<U*, T*>
  Field& operator=(Ptr<U>&& other) noexcept {
    if (this->StoreUncounted(internal::Reference<T>::CellOf(other))) {
      other = nullptr;
    } else {
      this->Exchange(std::move(other));
    }
    return *this;
  }
  template <typename U>
    requires std::is_convertible_v<U*, T*>
  Field& operator=(const Local<U>& other) noexcept {
    if (!this->StoreUncounted(internal::Reference<T>::template CellOf<U>(other.cell()))) {
      this->Exchange(Ptr<T>(other));
    }
    return *this;
  }
  Field& operator=(const Field& other) noexcept {
    return *this = static_cast<const internal::Reference<T>&>(other);
  }
  Field& operator=(Field&& other) noexcept { return *this = Ptr<T>(std::move(other)); }
};

}  // namespace ebb::rc

template <typename T>
inline constexpr bool ebb::kTriviallyRelocatable<ebb::rc::Ptr<T>> = true;
// With its object: within one that stays, a coalesced domain knows it by its address.
template <typename T>
inline constexpr bool ebb::kTriviallyRelocatable<ebb::rc::Field<T>> = true;
template <typename T>
inline constexpr bool ebb::internal::kIsCounting<ebb::rc::Ptr<T>> = true;
template <typename T>
inline constexpr bool ebb::internal::kIsCounting<ebb::rc::Field<T>> = true;
template <typename T>
inline constexpr bool ebb::rc::internal::kIsField<ebb::rc::Field<T>> = true;

// Arguments of MakePtr are passed by value: a Field or a Ptr may lie in an object that moves at its
// safepoint.
template <typename A, typename T>
struct ebb::internal::Passed<A, ebb::rc::Ptr<T>> {
  using type = ebb::rc::Ptr<T>;
};
template <typename A, typename T>
struct ebb::internal::Passed<A, ebb::rc::Field<T>> {
  using type = ebb::rc::Ptr<T>;
};

namespace ebb::rc {

namespace internal {

// A cell for an object that was made when no free cell was at hand. A safepoint: `object` follows.
template <typename T>
[[gnu::noinline]] absl::StatusOr<Cell*> TakeCellFor(Owner& owner, Ref<Counted<T>>& object) {
  ebb::Local<Counted<T>> kept(owner.mutator(), object);
  absl::Cleanup destroy = [&kept] {  // also if it throws
    std::destroy_at(static_cast<Ref<Counted<T>>>(kept).get());
  };
  absl::StatusOr<Cell*> cell = owner.TakeCell();
  object = kept;
  if (cell.ok()) std::move(destroy).Cancel();
  return cell;
}

// The first reference to an object that has just been made.
template <typename T>
Ptr<T> StartCountingIn(Owner& owner, Cell& cell, Ref<Counted<T>> object) {
  owner.Start(
      cell, Ref<CountedObject>::FromBits(object.bits(), ebb::internal::Stamp::Of(owner.mutator())));
  Ptr<T> made(Reference<T>::Adopt(&cell));
  owner.StepIfDue();
  return made;
}
template <typename T>
absl::StatusOr<Ptr<T>> TryStartCounting(Owner& owner, absl::StatusOr<Ref<Counted<T>>> object) {
  if (!object.ok()) return std::move(object).status();
  Cell* cell = owner.TryTakeCell();
  if (cell == nullptr) {
    absl::StatusOr<Cell*> taken = TakeCellFor<T>(owner, *object);
    if (!taken.ok()) return std::move(taken).status();
    cell = *taken;
  }
  return StartCountingIn<T>(owner, *cell, *object);
}
template <typename T>
Ptr<T> StartCounting(Owner& owner, Ref<Counted<T>> object) {
  Cell* cell = owner.TryTakeCell();
  if (cell == nullptr) [[unlikely]] {
    absl::StatusOr<Cell*> taken = TakeCellFor<T>(owner, object);
    if (!taken.ok()) Mutator::Throw(std::move(taken).status());
    cell = *taken;
  }
  return StartCountingIn<T>(owner, *cell, object);
}

}  // namespace internal

// A new T, made as T{args...}, and the first reference to it; it belongs to the domain of this
// thread's newest Owner. A safepoint, where finalizers and WeakCallbacks that are due are called:
// hold no lock that they take; in a coalesced domain, now and then a pause that ends the epoch.
// Arguments that are Refs are rooted meanwhile, as by Mutator::New; counted references are passed
// by value. Throws HeapExhausted, and MisuseError without an Owner, or as Mutator::New: then an
// argument that was moved in is gone. O(1), and what other threads have dropped of this one's
// objects.
//
// T is as a managed type, but may have a destructor, which runs when the last reference goes; and
// may have members of types with destructors, for which ebb::kTriviallyRelocatable says that memcpy
// moves them. Its destructor must not allocate from a heap, nor pass any other safepoint.
//
// What may is its finalizer, `public: static void Finalize(Ptr<T> self)`, its own or else its
// base's. It is called once, when the last reference has gone or a detection has found the object
// to be garbage: at the next MakePtr or Owner::Step of the thread that is to destroy the object, or
// by Collect. It may do what it likes, and revive the object, which is finalized no more then. No
// Weak gives the object back from then on, nor what else it leads to of a cycle that was garbage.
template <typename T, typename... Args>
Ptr<T> MakePtr(Args&&... args) {
  Owner& owner = Owner::Newest();
  return internal::StartCounting<T>(
      owner, owner.mutator().New<internal::Counted<T>>(std::forward<Args>(args)...));
}
// The same, but the error is a Status: ResourceExhausted or FailedPrecondition.
template <typename T, typename... Args>
absl::StatusOr<Ptr<T>> TryMakePtr(Args&&... args) {
  absl::StatusOr<Owner*> owner = Owner::TryNewest();
  if (!owner.ok()) return std::move(owner).status();
  return internal::TryStartCounting<T>(
      **owner, (*owner)->mutator().TryNew<internal::Counted<T>>(std::forward<Args>(args)...));
}

}  // namespace ebb::rc

// By identity of the object, as ==. Keys are Ptrs: a Field is for members of objects.
template <typename T>
struct std::hash<ebb::rc::Ptr<T>> {
  size_t operator()(const ebb::rc::Ptr<T>& reference) const {
    return std::hash<const void*>()(reference.cell());
  }
};

#endif  // EBB_HEAP_RC_PTR_H_
