// Local<T>: a root on the C++ stack. Design: docs/design/safepoints.md#roots

#ifndef EBB_HEAP_LOCAL_H_
#define EBB_HEAP_LOCAL_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "heap/field.h"
#include "heap/ref.h"

namespace ebb {

class Mutator;

namespace internal {

// The chain of a mutator's Locals, newest first. Only the mutator's own thread touches it, or the
// collector while that thread is stopped.
class LocalBase {
 public:
  // The next older Local of the same mutator, for the collector.
  LocalBase* previous() const { return previous_; }
  uintptr_t& bits() { return bits_; }
  const uintptr_t& bits() const { return bits_; }
  // The mutator has gone: what is left of its chain names nothing.
  void Orphan() {
    head_ = nullptr;
    previous_ = nullptr;
    bits_ = 0;
  }

 protected:
  LocalBase(const Mutator* mutator, LocalBase** head, uintptr_t bits)
      : head_(head), previous_(head != nullptr ? *head : nullptr), bits_(bits), mutator_(mutator) {
    if (head != nullptr) *head = this;
  }
  // Scopes end in LIFO order; a Local that does not (a member of an object on the C++ heap) is
  // found by a walk.
  ~LocalBase() {
    if (head_ == nullptr) return;
    LocalBase** link = head_;
    while (*link != this) link = &(*link)->previous_;
    *link = previous_;
  }
  LocalBase(const LocalBase&) = delete;
  LocalBase& operator=(const LocalBase&) = delete;

  // Without one it would hold what no collector knows of. Checked in debug builds, as a Stamp is.
#if EBB_DEBUG_REFS
  void CheckHasMutator() const;
#else
  void CheckHasMutator() const {}
#endif
  LocalBase** head() const { return head_; }
  const Mutator* mutator() const { return mutator_; }
  Stamp stamp() const { return head_ == nullptr ? Stamp() : Stamp::Of(*mutator_); }

 private:
  LocalBase** head_;
  LocalBase* previous_;
  uintptr_t bits_;
  const Mutator* mutator_;
};

}  // namespace internal

// Keeps its object alive and follows it when it moves. Made and destroyed in O(1) in the order of
// C++ scopes. For the mutator's own thread only; a Local that outlives its mutator becomes null,
// and must not be assigned any more (checked in debug builds).
template <typename T>
class Local : public internal::LocalBase {
 public:
  using Target = T;

  // Null at first. Mutator is complete wherever these are instantiated.
  template <typename M>
    requires std::is_base_of_v<Mutator, M>
  explicit Local(M& mutator) : LocalBase(&mutator, mutator.locals(), 0) {}
  template <typename M>
    requires std::is_base_of_v<Mutator, M>
  Local(M& mutator, Ref<T> value) : LocalBase(&mutator, mutator.locals(), value.bits()) {}
  Local(const Local& other) : LocalBase(other.mutator(), other.head(), other.bits()) {}

  Local& operator=(Ref<T> value) {
    CheckHasMutator();
    bits() = value.bits();
    return *this;
  }
  Local& operator=(const Local& other) {
    CheckHasMutator();
    bits() = other.bits();
    return *this;
  }
  Local& operator=(const Field<T>& field) { return *this = field.load(); }
  Local& operator=(std::nullptr_t) {
    bits() = 0;
    return *this;
  }

  operator Ref<T>() const { return Ref<T>::FromBits(bits(), stamp()); }  // NOLINT: implicit
  T* get() const { return static_cast<Ref<T>>(*this).get(); }
  T* operator->() const { return get(); }
  T& operator*() const { return *get(); }
  explicit operator bool() const { return bits() != 0; }
};

}  // namespace ebb

#endif  // EBB_HEAP_LOCAL_H_
