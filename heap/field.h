// Field<T>: a reference inside a managed object, and the place of the load and store barriers.
// Design: docs/design/safepoints.md#fields

#ifndef EBB_HEAP_FIELD_H_
#define EBB_HEAP_FIELD_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "heap/load_barrier.h"
#include "heap/ref.h"
#include "heap/store_barrier.h"

namespace ebb {

template <typename T>
class Local;
template <typename E>
class Array;

// 8 bytes, null at first. Fields of a shared object may be loaded, stored and compare-exchanged by
// several threads at once, as if each were an atomic: a store publishes the object it refers to.
// Lives only inside managed objects: the collector does not see one that is anywhere else. T may be
// incomplete where Field<T> is named.
//
// While a concurrent cycle forwards, a field may hold a from-space reference; no load returns one
// (inv.tospace, heap/load_barrier.h).
template <typename T>
class Field {
 public:
  using Target = T;

  Field() = default;
  Field(std::nullptr_t) {}  // NOLINT: implicit, as for any pointer
  // Relaxed: the object that holds this field is not yet published. No store barrier: it is young,
  // or Mutator::New logs what it holds.
  Field(Ref<T> value) : bits_(value.bits()) {}                           // NOLINT
  Field(const Local<T>& value) : bits_(static_cast<Ref<T>>(value).bits()) {}  // NOLINT
  // A copy would be a field outside the heap; load() or a Local is what is meant.
  Field(const Field&) = delete;

  // Acquire: pairs with the release of store and CompareExchange, whose payload is the body of the
  // object that the reference names.
  Ref<T> load() const {
    const internal::Stamp stamp = internal::Stamp::At(reinterpret_cast<uintptr_t>(this));
    return Ref<T>::FromBits(internal::LoadReference(bits_), stamp);
  }
  // Release: publishes the body of the object that `value` names to who loads it from here.
  void store(Ref<T> value) {
    internal::Stamp::At(reinterpret_cast<uintptr_t>(this));
    const uintptr_t bits = value.bits();
    bits_.store(bits, std::memory_order_release);
    internal::AfterStore(bits_, bits);
  }
  // If the field holds `expected`, stores `desired` and returns true; otherwise loads what it holds
  // into `expected`. Strong: never fails spuriously. Orders as of load and store.
  bool CompareExchange(Ref<T>& expected, Ref<T> desired) {
    const internal::Stamp stamp = internal::Stamp::At(reinterpret_cast<uintptr_t>(this));
    // The field may still hold the from-space name of what is expected. Once it has been healed, it
    // never holds a from-space reference again: what is stored is none.
    internal::LoadReference(bits_);
    uintptr_t bits = expected.bits();
    // Acq_rel as store's release and load's acquire; acquire on failure as in load.
    if (bits_.compare_exchange_strong(bits, desired.bits(), std::memory_order_acq_rel,
                                      std::memory_order_acquire)) {
      internal::AfterStore(bits_, desired.bits());
      return true;
    }
    expected = Ref<T>::FromBits(bits, stamp);
    return false;
  }

  Field& operator=(Ref<T> value) {
    store(value);
    return *this;
  }
  Field& operator=(const Local<T>& value) {
    store(static_cast<Ref<T>>(value));
    return *this;
  }
  Field& operator=(const Field& other) {
    store(other.load());
    return *this;
  }
  Field& operator=(std::nullptr_t) {
    store(nullptr);
    return *this;
  }

  operator Ref<T>() const { return load(); }  // NOLINT: implicit, to read like a pointer
  T* get() const { return load().get(); }
  T* operator->() const { return get(); }
  T& operator*() const { return *get(); }
  explicit operator bool() const { return get() != nullptr; }

 private:
  template <typename E>
  friend class Array;  // which copies ranges

  mutable std::atomic<uintptr_t> bits_ = 0;  // a load may heal it
};

static_assert(sizeof(Field<int>) == 8);

}  // namespace ebb

#endif  // EBB_HEAP_FIELD_H_
