// rc::AnyPtr: a counted reference to an object of whichever type, as Domain's questions about
// objects are answered by.

#ifndef EBB_HEAP_RC_ANY_PTR_H_
#define EBB_HEAP_RC_ANY_PTR_H_

#include <cstddef>
#include <string_view>

#include "heap/rc/cell.h"
#include "heap/rc/counted_type.h"
#include "heap/rc/ptr.h"
#include "heap/rc/reference.h"

namespace ebb::rc {

// Counts as a Ptr does; the object may be of any type. Made from any reference, implicitly, and
// compared with any.
class AnyPtr : public internal::Reference<internal::CountedObject> {
 public:
  AnyPtr() = default;
  AnyPtr(std::nullptr_t) {}  // NOLINT: implicit, as for any pointer
  template <typename T>
  AnyPtr(const internal::Reference<T>& object)  // NOLINT: implicit, as of a Ptr to a base
      : Reference(Adopt(object.cell())) {
    if (cell() != nullptr) cell()->Retain();
  }
  template <typename T>
  AnyPtr(const Local<T>& object) : AnyPtr(Ptr<T>(object)) {}  // NOLINT: implicit
  // A reference that is counted already.
  static AnyPtr Adopt(internal::Cell* cell) { return AnyPtr(Reference::Adopt(cell)); }
  void* get() const = delete;
  void* operator->() const = delete;
  void operator*() const = delete;

  // The object, if it was made by MakePtr<T>, for this very T; else null, as where the domain has
  // gone. By threads with a Mutator of the heap.
  template <typename T>
  Ptr<T> As() const {
    if (type() != &internal::kDescriptor<T, /*kIsHolder=*/false>) return nullptr;
    cell()->Retain();
    return internal::Reference<T>::Adopt(cell());
  }
  // Its type's, as the compiler spells it, good for ever; empty of null, and where the domain has
  // gone. By threads with a Mutator of the heap.
  std::string_view type_name() const { return type() == nullptr ? "" : type()->name; }

 private:
  explicit AnyPtr(Reference reference) : Reference(std::move(reference)) {}

  const internal::CountedType* type() const {
    if (cell() == nullptr) return nullptr;
    const Ref<internal::CountedObject> object = cell()->Load();
    return object == nullptr ? nullptr : &internal::CountedTypeOf(object);
  }
};

}  // namespace ebb::rc

#endif  // EBB_HEAP_RC_ANY_PTR_H_
