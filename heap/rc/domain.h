// Domain: the counted objects of a heap that count together. Design: docs/design/counting.md

#ifndef EBB_HEAP_RC_DOMAIN_H_
#define EBB_HEAP_RC_DOMAIN_H_

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "heap/heap.h"

namespace ebb::internal {
class JobThread;
}  // namespace ebb::internal

namespace ebb::rc {

class AnyPtr;

namespace internal {
class DomainState;
}  // namespace internal

// When an object whose last reference has gone is destroyed.
enum class Reclaim {
  // Before the next statement, by the thread that dropped the reference (at the end of an epoch,
  // where stores are coalesced). If another thread made the object, and still counts it: by that
  // one's next MakePtr or Owner::Step.
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
  // Also by a thread of the domain's own, which that MakePtr wakes: it destroys and finalizes what
  // it finds. As kAutomatic where the system refuses such a thread.
  kBackground,
};

// What a detection of cycles did.
struct Detection {
  int64_t visited = 0;    // objects
  int64_t suspects = 0;   // of these, seemed to be referred to by each other's Fields only
  int64_t collected = 0;  // objects that only each other's Fields referred to
  int64_t finalized = 0;  // objects of which the finalizers were called
  // Garbage that was put into the list of garbage, and not destroyed.
  int64_t kept = 0;
  // Traced objects that were garbage, and held counted references: see rc::NewHolder. Only where
  // objects were suspects to which such objects refer.
  int64_t holders = 0;
  absl::Duration time;  // with the wait for other threads, without destructors and finalizers
  // Of this, the time in which it was decided what is garbage with all mutators of the heap
  // stopped: none, unless suspects, to some of which holders refer, lead to traced objects that
  // have references; and no automatic detection has one before the cells in use are more, by the
  // thresholds, than after the last that looked for cycles through traced objects, or the least
  // since. Not in it: a look at the holders, O(their number), and the end of an epoch.
  absl::Duration pause;
};

// What a domain calls: the destructors and finalizers of objects, and WeakCallbacks.
enum class Called { kDestructor, kFinalizer, kWeakCallback };

// What a domain tells. Overrides must be thread-safe: any thread that detects, makes or drops
// objects calls them. What they throw is logged.
class Listener {
 public:
  virtual ~Listener() = default;
  // Before a detection and after it, destructors and finalizers included, by its thread. May
  // allocate; but Collect is an error there, and who waits for a thread that may be in Collect
  // waits for ever. The Status: as of Collect.
  virtual void OnDetectionStart() {}
  virtual void OnDetectionEnd(const absl::StatusOr<Detection>&) {}
  // Something has thrown: std::current_exception(). `type` is the object's, where that is known.
  // Logs an error unless it is overridden. It must not allocate from a heap if a destructor has
  // thrown (one that is noexcept(false), that is).
  virtual void OnException(Called called, std::string_view type);
};

// For those who look for leaks. Logged by Abseil, which shows INFO and WARNING where
// absl::SetStderrThreshold lets it.
struct DetectionDebug {
  bool stats = false;          // logs what each detection did, and in the end what all did
  bool collectable = false;    // logs the types of what it is about to destroy or finalize,
  bool uncollectable = false;  // and of what it puts into the list of garbage
  // Puts all garbage there: none is finalized or destroyed, until the list is taken.
  bool save_all = false;
};

// How stores to rc::Fields are counted.
enum class Stores {
  kEager,  // each, at once
  // In epochs: the first store to a Field in an object is logged, later ones only store; at the end
  // of the epoch the value before the first and the one after the last are counted. So objects die
  // at the end of an epoch, not before: when 1,024 that seem dead wait for a thread, when a thread
  // has logged many Fields, by Owner::Step and Collect; Reclaim says how. Pays where threads store
  // to Fields over and over whose objects other threads have made (docs/design/coalescing.md). An
  // epoch's end is a pause of the heap, which needs Options::field_logging, and can have one such
  // domain: else the constructor throws MisuseError. use_count is as of the last epoch, and until
  // its end an Upgrade gives back what has lost its last reference. The nursery has no bits: stores
  // to young objects are counted at once.
  kCoalesced,
};

struct DomainOptions {
  Reclaim reclaim = Reclaim::kPrompt;
  Stores stores = Stores::kEager;
  Detect detect = Detect::kOnDemand;
  // Unless on demand: a detection is due when the cells in use are more than those after the last
  // one by so many, and by this share of them; looked at when a thread takes cells, up to 8,176
  // at once. The constructor throws MisuseError if one of the two is negative or no number; see
  // Domain::SetThresholds.
  int64_t detect_after = 10'000;
  double detect_share = 0.25;
  // Outlives the domain and its Owners.
  Listener* listener = nullptr;
};

// As of DomainOptions.
struct DetectionThresholds {
  int64_t detect_after = 0;  // cells
  double detect_share = 0;   // of the cells in use after the last detection
};

// Figures of a domain; exact when no thread counts.
struct DomainStats {
  int64_t made = 0;        // objects, ever
  int64_t destroyed = 0;   // of these
  int64_t finalized = 0;   // finalizers called, ever
  int64_t cells = 0;       // room for so many objects' counts, at 24 bytes each, used or free
  int64_t detections = 0;  // of cycles, ever
  Detection detected;      // sums over them
};

// Thread-safe. The heap must outlive it and every Owner of it: else the program is stopped, with a
// message. In a forked child it works as in the parent, by the thread that is there; what other
// threads referred to stays alive for good, and what waited to be destroyed by them waits for ever.
// What is alive when it goes, since a reference was left or in cycles, is logged, with the most
// frequent types, and its destructors do not run (call Collect first, where there may be cycles);
// from then on get() of a reference that was left, and of what an Upgrade gives back, is null,
// though such a reference does not equal nullptr. In a NoSafepoint scope, no other thread may be
// storing to Fields of a coalesced domain that goes. To destroy one while anything is alive, or
// with a thread of its own (Detect::kBackground), is a safepoint; the latter is not for what that
// thread calls. A Domain that is destroyed while threads are attached goes with the last of them.
class Domain {
 public:
  explicit Domain(Heap& heap, const DomainOptions& options = DomainOptions());
  ~Domain();
  Domain(const Domain&) = delete;
  Domain& operator=(const Domain&) = delete;

