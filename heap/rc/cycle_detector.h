// CycleDetector: finds counted objects that only each other's Fields refer to. Design:
// docs/design/detection.md

#ifndef EBB_HEAP_RC_CYCLE_DETECTOR_H_
#define EBB_HEAP_RC_CYCLE_DETECTOR_H_

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "heap/mutator.h"
#include "heap/rc/cell.h"
#include "heap/rc/cell_table.h"
#include "heap/rc/domain.h"

namespace ebb::rc::internal {

// Side arrays of a chunk, by a cell's index.
struct SuspectChunk {
  enum class State : uint8_t {
    kAbsent,  // no object, or one that was made after the detection began
    kFound,   // may be garbage
    kAlive,   // something from outside leads to it
  };

  CellChunk* chunk = nullptr;
  int32_t number = 0;
  std::array<State, CellChunk::kCells> states = {};
  // References from outside: all there are, less those that were found in Fields. Of kAlive: the
  // next cell on the list of those whose Fields have not been followed yet.
  std::array<int32_t, CellChunk::kCells> outside;
  // How many references a suspect had when it became one for sure.
  std::array<int32_t, CellChunk::kCells> counts;
};

// Runs once, on one thread, beside threads that count, store and destroy; it stops none of them.
//
// Trial deletion (Christopher, 1984; as of Lins, 1992) on all objects of a domain. A first look is
// racy and only says who is a suspect. Those are looked at again, as inv.suspect and
// inv.field-moves hold: what no reference leads to then but from another suspect's Field, is
// condemned, and if no weak reference was upgraded meanwhile, it dies. Model: heap/rc/detection.pml
class CycleDetector {
 public:
  // A counted object's Fields are read through `mutator`, the calling thread's, which reaches
  // safepoints meanwhile.
  CycleDetector(CellTable& table, Mutator& mutator) : table_(table), mutator_(mutator) {}
  ~CycleDetector();
  CycleDetector(const CycleDetector&) = delete;
  CycleDetector& operator=(const CycleDetector&) = delete;

  // Appends to `dead` cells of which the objects are to be destroyed, and whose Fields do not lead
  // to one another any more. Waits up to `patience` for threads that own suspects; what they do not
  // merge by then counts as alive. ResourceExhausted if there is no memory for the side arrays:
  // then every count is as before. O(objects and Fields of the domain), twice for what dies.
  absl::Status Run(absl::Duration patience, CellList& dead);

  const Collection& figures() const { return figures_; }

 private:
  using State = SuspectChunk::State;
  class Place;

  // The phases, in order. Memory is needed by the first and the fourth alone.
  void MakeSideArrays();
  void CountFromOutside();
  void MarkAlive();
  void MakeSuspects(absl::Duration patience);
  void RecordCounts();
  void SpareWhatIsReferredTo();
  void Condemn();
  void Execute(CellList& dead);

  // Calls f(place) for each cell in the state kFound, with safepoints between.
  template <typename F>
  void ForEachFound(F f);
  // Calls f(field, target) for each Field of the object of `cell` that leads to a cell with a
  // place.
  template <typename F>
  void ForEachField(Cell& cell, F f);
  // `root`, and all in the state kFound that it leads to, become kAlive; of each, f(cell).
  template <typename F>
  void MarkAliveFrom(Place root, F f);
  // `place` and what it leads to are neither found nor suspects nor condemned any more.
  void Spare(Place place);
  void SafepointNowAndThen();

  CellTable& table_;
  Mutator& mutator_;
  std::vector<std::unique_ptr<SuspectChunk>> chunks_;
  int64_t steps_ = 0;
  Collection figures_;
};

}  // namespace ebb::rc::internal

#endif  // EBB_HEAP_RC_CYCLE_DETECTOR_H_
