// rc::MakePtrWithBytes, rc::ExtraBytes, rc::Resize: counted objects with plain bytes behind them.
// Design: docs/design/counting.md#objects

#ifndef EBB_HEAP_RC_SIZED_PTR_H_
#define EBB_HEAP_RC_SIZED_PTR_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "heap/extra_bytes.h"
#include "heap/mutator.h"
#include "heap/rc/cell.h"
#include "heap/rc/counted_type.h"
#include "heap/rc/local.h"
#include "heap/rc/owner.h"
#include "heap/rc/ptr.h"
#include "heap/rc/reference.h"
#include "heap/type_info.h"

namespace ebb::rc {

namespace internal {

// `type`: of an object with extra bytes, if it has the reference's own type.
absl::Status ResizeObject(Cell* cell, const TypeInfo& type, size_t bytes);

}  // namespace internal

// As MakePtr, with `bytes` bytes behind the object, zero at first. They hold no references, counted
// or traced: nobody looks into them, and T's destructor, if any, sees to what they mean. Costs 8
// bytes more than MakePtr. Throws as MakePtr; more bytes than any heap can hold are HeapExhausted.
// O(bytes).
template <typename T, typename... Args>
Ptr<T> MakePtrWithBytes(size_t bytes, Args&&... args) {
  Owner& owner = Owner::Newest();
  return internal::StartCounting<T>(owner, owner.mutator().NewWithBytes<internal::Counted<T>>(
                                               bytes, std::forward<Args>(args)...));
}

// The same, but the error is a Status: ResourceExhausted or FailedPrecondition.
template <typename T, typename... Args>
absl::StatusOr<Ptr<T>> TryMakePtrWithBytes(size_t bytes, Args&&... args) {
  absl::StatusOr<Owner*> owner = Owner::TryNewest();
  if (!owner.ok()) return std::move(owner).status();
  return internal::TryStartCounting<T>(**owner,
                                       (*owner)->mutator().TryNewWithBytes<internal::Counted<T>>(
                                           bytes, std::forward<Args>(args)...));
}

// The bytes behind the object of a Ptr, or of any other counted reference: empty for null, for an
// object that has none, and where the domain has gone. Aligned as a word, or as the object where
// that is more. By threads with a Mutator of the heap; good until the thread's next safepoint, as
// get(). Other threads may use them as any plain member of the object. O(1).
template <typename T>
absl::Span<std::byte> ExtraBytes(const internal::Reference<T>& object) {
  if (object == nullptr) return {};
  return ebb::ExtraBytes(object.cell()->Load());
}
template <typename T>
absl::Span<std::byte> ExtraBytes(const Local<T>& object) {
  if (object == nullptr) return {};
  return ebb::ExtraBytes(object.cell()->Load());
}
// The same for who has the object's address, as its own member functions do, its destructor among
// them: what get() returns, and no part of an object.
template <typename T>
absl::Span<std::byte> ExtraBytes(const T* object) {
  if (object == nullptr) return {};
  return ebb::internal::ExtraBytesAt(reinterpret_cast<uintptr_t>(object));
}

// Makes it `bytes` bytes that are behind the object of a Ptr or Field: those that there were keep
// their values, as far as there is room, and new ones are zero. To all references it is the same
// object; it is moved, as by a cycle of the heap, without a constructor or destructor. An object
// from MakePtr may be given bytes so, too. A safepoint; no finalizer or WeakCallback is called.
//
// On error all is as before: ResourceExhausted, if there is no memory; InvalidArgument, if the
// reference is null; FailedPrecondition,
// - on a thread without an Owner of the object's domain, or where MakePtr throws MisuseError;
// - where others may refer to the object: unless there is no other reference, no rc::Local, Weak or
//   WeakCallback, and it was not made immortal;
// - while another thread owns it, which has made it. That thread is asked to give it up: from its
//   next MakePtr or Owner::Step on, or at once if it has no Owner any more, it may be resized by
//   whichever thread holds it; nor is it destroyed before that;
// - for a reference to its base class, if it was made without bytes.
//
// O(bytes and the object's size), without the time that room is made in, if needed. Nothing is
// kept for later growth: who grows a buffer step by step doubles it.
template <typename T>
absl::Status Resize(internal::Reference<T>& object, size_t bytes) {
  return internal::ResizeObject(object.cell(), kTypeInfoWithBytes<internal::Counted<T>>, bytes);
}

}  // namespace ebb::rc

#endif  // EBB_HEAP_RC_SIZED_PTR_H_