  DomainStats stats() const;

  // Finds objects that only each other's rc::Fields refer to, or traced objects (rc::NewHolder) to
  // which only such objects lead, and destroys them (in a lazy domain: destroys first all that
  // waits, and puts these on the thread's list). A destructor of one sees its Fields to the others
  // as null, and those that lead elsewhere as they are; and those of such traced objects as null.
  // From the moment they are found no Upgrade gives them back. Those with finalizers, and what
  // these may reach, are destroyed after the finalizers have been called, unless that has revived
  // them: see MakePtr.
  // Calls what else is due, as Owner::Step does. What an rc::Ptr refers to is alive wherever that
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
  // attached for the call. Errors: FailedPrecondition in a destructor, in what a detection (a
  // finalizer, a Listener), a domain's own thread or VisitObjects calls, in a NoSafepoint scope, or
  // while the Mutator of the thread's Owner is blocked or suspended; ResourceExhausted if there is
  // no memory (5 bytes a cell, 8 for each suspect that another thread made, and for each if some
  // have finalizers, 8 for each reference in a holder), and then nothing is destroyed. O(objects of
  // the domain), unless what seems to be garbage keeps turning out not to be: see
  // CycleDetector::Look. If suspects, to some of which holders refer, lead to traced objects that
  // have references, also O(live objects of the heap) and 1/64 of their size, by one thread, with
  // all mutators stopped.
  absl::StatusOr<Detection> Collect(absl::Duration patience = absl::Milliseconds(10));

  // Gives the room of free cells back, 8,176 at a time where none of these is in use: how many it
  // were. A detection does so at its end, but keeps what may be taken until the next one is due
  // (SetThresholds). What other threads have at hand stays as it is. Waits for another thread's
  // detection to end. A safepoint, and errors, as of Collect. O(cells / 8,176).
  absl::StatusOr<int64_t> TrimCells();

