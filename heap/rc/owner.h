// Owner: a thread that makes counted objects. Design: docs/design/counting.md

#ifndef EBB_HEAP_RC_OWNER_H_
#define EBB_HEAP_RC_OWNER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "heap/mutator.h"
#include "heap/rc/callback_table.h"
#include "heap/rc/cell.h"
#include "heap/rc/cell_table.h"
#include "heap/rc/domain.h"
#include "heap/rc/domain_state.h"
#include "heap/rc/local_slots.h"
#include "heap/rc/zero_count_lists.h"
#include "heap/ref.h"

namespace ebb::rc {

namespace internal {
class CycleDetector;
}  // namespace internal

// Attaches a thread to a domain, on its stack, after the Mutator that it allocates by; for its own
// thread only. The thread owns what it makes: its own references to these objects cost no atomic
// operation. Any thread may copy and drop references, but only a thread with a Mutator may follow
// them, and only one with an Owner makes objects: in the domain of its newest one.
//
// The constructor throws MisuseError unless `mutator` is the calling thread's, and of the domain's
// heap.
class Owner {
 public:
  Owner(Domain& domain, Mutator& mutator);
  // Destroys what waits for it, and calls what is due, until nothing is. A safepoint, as Step is.
  ~Owner();
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;

  // Destroys objects that wait for it: those of a lazy domain, those of this thread that another
  // one dropped, and those that died on a thread without an Owner; then calls the finalizers and
  // WeakCallbacks that are due. At most `objects` of all these, and none is begun when `time` has
  // passed. Whether another call would find more to do. MakePtr does the same for a few, so this is
  // for threads that make nothing for long. Counts down what dead holders have held; ends the
  // epoch, where stores are coalesced and anything waits or is logged: a pause of the heap. A
  // safepoint if it does, or something is called; in a NoSafepoint scope, and by what it calls
  // itself, nothing is. Does nothing in a destructor, or while `mutator` is blocked or suspended.
  bool Step(int64_t objects = INT64_MAX, absl::Duration time = absl::InfiniteDuration());

  // For Domain::Collect.
  absl::StatusOr<Detection> Collect(absl::Duration patience);
  // The same for the domain's thread, which has its turn.
  // Only if it is `mixed`, it looks for cycles through traced objects.
  absl::StatusOr<Detection> DetectInTurn(absl::Duration patience, bool mixed);
  // act(), while counts say all but what Locals name, also in a coalesced domain. There a
  // safepoint, and FailedPrecondition where none may be.
  absl::Status WithExactCounts(absl::FunctionRef<absl::Status()> act);
  // For questions: question(), while no other thread detects. A safepoint. FailedPrecondition where
  // that may not be; `what` is for messages.
  absl::Status Ask(const char* what, absl::FunctionRef<absl::Status()> question);

  // For Domain::TrimCells.
  absl::StatusOr<int64_t> TrimCells();

  Mutator& mutator() { return mutator_; }
  // For Local.
  internal::LocalSlots& locals() { return *locals_; }
  const internal::CellTable& table() const { return table_; }

  // For MakePtr. The calling thread's newest; throws MisuseError if there is none.
  static Owner& Newest() {
    if (newest == nullptr) [[unlikely]]
      ThrowNone();
    return *newest;
  }
  // The same; FailedPrecondition if there is none.
  static absl::StatusOr<Owner*> TryNewest();
  // A free cell; null if there is none at hand.
  internal::Cell* TryTakeCell() {
    if (!recent_.empty()) return &recent_.Pop();
    return free_.empty() ? nullptr : &free_.Pop();
  }
  // The same with a safepoint, and the errors of CellTable::Take.
  absl::StatusOr<internal::Cell*> TakeCell();
  // One reference to an object that has just been made.
  void Start(internal::Cell& cell, Ref<internal::CountedObject> object) {
    cell.Start();
    *cell.address() = object;
    internal::Tally::Add(tally_.made);
  }
  // For NewHolder. May throw std::bad_alloc.
  void AddHolder(uintptr_t object) { domain_->holders().Add(object); }
  // After each object made. Six loads if nothing is due.
  void StepIfDue();

  // For references, by any thread. The last counted one of a cell has gone.
  static void Died(internal::Cell& cell);
  // The same of one that waits already, in whosever list. The table may be gone.
  static void DiedAgain(const internal::CellTable& table);
  // The last of any kind has gone.
  static void Free(internal::Cell& cell);

  // The calling thread's, of the domain of `table`; null if it has none.
  static Owner* Find(const internal::CellTable& table);

 private:
  [[noreturn]] static void ThrowNone();

