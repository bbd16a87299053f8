// Domain: the counted objects of a heap that count together. Design: docs/design/counting.md

#ifndef EBB_HEAP_RC_DOMAIN_H_
#define EBB_HEAP_RC_DOMAIN_H_

#include <cstdint>
#include <memory>

#include "heap/heap.h"

namespace ebb::rc {

namespace internal {
class DomainState;
}  // namespace internal

// When an object whose last reference has gone is destroyed.
enum class Reclaim {
  // Before the next statement, by the thread that dropped the reference. If another thread made
  // the object, and still counts it: by that one's next MakePtr or Owner::Step.
  kPrompt,
  // A few at a time, as the thread makes objects, and by Owner::Step: no drop takes long, however
  // much hangs on it.
  kLazy,
};

struct DomainOptions {
  Reclaim reclaim = Reclaim::kPrompt;
};

// Figures of a domain; exact when no thread counts.
struct DomainStats {
  int64_t made = 0;       // objects, ever
  int64_t destroyed = 0;  // of these
  int64_t cells = 0;      // room for so many objects' counts, at 24 bytes each
};

// Thread-safe. The heap must outlive it and every Owner of it. Not yet to be used in a forked
// child. What is alive when it goes, since a reference was left or in cycles, is logged, and its
// destructors do not run; a reference that was left reads as null from then on. A Domain that is
// destroyed while threads are attached goes with the last of them.
class Domain {
 public:
  explicit Domain(Heap& heap, const DomainOptions& options = DomainOptions());
  ~Domain();
  Domain(const Domain&) = delete;
  Domain& operator=(const Domain&) = delete;

  DomainStats stats() const;

  // For Ebb's own classes.
  const std::shared_ptr<internal::DomainState>& state() const { return state_; }

 private:
  const std::shared_ptr<internal::DomainState> state_;
};

}  // namespace ebb::rc

#endif  // EBB_HEAP_RC_DOMAIN_H_
