// rc::NewHolder: traced objects that hold counted references. Design: docs/design/mixed.md

#ifndef EBB_HEAP_RC_HOLDER_H_
#define EBB_HEAP_RC_HOLDER_H_

#include <cstddef>
#include <memory>
#include <new>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "heap/mutator.h"
#include "heap/rc/counted_type.h"
#include "heap/rc/owner.h"
#include "heap/rc/ptr.h"
#include "heap/ref.h"
#include "heap/reflect.h"

namespace ebb::rc {

namespace internal {

// What is wrong with T as a holder is an error that says what to do.
template <typename T>
consteval void CheckHolder() {
  constexpr size_t kCounting = ebb::internal::CountReferences<T, ebb::internal::Counting>();
  static_assert(kCounting == kFieldOffsets<T>.size(),
                "a traced object holds counted references by rc::Field or rc::AtomicField only, as "
                "others would never be counted down: make it an rc::Field, or make the object by "
                "rc::MakePtr");
  static_assert(kCounting > 0,
                "ebb::rc::NewHolder makes traced objects that hold counted references: make others "
                "by Mutator::New");
  static_assert(!NamesFinalizer<T>(),
                "a traced object is not finalized: make it by rc::MakePtr, or give its Finalize "
                "another name");
  static_assert(!IsUncollectable<T>(), "kUncollectable is for objects that rc::MakePtr makes");
}

// Registers the object, which has just been made. On error it is as if it had not been.
template <typename T>
absl::StatusOr<Ref<T>> StartHolding(Owner& owner, absl::StatusOr<Ref<Holder<T>>> object) {
  if (!object.ok()) return std::move(object).status();
  try {
    owner.AddHolder(object->bits());
  } catch (const std::bad_alloc&) {
    std::destroy_at(object->get());
    return absl::ResourceExhaustedError(
        "ebb::rc::NewHolder: no memory beside the heap to keep track of holders: raise the "
        "process's memory limit, or drop some");
  }
  return Ref<T>::FromBits(object->bits(), ebb::internal::Stamp::Of(owner.mutator()));
}

}  // namespace internal

// A new T, made as T{args...}: a traced object as Mutator::New makes them, but one that has
// rc::Fields or rc::AtomicFields, in it or in members that are structs or arrays. They count, and
// keep their objects alive until a cycle of the heap has found that nothing leads to this one any
// more: then threads with an Owner of the domain count them down, by MakePtr, Owner::Step, and
// Collect. Cycles of counted references and traced ones are found by Domain::Collect.
//
// It belongs to the domain of this thread's newest Owner; what it holds when that goes is never
// counted down, and its get() is null. T may hold no other counted references; a destructor of its
// own, or of other members, compiles and never runs: what must be done goes to Heap::AddCleanup. A
// safepoint, which destroys and calls nothing; arguments and exceptions as of MakePtr. Amortised
// O(1), and a short lock.
template <typename T, typename... Args>
Ref<T> NewHolder(Args&&... args) {
  internal::CheckHolder<T>();
  Owner& owner = Owner::Newest();
  absl::StatusOr<Ref<T>> made = internal::StartHolding<T>(
      owner, owner.mutator().TryNew<internal::Holder<T>>(std::forward<Args>(args)...));
  if (!made.ok()) Mutator::Throw(std::move(made).status());
  return *made;
}
// The same, but the error is a Status: ResourceExhausted or FailedPrecondition.
template <typename T, typename... Args>
absl::StatusOr<Ref<T>> TryNewHolder(Args&&... args) {
  internal::CheckHolder<T>();
  absl::StatusOr<Owner*> owner = Owner::TryNewest();
  if (!owner.ok()) return std::move(owner).status();
  return internal::StartHolding<T>(
      **owner, (*owner)->mutator().TryNew<internal::Holder<T>>(std::forward<Args>(args)...));
}

}  // namespace ebb::rc

#endif  // EBB_HEAP_RC_HOLDER_H_
