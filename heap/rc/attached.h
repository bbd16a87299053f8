// Attached: a thread that is attached to a domain for as long as it needs to be. Used by Domain.

#ifndef EBB_HEAP_RC_ATTACHED_H_
#define EBB_HEAP_RC_ATTACHED_H_

#include <exception>
#include <new>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "heap/mutator.h"
#include "heap/rc/domain.h"
#include "heap/rc/domain_state.h"
#include "heap/rc/no_memory.h"
#include "heap/rc/owner.h"

namespace ebb::rc::internal {

// The calling thread's Owner of the domain, or one that goes with this.
class Attached {
 public:
  // `what` is the public function that wants it, for messages.
  Attached(Domain& domain, const char* what) : owner_(Owner::Find(domain.state()->table())) {
    if (owner_ != nullptr) return;
    Heap& heap = domain.state()->heap();
    try {
      Mutator* mutator = Mutator::Current(heap);
      if (mutator == nullptr) mutator = &own_mutator_.emplace(heap);
      owner_ = &own_owner_.emplace(domain, *mutator);
    } catch (const std::bad_alloc&) {
      status_ = NoMemory(what, "no memory to attach a thread");
    } catch (const std::exception& error) {
      status_ = absl::FailedPreconditionError(
          absl::StrCat(what, ": this thread cannot attach: ", error.what()));
    }
  }
  Attached(const Attached&) = delete;
  Attached& operator=(const Attached&) = delete;

  // ResourceExhausted, or FailedPrecondition, if there is no Owner.
  const absl::Status& status() const { return status_; }
  Owner& owner() { return *owner_; }

 private:
  std::optional<Mutator> own_mutator_;
  std::optional<Owner> own_owner_;
  Owner* owner_;
  absl::Status status_;
};

}  // namespace ebb::rc::internal

#endif  // EBB_HEAP_RC_ATTACHED_H_
