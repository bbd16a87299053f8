// ZeroCountLists: a thread's cells without references, which Locals may name. Design:
// docs/design/deferral.md

#ifndef EBB_HEAP_RC_ZERO_COUNT_LISTS_H_
#define EBB_HEAP_RC_ZERO_COUNT_LISTS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "heap/rc/cell.h"
#include "heap/rc/cell_table.h"

namespace ebb::rc::internal {

// Deferred reference counting: a count of zero alone says nothing, as references on the stack are
// not counted; what has one waits in a table until a look at the stacks decides (Deutsch and
// Bobrow, An Efficient, Incremental, Automatic Garbage Collector, CACM 1976). The looks here need
// neither a stop nor a message to the other threads: inv.upwards (heap/rc/local_slots.h).
//
// What is named goes from one list to the next, which is looked at a quarter as often: what a Local
// names for long costs little.
class ZeroCountLists {
 public:
  // A cell that waits (Cell::is_waiting), of the one whose list it is to be in.
  void Add(Cell& cell) { lists_[0].Append(cell); }
  void AddAll(CellList cells) { lists_[0].PushAll(cells); }
  bool empty() const;
  // Whether there is something that nobody has looked at yet.
  bool has_new() const { return !lists_[0].empty(); }

  // Looks at some of the new ones, and at what is due of those that were named before: at most so
  // many, and if `all`, everything is due. Those that no Local names are dead. O(what is looked at,
  // and Locals of all threads for each 256 of it).
  CellList Round(int64_t cells, bool all);
  // The same for new ones alone.
  CellList RoundOfNew(int64_t cells);

  CellList TakeAll();

 private:
  static constexpr size_t kAges = 4;
  // The list of age a is looked at each 4^a rounds.
  static constexpr int kRoundsShift = 2;
  static constexpr size_t kAtOnce = 256;

  struct Candidate {
    Cell* cell;
    bool named;
  };
  // Looks at up to `cells` of a list that there are now.
  void Judge(size_t age, int64_t& cells, CellList& dead);

  std::array<CellList, kAges> lists_;
  uint64_t rounds_ = 0;
};

}  // namespace ebb::rc::internal

#endif  // EBB_HEAP_RC_ZERO_COUNT_LISTS_H_
