// Weak<T>: a reference that keeps nothing alive. Design: docs/design/weak.md

#ifndef EBB_HEAP_WEAK_H_
#define EBB_HEAP_WEAK_H_

#include <cstddef>
#include <cstdint>

#include "heap/heap.h"
#include "heap/ref.h"
#include "heap/root_table.h"

namespace ebb {

// Names an object, follows it when it moves, and reads as null from the cycle on that finds the
// object unreachable but for Weaks; for all Weaks of one object at the same time. Caches,
// observers, and tables of what is alive are made of it. Like a Persistent it may be anywhere in a
// C++ program, not in a managed object; is made, copied and destroyed in O(1) under a short lock,
// by any thread, attached or not; and is read and stored by attached threads only. Different Weaks
// may be used by different threads; one that is shared is like an atomic for load and assignment
// from a Ref, and needs a lock for the rest. When its heap has gone it reads as null.
template <typename T>
class Weak {
 public:
  using Target = T;

  Weak() = default;  // no heap, always null; assign another Weak to it
  explicit Weak(Heap& heap) : handle_(heap.weak_roots()) {}
  Weak(Heap& heap, Ref<T> value) : Weak(heap) { handle_.StoreWeak(value.bits()); }

  // Needs a heap: a default-constructed Weak must be assigned one first (checked).
  Weak& operator=(Ref<T> value) {
    handle_.StoreWeak(value.bits());
    return *this;
  }
  Weak& operator=(std::nullptr_t) {
    handle_.StoreNull();
    return *this;
  }

  // The object, or null. What it returns is a Ref like any: valid until the next safepoint, and
  // reachable if it is put into a Local. O(1); during a concurrent cycle it may evacuate the
  // object.
  Ref<T> load() const {
    const uintptr_t bits = handle_.LoadWeak();
    return bits == 0 ? Ref<T>() : Ref<T>::FromBits(bits, internal::Stamp::At(bits));
  }

 private:
  internal::RootHandle handle_;
};

}  // namespace ebb

#endif  // EBB_HEAP_WEAK_H_
