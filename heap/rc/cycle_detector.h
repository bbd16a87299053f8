// CycleDetector: finds counted objects that only each other's Fields refer to. Design:
// docs/design/detection.md

#ifndef EBB_HEAP_RC_CYCLE_DETECTOR_H_
#define EBB_HEAP_RC_CYCLE_DETECTOR_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "heap/heap.h"
#include "heap/mutator.h"
#include "heap/rc/callback_table.h"
#include "heap/rc/cell.h"
#include "heap/rc/cell_table.h"
#include "heap/rc/domain.h"
#include "heap/rc/owner_queues.h"
#include "heap/rc/suspect_chunks.h"
#include "heap/rc/thread_index.h"
#include "heap/stopped_heap.h"

namespace ebb::rc::internal {

struct CountedType;
class HolderTable;

// Runs once, on one thread, beside threads that count, store and destroy; one at a time for a
// table.
//
// Trial deletion on all objects of a domain (Christopher, 1984; CPython), not from candidate roots
// as of Lins. A first look is racy and only says who is a suspect. Those are looked at again, as
// inv.suspect and inv.field-moves hold, in the place of the Sigma and Delta tests of Bacon and
// Rajan (ECOOP 2001): what has as many references then as were found in suspects' Fields is
// condemned, and if no weak reference was upgraded meanwhile, it dies. Model: heap/rc/detection.pml
class CycleDetector {
 public:
  // Objects are read through `mutator`, the calling thread's. All mutators of the thread pass
  // safepoints meanwhile.
  CycleDetector(Heap& heap, CellTable& table, HolderTable& holders, Mutator& mutator,
                const DetectionDebug& debug)
      : heap_(heap),
        table_(table),
        holders_(holders),
        mutator_(mutator),
        debug_(debug),
        chunks_(heap.system()) {}
  CycleDetector(const CycleDetector&) = delete;
  CycleDetector& operator=(const CycleDetector&) = delete;

  // Looks for garbage; for cycles through traced objects only if it is `mixed`. Waits up to
  // `patience` for threads that own suspects; what they do not merge by then counts as alive.
  // ResourceExhausted if there is no memory for the side arrays and requests: then nothing has been
  // found, and each count is right, but some have been merged. O(cells, and Fields of suspects) for
  // each of some passes: three over Fields if nothing is spared, and at worst one more for each
  // suspect that is.
  absl::Status Look(absl::Duration patience, bool mixed);
  // The same once more, when the finalizers have been called, but only at what these may have
  // reached: it is garbage unless they have revived it.
  absl::Status LookAgain(absl::Duration patience);

  // What the last look has found. Cells of which the objects are to be destroyed, and whose Fields
  // do not lead to one another any more.
  CellList TakeDead() { return std::move(dead_); }
  // Those of which the finalizers are to be called, with one reference each.
  bool has_finalizable() const { return !finalizable_.empty(); }
  std::vector<Cell*> TakeFinalizable() { return std::move(finalizable_); }
  // Garbage that stays as it is, with one reference each: uncollectable, or all if that is asked
  // for (DetectionDebug::save_all).
  std::vector<Cell*> TakeKept() { return std::move(kept_); }

  // The WeakCallbacks of all that was set aside for finalizers.
  CallbackList TakeCallbacks() { return std::move(callbacks_); }

  const Detection& figures() const { return figures_; }

 private:
  using State = SuspectChunk::State;
  using Place = SuspectPlace;

  // The phases, in order. Memory is needed by the first eight, and by Decide where holders are at
  // stake: if there is none then, what was condemned is pardoned.
  absl::Status MakeSideArrays();
  absl::Status LookAtHolders();
  void CountFromOutside();
  void MarkAlive();
  void DecideAboutHolders();
  void MakeRoomForCells();
  int64_t MakeSuspects(absl::Duration patience);
  void AwaitMerges(absl::Duration patience);
  void CountInside();
  void Condemn();
  bool SpareWhatIsNamed();
  bool KeepUncollectable();
  void SetFinalizableAside();
  void LogWhatIsSetAside() const;
  void Execute();

