// CellTable: the cells of one domain. Design: docs/design/cells.md

#ifndef EBB_HEAP_RC_CELL_TABLE_H_
#define EBB_HEAP_RC_CELL_TABLE_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "heap/array.h"
#include "heap/heap.h"
#include "heap/mutator.h"
#include "heap/persistent.h"
#include "heap/rc/callback_table.h"
#include "heap/rc/cell.h"
#include "platform/fork.h"

namespace ebb::rc::internal {

// For who looks at all cells: all mutators of the thread pass a safepoint for each 1,024 objects
// that are looked at, some 20 microseconds.
class SafepointNowAndThen {
 public:
  void Pass() {
    if (++looks_ % kLooks == 0) Mutator::SafepointOfThread();
  }

 private:
  static constexpr int64_t kLooks = 1024;
  int64_t looks_ = 0;
};

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

// Free cells of one chunk, taken in the order of their addresses: so what is made together lies
// together, in whichever order it was dropped.
class FreeCells {
 public:
  FreeCells() = default;
  // None yet, of this chunk.
  explicit FreeCells(CellChunk& chunk) : chunk_(&chunk) {}

  bool empty() const { return size_ == 0; }
  int64_t size() const { return size_; }
  const CellChunk* chunk() const { return chunk_; }
  void Add(const Cell& cell) {
    const Cell* const one = &cell;
    AddSome({&one, 1});
  }
  // Those at the front of `cells`, one at least, that are neighbours of the first in this chunk:
  // how many. What was made together was mostly dropped together.
  size_t AddSome(absl::Span<const Cell* const> cells) {
    const size_t word = cells[0]->index() / 64;
    uint64_t bits = 0;
    size_t count = 0;
    do {
      bits |= uint64_t{1} << (cells[count]->index() % 64);
    } while (++count < cells.size() && &cells[count]->chunk() == chunk_ &&
             cells[count]->index() / 64 == word);
    words_[word] |= bits;
    first_ = std::min(first_, word);
    size_ += static_cast<int64_t>(count);
    return count;
  }
  // Those of the same chunk.
  void AddAll(const FreeCells& others) {
    for (size_t i = 0; i < kWords; ++i) words_[i] |= others.words_[i];
    first_ = std::min(first_, others.first_);
    size_ += others.size_;
  }
  // Not empty.
  Cell& Pop() {
    while (words_[first_] == 0) ++first_;
    const size_t index = 64 * first_ + static_cast<size_t>(std::countr_zero(words_[first_]));
    words_[first_] &= words_[first_] - 1;
    --size_;
    return chunk_->owners[index];
  }
  // All of them, from here to there.
  FreeCells Take() {
    FreeCells taken = *this;
    words_ = {};
    size_ = 0;
    return taken;
  }

 private:
  static constexpr size_t kWords = (CellChunk::kCells + 63) / 64;

  CellChunk* chunk_ = nullptr;
  int64_t size_ = 0;
  size_t first_ = 0;  // no word before it has any
  std::array<uint64_t, kWords> words_ = {};
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

  // `cells`, which is empty, becomes the free ones of a chunk, at least one: of one that has many,
  // or of a new one, which is a safepoint of `mutator`. Errors: as of Mutator::TryNewArray;
  // ResourceExhausted when there is no memory for the cells. O(1).
  absl::Status Take(Mutator& mutator, FreeCells& cells) ABSL_LOCKS_EXCLUDED(mu_);
  // Gives free cells back. O(cells), under the lock; O(1).
  void Give(absl::Span<const Cell* const> cells) ABSL_LOCKS_EXCLUDED(mu_);
  void Give(const FreeCells& cells) ABSL_LOCKS_EXCLUDED(mu_);

  // From here on a Local may name a cell (CellChunk::named_by_locals).
  void BeginLocals() ABSL_LOCKS_EXCLUDED(mu_);

  // Dead cells, those that wait, and callbacks that are due when those are destroyed, of a thread
  // that is not, or no longer, attached to the domain: one that is takes them over.
  struct Orphans {
    CellList dead;
    CellList waiting;
    CallbackList callbacks;

