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
// What is named goes from one list to the next, which is due a quarter as often: what a Local names
// for long costs little. So the lists but the first are as long as there were Locals that named
// something when they were looked at.
class ZeroCountLists {
 public:
  // So many are looked at for one look at the Locals.
  static constexpr int64_t kAtOnce = 256;

  // A cell that waits (Cell::is_waiting), of the one whose list it is to be in.
  void Add(Cell& cell) {
    lists_[0].Append(cell);
    ++size_;
    ++ready_;
  }
  void AddAll(CellList cells) {
    size_ += cells.size();
    ready_ += cells.size();
    lists_[0].PushAll(cells);
  }
  bool empty() const { return size_ == 0; }
  // Whether there is something that nobody has looked at yet.
  bool has_new() const { return !lists_[0].empty(); }
  // Whether there is that, or something that is due.
  bool has_ready() const { return ready_ > 0; }
  int64_t ready() const { return ready_; }

  // Looks at new ones, at most so many, in their order. Those that no Local names are dead.
  // O(cells, and Locals of all threads for each kAtOnce).
  CellList JudgeNew(int64_t cells);
  // A round has passed: what it is the turn of by its age is due. Or all but the new ones.
  void BeginRound();
  void MakeAllDue();
  // What is new, too, which may have had references since it died.
  void MakeNewDue();
  // As JudgeNew, of what is due.
  bool has_due() const { return ready_ > lists_[0].size(); }
  CellList JudgeDue(int64_t cells);

  CellList TakeAll();

 private:
  static constexpr size_t kAges = 4;
  // The list of age a is due each 4^a rounds.
  static constexpr size_t kRoundsShift = 2;

  void MakeDue(size_t age);
  void Judge(size_t age, int64_t cells, CellList& dead);

  std::array<CellList, kAges> lists_;
  int64_t size_ = 0;                     // of them all
  std::array<int64_t, kAges> due_ = {};  // of these, from their front; none of the first
  int64_t ready_ = 0;                    // what is due, and the first list
  uint64_t rounds_ = 0;
};

}  // namespace ebb::rc::internal

#endif  // EBB_HEAP_RC_ZERO_COUNT_LISTS_H_
