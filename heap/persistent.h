// Persistent<T>: a root anywhere in a C++ program. Design: docs/design/safepoints.md#roots

#ifndef EBB_HEAP_PERSISTENT_H_
#define EBB_HEAP_PERSISTENT_H_

#include <cstddef>
#include <cstdint>
#include <utility>

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
  explicit Persistent(Heap& heap) : slot_(heap.roots().Acquire()) {}
  Persistent(Heap& heap, Ref<T> value) : Persistent(heap) { slot_->Store(value.bits()); }
  Persistent(const Persistent& other) : slot_(other.Duplicate()) {}
  Persistent(Persistent&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
  ~Persistent() {
    if (slot_ != nullptr) internal::RootTable::Release(slot_);
  }

  Persistent& operator=(const Persistent& other) {
    if (this != &other) *this = Persistent(other);
    return *this;
  }
  Persistent& operator=(Persistent&& other) noexcept {
    Persistent taken(std::move(other));  // which leaves `other` without a root
    std::swap(slot_, taken.slot_);
    return *this;
  }
  // Needs a heap: a default-constructed Persistent must be assigned one first (checked).
  Persistent& operator=(Ref<T> value) {
    internal::RootTable::CheckHasHeap(slot_);
    slot_->Store(value.bits());
    return *this;
  }
  Persistent& operator=(std::nullptr_t) {
    if (slot_ != nullptr) internal::RootTable::StoreNull(slot_);
    return *this;
  }

  operator Ref<T>() const {  // NOLINT: implicit, to read like a pointer
    if (slot_ == nullptr) return nullptr;
    const uintptr_t bits = slot_->Load();
    return bits == 0 ? Ref<T>() : Ref<T>::FromBits(bits, internal::Stamp::At(bits));
  }
  T* get() const { return static_cast<Ref<T>>(*this).get(); }
  T* operator->() const { return get(); }
  T& operator*() const { return *get(); }
  explicit operator bool() const { return slot_ != nullptr && !slot_->is_null(); }

 private:
  // The copy is made under the table's lock, which a cycle holds too: the slot's value cannot move
  // on between the load and the store.
  internal::RootSlot* Duplicate() const {
    return slot_ == nullptr ? nullptr : internal::RootTable::Duplicate(slot_);
  }

  internal::RootSlot* slot_ = nullptr;
};

}  // namespace ebb

#endif  // EBB_HEAP_PERSISTENT_H_
