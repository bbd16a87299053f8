// Domain: the counted objects of a heap that count together. Design: docs/design/counting.md

#ifndef EBB_HEAP_RC_DOMAIN_H_
#define EBB_HEAP_RC_DOMAIN_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
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

// When cycles of counted objects are looked for.
enum class Detect {
  kOnDemand,  // by Domain::Collect
  // Not to be used yet: see Domain::Collect. Also by whichever thread makes one object too many:
  // then its MakePtr takes as long as a detection does.
  kAutomatic,
};

struct DomainOptions {
  Reclaim reclaim = Reclaim::kPrompt;
  Detect detect = Detect::kOnDemand;
  // kAutomatic: when so many objects more are there than after the last detection, and this share
  // of those that were there then. So the work per object made is bounded.
  int64_t detect_after = 10'000;
  double detect_share = 0.25;
};

// What a detection of cycles did.
struct Collection {
  int64_t visited = 0;    // objects
  int64_t suspects = 0;   // of these, that only others seemed to refer to, at a first look
  int64_t collected = 0;  // objects that only each other's Fields referred to
  absl::Duration time;    // without destructors
};

// Figures of a domain; exact when no thread counts.
struct DomainStats {
  int64_t made = 0;         // objects, ever
  int64_t destroyed = 0;    // of these
  int64_t cells = 0;        // room for so many objects' counts, at 24 bytes each
  int64_t collections = 0;  // detections of cycles, ever
  Collection collected;     // sums over them
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

  // Finds objects that only each other's rc::Fields refer to, and destroys them (in a lazy domain:
  // puts them on the thread's list). A destructor of one sees its Fields to the others as null, and
  // those that lead elsewhere as they are. From the moment they are found no Upgrade gives them
  // back. What an rc::Ptr refers to is alive wherever that lies.
  //
  // Other threads count, store, make and drop meanwhile, and none is stopped; what becomes garbage
  // meanwhile is left for the next time. Waits up to `patience` for threads that made the objects
  // and may still count them, until their next MakePtr or Owner::Step; what they do not get to is
  // left. A safepoint. Any thread that is attached to the heap or could be. Errors:
  // FailedPrecondition in a destructor, or while the thread's Mutator is blocked or suspended;
  // ResourceExhausted if there is no memory for it (9 bytes an object): then nothing has changed.
  // O(objects of the domain).
  //
  // Known defects, of memory safety too (docs/design/detection.md#known-defects): until they are
  // mended, from one thread at a time, with one heap in the process, and without Fields into
  // another domain.
  absl::StatusOr<Collection> Collect(absl::Duration patience = absl::Milliseconds(10));

  // Whether Detect::kAutomatic is in force; it is what the options say at first.
  void Enable();
  void Disable();
  bool IsEnabled() const;

  // For Ebb's own classes.
  const std::shared_ptr<internal::DomainState>& state() const { return state_; }

 private:
  const std::shared_ptr<internal::DomainState> state_;
};

}  // namespace ebb::rc

#endif  // EBB_HEAP_RC_DOMAIN_H_