  // f(), and the time that it takes is counted. Its Status; ResourceExhausted if it throws
  // std::bad_alloc.
  absl::Status RunTimed(absl::FunctionRef<absl::Status()> f);
  // From MakeSuspects on: what is found turns out to be garbage, or is spared. In a pause, if
  // holders are at stake.
  absl::Status Decide();
  void DecideWhatIsGarbage();
  absl::Status DecideInPause(ebb::internal::StoppedHeap& stopped);
  // The phases of that which are about traced objects.
  void MarkFromRoots(ebb::internal::StoppedHeap& stopped);
  void EmptyDeadHolders(ebb::internal::StoppedHeap& stopped);
  // What has been condemned is not.
  void PardonAll();
  void PassSafepoint();
  static bool LeadsToTraced(const Cell& cell);

  // Calls f(place) for each cell in the state kFound, with safepoints between.
  template <typename F>
  void ForEachFound(F f);
  // The same for the state kAside.
  template <typename F>
  void ForEachAside(F f) {
    ForEachIn(State::kAside, f);
  }
  template <typename F>
  void ForEachIn(State state, F f);
  // Calls f(place) for each in the state kFound that an rc::Local names.
  template <typename F>
  void ForEachNamed(F f);
  // Calls f(field, target) for each Field of the object of `cell` that leads to a cell of chunks_.
  // Its type; null if there is no object.
  template <typename F>
  const CountedType* ForEachField(Cell& cell, F f);
  bool IsUnexpected(const CountedType& type) const;
  // `root`, and all in the state kFound that it leads to, get that state; of each, f(cell).
  template <typename F>
  void MarkFrom(Place root, State state, F f);
  // The same of what is on the list, which is in that state already, and of what traced objects
  // lead to that have been reached and not been looked at.
  template <typename F>
  void MarkAll(int32_t list, State state, F f);
  // `place` and what it leads to are neither found nor suspects nor condemned any more.
  void Spare(Place place);
  static bool IsStillCondemned(Place place);
  // Spares all of the state kFound of which f(place) is false. Whether there were none.
  template <typename F>
  bool SpareUnless(F f);
  // Adds to `cells`, which has room for them, and to the figure, those found of which
  // take(type, cell) is true. Then calls f(place) for those that are still found then. Whether
  // there were none.
  template <typename Take, typename F>
  bool SetAside(std::vector<Cell*>& cells, int64_t Detection::* figure, Take take, F f);
  bool in_pause() const { return reachable_.has_value(); }
  // Of one that is in chunks_.
  Place PlaceOf(const Cell& cell);
  // Whether it is, in that state.
  bool IsFound(const Cell& cell);
  // Those of `chunk`; null if it is none of chunks_. It may be another domain's, and gone.
  SuspectChunk* Find(const CellChunk* chunk);
  static void Prefetch(const SuspectChunk& side, size_t index);

  Heap& heap_;
  CellTable& table_;
  HolderTable& holders_;
  Mutator& mutator_;
  const DetectionDebug debug_;
  SuspectChunks chunks_;
  // Not Abseil's, both: that does not survive an allocation that throws.
  std::unordered_map<const CellChunk*, SuspectChunk*> by_chunk_;
  std::pair<const CellChunk*, SuspectChunk*> last_found_ = {};  // mostly the next one, too
  // What owners have been asked for; cancelled before the table can be closed.
  std::unordered_map<ThreadIndex, std::shared_ptr<OwnerQueues::MergeRequest>> requests_;
  SafepointNowAndThen safepoint_;
  // What holders refer to, a moment ago. Whether suspects may be garbage all the same.
  std::vector<Cell*> held_;
  bool holders_at_stake_ = false;
  // In a pause: which traced objects are alive, but for what only garbage leads to.
  std::optional<ebb::internal::Reachability> reachable_;
  // Objects in the domain, at first.
  size_t with_finalizer_ = 0;
  size_t uncollectable_ = 0;
  CellList dead_;
  std::vector<Cell*> finalizable_;
  std::vector<Cell*> kept_;
  size_t kept_before_ = 0;  // by looks that have ended
  CallbackList callbacks_;
  Detection figures_;
};

}  // namespace ebb::rc::internal

#endif  // EBB_HEAP_RC_CYCLE_DETECTOR_H_