    bool empty() const { return dead.empty() && waiting.empty() && callbacks.empty(); }
  };
  void AddOrphans(Orphans orphans) ABSL_LOCKS_EXCLUDED(mu_);
  // A hint: relaxed, as what it hints at is read under the lock.
  bool has_orphans() const { return has_orphans_.load(std::memory_order_relaxed); }
  Orphans TakeOrphans() ABSL_LOCKS_EXCLUDED(mu_);
  // There is something for such a thread to take over: HolderTable's, too.
  void NoteOrphans() { has_orphans_.store(true, std::memory_order_relaxed); }  // a hint

  CallbackTable& callbacks() { return callbacks_; }

  // Around a fork: of every table, also those of domains that have gone.
  static void AllAtFork(platform::ForkStep step);

  // Free or not.
  int64_t cells() const ABSL_LOCKS_EXCLUDED(mu_);
  // Those that are neither free here nor waiting in a new chunk: of objects, or at some thread's
  // hand.
  int64_t cells_in_use() const ABSL_LOCKS_EXCLUDED(mu_);

  // For whoever has the turn to detect (DomainState::DetectionTurn). The chunks there are; they
  // stay until that ends. May throw std::bad_alloc.
  std::vector<CellChunk*> Chunks() const ABSL_LOCKS_EXCLUDED(mu_);
  // Gives back the memory of chunks of which all cells are free here, as long as `keep` free ones
  // or more are left. How many it were. In the turn to detect: only a detection, or a question,
  // looks at cells without a reference to them. Safepoints of the thread. O(chunks with free
  // cells), no lock for long.
  int64_t Trim(int64_t keep) ABSL_LOCKS_EXCLUDED(mu_);
  // For others. Calls f(chunk) for each chunk there is, under the lock; perhaps twice, while
  // another thread trims.
  void ForEachChunk(absl::FunctionRef<void(CellChunk&)> f) const ABSL_LOCKS_EXCLUDED(mu_);
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
    std::unique_ptr<FreeCells> free;
  };

  // One of `orphans`, which are not empty but for callbacks, without its object; null if it is not
  // free then.
  static Cell* FinishOne(Orphans& orphans);

  explicit CellTable(Heap& heap);
  ~CellTable();
  void AtFork(platform::ForkStep step);
  int64_t CountCells() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status TakeFresh(Mutator& mutator, FreeCells& cells) ABSL_LOCKS_EXCLUDED(mu_);
  // The free cells of the chunk, of which there will be some.
  FreeCells& FreeOf(const CellChunk& chunk) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Of with_free_[index], whose cells are all free, out of the table.
  Entry Remove(size_t index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether nothing names a cell any more, and nothing will.
  bool IsDone() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return closed_ && free_ == CountCells();
  }

  Heap& heap_;
  // In the list of all tables.
  CellTable* next_table_ = nullptr;
  CellTable** link_to_this_ = nullptr;

  mutable absl::Mutex mu_;
  std::vector<Entry> chunks_ ABSL_GUARDED_BY(mu_);
  int64_t free_ ABSL_GUARDED_BY(mu_) = 0;
  // Those that have free cells, each once; there is room for all.
  std::vector<FreeCells*> with_free_ ABSL_GUARDED_BY(mu_);
  Orphans orphans_ ABSL_GUARDED_BY(mu_);
  std::atomic<bool> has_orphans_ = false;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  bool has_locals_ ABSL_GUARDED_BY(mu_) = false;
  CallbackTable callbacks_;

  absl::Mutex condemning_mu_;
  bool condemning_ ABSL_GUARDED_BY(condemning_mu_) = false;
  int64_t pardoned_ ABSL_GUARDED_BY(condemning_mu_) = 0;  // since BeginCondemning
};

}  // namespace ebb::rc::internal

#endif  // EBB_HEAP_RC_CELL_TABLE_H_
