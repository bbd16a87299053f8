// rc::WeakCallback: a function that is called when an object has died. Design:
// docs/design/finalization.md#callbacks

#ifndef EBB_HEAP_RC_WEAK_CALLBACK_H_
#define EBB_HEAP_RC_WEAK_CALLBACK_H_

#include <memory>
#include <type_traits>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "heap/rc/callback_table.h"
#include "heap/rc/reference.h"
#include "heap/reflect.h"

namespace ebb::rc {

// Has a function called once after an object has died, unless this goes first; 16 bytes. It does
// not keep the object alive. The thread that destroys the object calls the function, where MakePtr,
// Owner::Step and Domain::Collect pass safepoints: so it may make, store and drop what it likes. If
// it throws, the domain's Listener is told. The callback of an object that is garbage itself, in a
// member of that, is not called if both are found by one detection.
//
// Movable. Used by one thread at a time, any. One that goes while another thread calls its function
// does not wait for the end of that: let the function own what it uses, or hold an rc::Weak.
class WeakCallback {
 public:
  WeakCallback() = default;
  // Nothing is called if `object` is null. O(1). May throw std::bad_alloc.
  template <typename T>
  WeakCallback(const internal::Reference<T>& object, absl::AnyInvocable<void() &&> function) {
    if (object != nullptr) Register(*object.cell(), std::move(function));
  }
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