  void DetectIfFree();
  absl::Status CheckMayDetect(const char* what = "ebb::rc::Domain::Collect") const;
  // f(), in this thread's turn.
  void AwaitTurn(absl::FunctionRef<void()> f);
  // Of this thread's newest Owner of a coalesced domain; null if there is none.
  static internal::StoreLog* NewestLog();
  // Whether this thread may touch the heap.
  bool MayDestroy() const;
  // Whether what waits can be judged: counts say all but what Locals name.
  bool MayJudge() const { return log_ == nullptr || log_->is_eager(); }
  bool HasReady() const { return waiting_.has_ready() && MayJudge(); }
  // In a coalesced domain: whether Step ends the epoch, as something dies or may die.
  bool IsEpochOfUse() const;
  // Whether MakePtr ends the epoch.
  bool IsEpochDue() const { return waiting_.ready() >= kWaitPerEpoch || log_->is_due(); }
  // Whether this thread has another one of the same domain.
  bool IsOneOfSeveral() const;
  void AddDead(internal::CellList cells) { dead_.PushAll(cells); }
  // Of those that wait, up to so many new ones and so many that are due: what no Local names is
  // dead.
  void Judge(int64_t cells);
  void BeginRound();
  // All that has died since dead_ had so many, and dies by that.
  void DestroyNew(int64_t others);
  // What other threads have dropped of this one's, what threads without an Owner have, and some of
  // what dead holders have held.
  void TakeOver();
  // What Step does when something is due or not: it judges only if it `judges`.
  bool StepSome(int64_t objects, absl::Duration time, bool judges);
  // Of dead_, from its front, at most so many, until `rest` are left. What dies as an object is
  // destroyed is next, in the order in which it died; what waits since then is judged first, if it
  // `judges`, so that the order is the same with Locals and without. How many it were.
  int64_t DestroyDead(int64_t rest, int64_t objects, bool judges);
  void Destroy(internal::Cell& cell);
  // The detector's dead; if `lazily`, they are left to be destroyed: how many.
  int64_t DestroyFound(internal::CycleDetector& detector, bool lazily);
  void GiveCell(internal::Cell& cell);
  void GiveAll();
  // All that have become free by this thread.
  void GiveFreed();

  // Finalizers and WeakCallbacks, unless the time is up.
  void CallWhatIsDue(int64_t at_most, absl::FunctionRef<bool()> time_is_up);
  // A WeakCallback, if all that died with its object is destroyed, or else a finalizer. Whether any
  // may be called now.
  bool CallOne();
  // Consumes a reference.
  void CallFinalizer(internal::Cell& cell);
  void CallBack(internal::Callback& callback);
  bool MayCall() const;
  void AddCalls(internal::CallbackList callbacks);

  // In a coalesced domain: from its beginning to its end stores are counted, and counts are right
  // (Coalescer::BeginEager). Nothing in others. By the Owner's thread; nests.
  class EagerPhase {
   public:
    // If `wanted`.
    explicit EagerPhase(Owner& owner, bool wanted = true);
    ~EagerPhase();
    EagerPhase(const EagerPhase&) = delete;
    EagerPhase& operator=(const EagerPhase&) = delete;
    // FailedPrecondition where the thread must not stop: then there is none.
    const absl::Status& status() const { return status_; }

   private:
    Owner& owner_;
    absl::Status status_;
    bool has_begun_ = false;
  };
  friend class EagerPhase;

  static constexpr int64_t kWaitPerEpoch = 1024;
  static constexpr int64_t kMadePerRound = 64;
  static constexpr int64_t kDuePerRound = 1024;
  static constexpr size_t kMostRecent = 64;
  static constexpr size_t kGivenAtOnce = 1024;

  static constinit thread_local Owner* newest;

  Mutator& mutator_;
  const std::shared_ptr<internal::DomainState> domain_;
  internal::CellTable& table_;
  const bool lazy_;
  bool destroying_ = false;
  bool calling_ = false;
  bool detecting_ = false;
  bool detection_due_ = false;
  internal::LocalSlots* locals_ = nullptr;  // this thread's
  internal::FreeCells free_;
  // That have become free by this thread: a few that are used again first, as they are likely to be
  // in its cache; and others, which are about to be given back.
  internal::CellList recent_;
  // Undefined from the count on.
  std::array<const internal::Cell*, kGivenAtOnce + kMostRecent> given_;
  size_t given_count_ = 0;
  internal::CellList dead_;            // their objects wait to be destroyed
  internal::CellList dropped_;         // by the destructor that runs
  internal::StoreLog* log_ = nullptr;  // null if the domain counts eagerly
  internal::ZeroCountLists waiting_;
  // Objects made until waiting_ is looked at again.
  int64_t round_in_ = kMadePerRound;
  internal::CellList finalizable_;  // dead; their finalizers are to be called first
  internal::CallbackList callbacks_;
  int64_t calls_due_ = 0;  // of these two
  internal::Tally tally_;
  Owner* older_ = nullptr;  // of the same thread
};

}  // namespace ebb::rc

#endif  // EBB_HEAP_RC_OWNER_H_