  // Whether cycles are looked for without being asked to; at first, as the options say. Enabled
  // with kOnDemand, it is as with kAutomatic.
  void Enable();
  void Disable();
  bool IsEnabled() const;

  // Replaces what the options say of when a detection is due. Counted from the last detection, or
  // else from the domain's beginning: so one may be due at once, and is looked for when a thread
  // next takes cells. An infinite share: never. InvalidArgument if one is negative or no number,
  // and then nothing has changed. Any thread; O(1).
  absl::Status SetThresholds(int64_t detect_after, double detect_share);
  DetectionThresholds Thresholds() const;

  // What detections leave alone: they do not look at such an object, so what it refers to is alive,
  // and so is it. It is destroyed as ever when its last reference goes. May throw std::bad_alloc.
  // Any thread; O(1).
  static void Track(const AnyPtr& object);  // as each is at first
  static void Untrack(const AnyPtr& object);
  static bool IsTracked(const AnyPtr& object);  // whether or not it is frozen
  //
  // Freeze: the same for all that there is now, and what was frozen before, until Unfreeze. And it
  // is Heap::Freeze: cycles of the heap move none of it any more, and leave its pages shared after
  // a fork, until it is resized. Best after Collect, as garbage in cycles is frozen, too. A
  // safepoint. Errors: FailedPrecondition as of Heap::Collect, and then nothing has been done;
  // ResourceExhausted if there is not the memory for all that. Any thread. (What another thread
  // destroys meanwhile may leave its place frozen for what is made there.) O(cells), and a cycle.
  absl::Status Freeze();
  void Unfreeze();  // for detections: nothing is moved back. O(cells)
  // How many of what is frozen are still there; while another thread detects, some may count
  // twice. O(cells).
  int64_t FreezeCount() const;

  // Whether the object has a finalizer, and that has been called or is about to be. By threads with
  // a Mutator of the heap.
  static bool IsFinalized(const AnyPtr& object);

  // Questions, for debugging: while no other thread makes or drops references to objects of the
  // domain. They wait for another thread's detection to end. Safepoints, and errors, as of Collect;
  // ResourceExhausted if there is no memory for the answer. O(cells), but for Referents.
  //
  // Calls visit(object) for each that is alive, until that is false. It may do what it likes but
  // Collect; what it throws passes through.
  absl::Status VisitObjects(absl::FunctionRef<bool(const AnyPtr&)> visit);
  absl::StatusOr<std::vector<AnyPtr>> Objects();
  // Those with a Field that leads to one of `objects`.
  absl::StatusOr<std::vector<AnyPtr>> Referrers(absl::Span<const AnyPtr> objects);
  // What the Fields of `objects` lead to, as often as they do.
  absl::StatusOr<std::vector<AnyPtr>> Referents(absl::Span<const AnyPtr> objects);

  // From the next detection on. Logged as INFO.
  void SetDebug(const DetectionDebug& debug);
  // The list of garbage, which is empty then: objects of which detections found out that only
  // cycles keep them, and that were not destroyed because their type is uncollectable
  // (`static constexpr bool kUncollectable = true`, public), or because of save_all. Whatever such
  // an object leads to stays as it is, too. Who drops what this returns without having broken the
  // cycles finds it here again. What remains in the list when the Domain goes is dropped. May throw
  // std::bad_alloc.
  std::vector<AnyPtr> TakeGarbage();

  // For Ebb's own classes.
  const std::shared_ptr<internal::DomainState>& state() const { return state_; }

 private:
  // The job of the domain's own thread.
  void DetectIfDue();
  // `what`: which question wants it.
  absl::Status VisitObjects(const char* what, absl::FunctionRef<bool(const AnyPtr&)> visit);

  const std::shared_ptr<internal::DomainState> state_;
  std::unique_ptr<ebb::internal::JobThread> detecting_thread_;  // null: there is none
};

}  // namespace ebb::rc

#endif  // EBB_HEAP_RC_DOMAIN_H_
