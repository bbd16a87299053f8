// rc::WeakCallback: a function that is called when an object has died. Design:
// docs/design/finalization.md#callbacks

#ifndef EBB_HEAP_RC_WEAK_CALLBACK_H_
#define EBB_HEAP_RC_WEAK_CALLBACK_H_

#include <memory>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "heap/rc/callback_table.h"
#include "heap/rc/reference.h"
#include "heap/reflect.h"

namespace ebb::rc {

// Has a function called once, from when on no Weak gives an object back: when it has died, or, if
// it has a finalizer, before that is called, even if that revives it. Not if the WeakCallback goes
// first, nor if the domain does. Of several for an object the newest comes first. The function must
// not hold a Ptr that leads to the object: that would keep it alive.
//
// It is called by the thread that destroys the object, where that passes a safepoint in MakePtr,
// Owner::Step or Domain::Collect: so it may make, store and drop what it likes. What it throws is
// told to the domain's Listener. A WeakCallback in a member of an object that is garbage itself is
// not called for what the same detection finds.
//
// 16 bytes. Movable. Used by one thread at a time, any. One that goes while another thread calls
// its function does not wait for the end of that: let the function own what it uses.
class [[nodiscard]] WeakCallback {
 public:
  WeakCallback() = default;
  // Nothing is called if either is null. O(1). May throw std::bad_alloc.
  template <typename T>
  WeakCallback(const internal::Reference<T>& object, absl::AnyInvocable<void() &&> function) {
    if (object != nullptr && function != nullptr) Register(*object.cell(), std::move(function));
  }
  template <typename T>
  WeakCallback(const Local<T>& object, absl::AnyInvocable<void() &&> function)
      : WeakCallback(Ptr<T>(object), std::move(function)) {}
  WeakCallback(WeakCallback&&) noexcept = default;
  WeakCallback& operator=(WeakCallback other) noexcept {
    std::swap(callback_, other.callback_);
    return *this;
  }
  // O(callbacks of the same object).
  ~WeakCallback() {
    if (callback_ != nullptr) Cancel();
  }

 private:
  void Register(internal::Cell& cell, absl::AnyInvocable<void() &&> function);
  void Cancel();

  std::shared_ptr<internal::Callback> callback_;
};

}  // namespace ebb::rc

template <>
inline constexpr bool ebb::kTriviallyRelocatable<ebb::rc::WeakCallback> = true;
template <>
inline constexpr bool ebb::internal::kIsCounting<ebb::rc::WeakCallback> = true;

#endif  // EBB_HEAP_RC_WEAK_CALLBACK_H_
