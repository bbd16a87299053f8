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
  // Also by whichever thread makes one object too many: its MakePtr then takes as long as a
  // detection and the destruction of what it finds, and waits for other threads, up to 1 ms.
  kAutomatic,
};

struct DomainOptions {
  Reclaim reclaim = Reclaim::kPrompt;
  Detect detect = Detect::kOnDemand;
  // kAutomatic: a detection is due when the cells in use are more than those after the last one by
  // so many, and by this share of them; looked at when a thread takes cells, 8,176 new ones at
  // once. Neither is negative.
  int64_t detect_after = 10'000;
  double detect_share = 0.25;
};

// What a detection of cycles did.
struct Detection {
  int64_t visited = 0;    // objects
  int64_t suspects = 0;   // of these, seemed to be referred to by each other's Fields only
  int64_t collected = 0;  // objects that only each other's Fields referred to
  absl::Duration time;    // with the wait for other threads, without destructors
};

// Figures of a domain; exact when no thread counts.
struct DomainStats {
  int64_t made = 0;        // objects, ever
  int64_t destroyed = 0;   // of these
  int64_t cells = 0;       // room for so many objects' counts, at 24 bytes each
  int64_t detections = 0;  // of cycles, ever
  Detection detected;      // sums over them
};

// Thread-safe. The heap must outlive it and every Owner of it. Not yet to be used in a forked
// child. What is alive when it goes, since a reference was left or in cycles, is logged, and its
// destructors do not run (call Collect first, where there may be cycles); a reference that was left
// reads as null from then on. A Domain that is destroyed while threads are attached goes with the
// last of them.
class Domain {
 public:
  explicit Domain(Heap& heap, const DomainOptions& options = DomainOptions());
  ~Domain();
  Domain(const Domain&) = delete;
  Domain& operator=(const Domain&) = delete;

  DomainStats stats() const;

  // Finds objects that only each other's rc::Fields refer to, and destroys them (in a lazy domain:
  // destroys first all that waits, and puts these on the thread's list). A destructor of one sees
  // its Fields to the others as null, and those that lead elsewhere as they are. From the moment
  // they are found no Upgrade gives them back. What an rc::Ptr refers to is alive wherever that
  // lies, as is what a Field refers to that is not a member, or in members that are structs or
  // arrays: in a container, say.
  //
  // Other threads count, store, make and drop meanwhile; what becomes garbage meanwhile is left for
  // the next time. Waits for another thread's detection to end, and then up to `patience` for
  // threads that made the objects and may still count them, until their next MakePtr or
  // Owner::Step; what they do not get to is left. So none found does not mean that there was none.
  // What another thread made and seemed to be garbage, that thread counts by atomic changes from
  // then on.
  //
  // A safepoint, of all heaps that the thread is attached to. Any thread; one without an Owner is
  // attached for the call. Errors: FailedPrecondition in a destructor, in a NoSafepoint scope, or
  // while the Mutator of the thread's Owner is blocked or suspended; ResourceExhausted if there is
  // no memory (9 bytes a cell, 8 for each suspect that another thread made), and then nothing is
  // destroyed. O(objects of the domain), unless what seems to be garbage keeps turning out not to
  // be: see CycleDetector::Run.
  absl::StatusOr<Detection> Collect(absl::Duration patience = absl::Milliseconds(10));

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
