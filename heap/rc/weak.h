// rc::Weak<T>: a reference that counts for nothing. Design: docs/design/counting.md#weak-references

#ifndef EBB_HEAP_RC_WEAK_H_
#define EBB_HEAP_RC_WEAK_H_

#include <cstddef>
#include <type_traits>
#include <utility>

#include "heap/rc/cell.h"
#include "heap/rc/owner.h"
#include "heap/rc/ptr.h"
#include "heap/rc/reference.h"
#include "heap/reflect.h"

namespace ebb::rc {

// Names an object, 8 bytes, null at first, without keeping it alive. Made, copied and dropped by
// any thread in O(1); shared like a Ptr. From the moment an object dies no Upgrade gives it back,
// even if a finalizer revives it. See WeakCallback for being told.
template <typename T>
class Weak {
 public:
  using Target = T;

  Weak() = default;
  Weak(std::nullptr_t) {}  // NOLINT: implicit, as for any pointer
  template <typename U>
    requires std::is_convertible_v<U*, T*>
  Weak(const internal::Reference<U>& object)  // NOLINT: implicit, as std::weak_ptr
      : cell_(internal::Reference<T>::CellOf(object)) {
    if (cell_ != nullptr) cell_->RetainWeak();
  }
  template <typename U>
    requires std::is_convertible_v<U*, T*>
  Weak(const Local<U>& object) : Weak(Ptr<T>(object)) {}  // NOLINT: implicit
  Weak(const Weak& other) : cell_(other.cell_) {
    if (cell_ != nullptr) cell_->RetainWeak();
  }
  Weak(Weak&& other) noexcept : cell_(std::exchange(other.cell_, nullptr)) {}
  Weak& operator=(Weak other) noexcept {
    std::swap(cell_, other.cell_);
    return *this;
  }
  ~Weak() {
    if (cell_ != nullptr && cell_->ReleaseWeak()) Owner::Free(*cell_);
  }

  // The object, or null if it is dead. Any thread; one atomic change, or none by its owner.
  Ptr<T> Upgrade() const {
    if (cell_ == nullptr || !cell_->Upgrade()) return nullptr;
    return internal::Reference<T>::Adopt(cell_);
  }

 private:
  internal::Cell* cell_ = nullptr;
};

}  // namespace ebb::rc

template <typename T>
inline constexpr bool ebb::kTriviallyRelocatable<ebb::rc::Weak<T>> = true;
template <typename T>
inline constexpr bool ebb::internal::kIsCounting<ebb::rc::Weak<T>> = true;
// As of a Ptr.
template <typename A, typename T>
struct ebb::internal::Passed<A, ebb::rc::Weak<T>> {
  using type = ebb::rc::Weak<T>;
};

#endif  // EBB_HEAP_RC_WEAK_H_
