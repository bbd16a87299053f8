// CellTable: the cells of one domain. Design: docs/design/counting.md#cells

#ifndef EBB_HEAP_RC_CELL_TABLE_H_
#define EBB_HEAP_RC_CELL_TABLE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "heap/array.h"
#include "heap/heap.h"
#include "heap/mutator.h"
#include "heap/persistent.h"
#include "heap/rc/callback_table.h"
#include "heap/rc/cell.h"
#include "platform/fork.h"

namespace ebb::rc::internal {

// Cells that no reference names: free ones, or dead ones whose objects wait to be destroyed.
class CellList {
 public:
  CellList() = default;
  CellList(CellList&& other) noexcept { *this = std::move(other); }
  CellList& operator=(CellList&& other) noexcept {
    first_ = other.first_;
    last_ = other.last_;
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  bool empty() const { return size_ == 0; }
  int64_t size() const { return size_; }
  void Push(Cell& cell) {
    if (empty()) {
      last_ = &cell;
    } else {
      cell.set_next(first_);
    }
    first_ = &cell;
    ++size_;
  }
  // The first; not empty.
  Cell& Pop() {
    Cell& cell = *first_;
    if (--size_ > 0) first_ = cell.next();
    return cell;
  }
  // At the other end.
  void Append(Cell& cell) {
    if (empty()) {
      first_ = &cell;
    } else {
      last_->set_next(&cell);
    }
    last_ = &cell;
    ++size_;
  }
  // In front of all others, in their order. O(1).
  void PushAll(CellList& cells) {
    if (cells.empty()) return;
    if (empty()) {
      last_ = cells.last_;
    } else {
      cells.last_->set_next(first_);
    }
    first_ = cells.first_;
    size_ += std::exchange(cells.size_, 0);
  }

 private:
  // Undefined when empty.
  Cell* first_ = nullptr;
  Cell* last_ = nullptr;
  int64_t size_ = 0;
};

// Thread-safe. Lives until it is closed and no reference names a cell of it any more: forever, if
// what was left refers to counted objects, is in a cycle, or is immortal. All tables are in a list,
// so that a leak checker finds what a program has leaked, and not what may still be referred to.
class CellTable {
 public:
  static CellTable* New(Heap& heap) { return new CellTable(heap); }
  // The domain goes: every reference reads as null from here on. The last call of its maker, who
  // knows that no thread is attached to the domain any more, and that the heap is still there. How
  // many cells were in use.
  int64_t Close() ABSL_LOCKS_EXCLUDED(mu_);

  // Free cells, at least one: up to 1,024 that others gave back, or those of a new chunk, which is
  // a safepoint of `mutator`. Errors: as of Mutator::TryNewArray; ResourceExhausted when there is
  // no memory for the cells. O(cells).
  absl::StatusOr<CellList> Take(Mutator& mutator) ABSL_LOCKS_EXCLUDED(mu_);
  // Gives free cells back. O(1).
  void Give(CellList cells) ABSL_LOCKS_EXCLUDED(mu_);

  // Dead cells, and callbacks that are due when those are destroyed, of a thread that is not, or no
  // longer, attached to the domain: one that is takes them over.
  struct Orphans {
    CellList dead;
    CallbackList callbacks;
  };
  void AddOrphans(Orphans orphans) ABSL_LOCKS_EXCLUDED(mu_);
  // A hint: relaxed, as what it hints at is read under the lock.
  bool has_orphans() const { return has_orphans_.load(std::memory_order_relaxed); }
  Orphans TakeOrphans() ABSL_LOCKS_EXCLUDED(mu_);

  CallbackTable& callbacks() { return callbacks_; }

  // Around a fork: of every table, also those of domains that have gone.
  static void AllAtFork(platform::ForkStep step);

  // Free or not.
  int64_t cells() const ABSL_LOCKS_EXCLUDED(mu_);
  // Those that are neither free here nor waiting in a new chunk: of objects, or at some thread's
  // hand.
  int64_t cells_in_use() const ABSL_LOCKS_EXCLUDED(mu_);

  // For cycle detection, by one thread at a time. The chunks there are; they stay until the table
  // is closed. May throw std::bad_alloc.
  std::vector<CellChunk*> Chunks() const ABSL_LOCKS_EXCLUDED(mu_);
  // From here on cells are condemned, and may be pardoned.
  void BeginCondemning() ABSL_LOCKS_EXCLUDED(condemning_mu_);
  // Ends that, if PardonForUpgrade has pardoned no more than `known`; else `known` is how many.
  bool EndCondemning(int64_t& known) ABSL_LOCKS_EXCLUDED(condemning_mu_);

  // For Cell::Upgrade: `cell` was found condemned. False: it is dead. True: look again; it is
  // pardoned.
  bool PardonForUpgrade(Cell& cell) ABSL_LOCKS_EXCLUDED(condemning_mu_);

 private:
  struct DeleteChunk {
    void operator()(CellChunk* chunk) const;
  };
  struct Entry {
    std::unique_ptr<CellChunk, DeleteChunk> chunk;
    Persistent<RefArray<CountedObject>> addresses;
  };

  explicit CellTable(Heap& heap);
  ~CellTable();
  void AtFork(platform::ForkStep step);
  int64_t CountCells() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<CellList> TakeFresh(Mutator& mutator) ABSL_LOCKS_EXCLUDED(mu_);

  Heap& heap_;
  // In the list of all tables.
  CellTable* next_table_ = nullptr;
  CellTable** link_to_this_ = nullptr;

  mutable absl::Mutex mu_;
  std::vector<Entry> chunks_ ABSL_GUARDED_BY(mu_);
  CellList free_ ABSL_GUARDED_BY(mu_);
  Orphans orphans_ ABSL_GUARDED_BY(mu_);
  std::atomic<bool> has_orphans_ = false;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  CallbackTable callbacks_;

  absl::Mutex condemning_mu_;
  bool condemning_ ABSL_GUARDED_BY(condemning_mu_) = false;
  int64_t pardoned_ ABSL_GUARDED_BY(condemning_mu_) = 0;  // since BeginCondemning
};

}  // namespace ebb::rc::internal

#endif  // EBB_HEAP_RC_CELL_TABLE_H_
