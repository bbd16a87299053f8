// Persistent<T>: a root anywhere in a C++ program. Design: docs/design/safepoints.md#roots

#ifndef EBB_HEAP_PERSISTENT_H_
#define EBB_HEAP_PERSISTENT_H_

#include <cstddef>
#include <cstdint>

#include "heap/field.h"
#include "heap/heap.h"
#include "heap/local.h"
#include "heap/ref.h"
#include "heap/root_table.h"

namespace ebb {

// Keeps its object alive and follows it when it moves: a global, a member of an ordinary C++
// object, an element of a container. Made and destroyed in O(1) under a short lock, by any thread,
// attached or not; what it names is read and stored by attached threads only (others may ask
// whether it is null, by its conversion to bool). Different Persistents may be used by different
// threads; one Persistent that is shared is like an atomic for get and assignment from a Ref, and
// needs a lock for the rest. When its heap has gone it reads as null.
template <typename T>
class Persistent {
 public:
  using Target = T;

  Persistent() = default;  // no heap, always null; assign another Persistent to it
  explicit Persistent(Heap& heap) : handle_(heap.roots()) {}
  Persistent(Heap& heap, Ref<T> value) : Persistent(heap) { handle_.Store(value.bits()); }

  // Needs a heap: a default-constructed Persistent must be assigned one first (checked).
  Persistent& operator=(Ref<T> value) {
    handle_.Store(value.bits());
    return *this;
  }
  Persistent& operator=(std::nullptr_t) {
    handle_.StoreNull();
    return *this;
  }

  operator Ref<T>() const {  // NOLINT: implicit, to read like a pointer
    const uintptr_t bits = handle_.Load();
    return bits == 0 ? Ref<T>() : Ref<T>::FromBits(bits, internal::Stamp::At(bits));
  }
  T* get() const { return static_cast<Ref<T>>(*this).get(); }
  T* operator->() const { return get(); }
  T& operator*() const { return *get(); }
  explicit operator bool() const { return !handle_.is_null(); }

 private:
  internal::RootHandle handle_;
};

}  // namespace ebb

#endif  // EBB_HEAP_PERSISTENT_H_
