// Ref<T>: an unrooted reference to a managed object, for use between two safepoints.
// Design: docs/design/safepoints.md#refs

#ifndef EBB_HEAP_REF_H_
#define EBB_HEAP_REF_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

// Whether references are checked where they are used. On unless NDEBUG is defined; a program must
// be compiled with one setting throughout, as the layout of Ref depends on it.
#ifndef EBB_DEBUG_REFS
#ifdef NDEBUG
#define EBB_DEBUG_REFS 0
#else
#define EBB_DEBUG_REFS 1
#endif
#endif

namespace ebb {

class Mutator;

namespace internal {

// When and by whom a Ref was made; checks that it is still valid where it is used. Empty, and free,
// unless EBB_DEBUG_REFS is set. The checks stop the program with a message naming the mistake.
class Stamp {
 public:
#if EBB_DEBUG_REFS
  Stamp() = default;
  // A reference taken from `place` (a Field, or a Persistent's slot) or to an object at `place`:
  // the calling thread must be attached to the heap `place` belongs to.
  static Stamp At(uintptr_t place);
  static Stamp Of(const Mutator& mutator);
  void Check() const;

 private:
  const Mutator* mutator_ = nullptr;
  uint64_t epoch_ = 0;
#else
  static Stamp At(uintptr_t) { return {}; }
  static Stamp Of(const Mutator&) { return {}; }
  void Check() const {}
#endif
};

}  // namespace internal

// 8 bytes (more in debug builds), and as cheap as a T*, which it converts to by get(). Valid until
// the thread's next safepoint: any allocation (New..., TryNew...), Mutator::Safepoint, a Blocking
// scope or a new Mutator, of any heap of the thread; Heap::Collect, Heap::Verify. After it the
// object may have moved; keep a Local<T> to hold on to it. Debug builds stamp a Ref and stop when a
// stale one is used. For one thread.
template <typename T>
class Ref {
 public:
  using Target = T;

  Ref() = default;
  Ref(std::nullptr_t) {}  // NOLINT: implicit, as for any pointer

  T* get() const {
    if (pointer_ != nullptr) stamp_.Check();
    return pointer_;
  }
  T* operator->() const { return get(); }
  T& operator*() const { return *get(); }
  explicit operator bool() const { return pointer_ != nullptr; }

  // For Ebb's own classes: the reference as the heap stores it (the payload's address; 0 is null).
  uintptr_t bits() const { return reinterpret_cast<uintptr_t>(get()); }
  static Ref FromBits(uintptr_t bits, internal::Stamp stamp) {
    return Ref(reinterpret_cast<T*>(bits), stamp);
  }

 private:
  Ref(T* pointer, internal::Stamp stamp) : pointer_(pointer), stamp_(stamp) {}

  T* pointer_ = nullptr;
  [[no_unique_address]] internal::Stamp stamp_;
};

// Ref, Field, Local and Persistent. All compare with each other, and with nullptr: by identity of
// the object.
template <typename H>
concept Handle = requires(const H& handle) {
  typename H::Target;
  static_cast<Ref<typename H::Target>>(handle);
};

template <Handle A, Handle B>
  requires std::is_same_v<typename A::Target, typename B::Target>
bool operator==(const A& a, const B& b) {
  using R = Ref<typename A::Target>;
  return static_cast<R>(a).bits() == static_cast<R>(b).bits();
}
template <Handle A>
bool operator==(const A& a, std::nullptr_t) {
  return !static_cast<bool>(static_cast<Ref<typename A::Target>>(a));
}

}  // namespace ebb

#endif  // EBB_HEAP_REF_H_
