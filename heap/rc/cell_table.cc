#include "heap/rc/cell_table.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/base/const_init.h"
#include "absl/status/status.h"
#include "copyspace/geometry.h"

namespace ebb::rc::internal {

namespace {

// At least this many elements make an array that is longer than a region, so a large object
// whatever Options::large_object_bytes says.
constexpr size_t kAddresses =
    std::max(CellChunk::kCells, static_cast<size_t>(copyspace::kRegionSize.count()) / 8);

// Among so many chunks that have free cells the one that has most is looked for.
constexpr int64_t kLooks = 8;
// At so many Trim looks while it holds the lock: some microseconds.
constexpr size_t kLooksOfTrim = 64;

ABSL_CONST_INIT absl::Mutex tables_mu(absl::kConstInit);
constinit CellTable* tables ABSL_GUARDED_BY(tables_mu) = nullptr;

}  // namespace

CellTable::CellTable(Heap& heap) : heap_(heap) {
  absl::MutexLock lock(&tables_mu);
  next_table_ = tables;
  link_to_this_ = &tables;
  if (tables != nullptr) tables->link_to_this_ = &next_table_;
  tables = this;
}

CellTable::~CellTable() {
  absl::MutexLock lock(&tables_mu);
  *link_to_this_ = next_table_;
  if (next_table_ != nullptr) next_table_->link_to_this_ = link_to_this_;
}

void CellTable::DeleteChunk::operator()(CellChunk* chunk) const {
  chunk->~CellChunk();
  std::free(chunk);
}

absl::Status CellTable::Take(Mutator& mutator, FreeCells& cells) {
  {
    absl::MutexLock lock(&mu_);
    if (!with_free_.empty()) {
      // The fullest of a few.
      auto best = with_free_.end() - 1;
      for (auto it = best; it != with_free_.begin() && with_free_.end() - it < kLooks;) {
        if ((*--it)->size() > (*best)->size()) best = it;
      }
      cells = (*best)->Take();
      free_ -= cells.size();
      *best = with_free_.back();
      with_free_.pop_back();
      return absl::OkStatus();
    }
  }
  return TakeFresh(mutator, cells);
}

absl::Status CellTable::TakeFresh(Mutator& mutator, FreeCells& cells) {
  absl::StatusOr<Ref<RefArray<CountedObject>>> array =
      mutator.TryNewRefArray<CountedObject>(kAddresses);
  if (!array.ok()) return std::move(array).status();
  try {
    Persistent<RefArray<CountedObject>> addresses(heap_, *array);
    void* memory = std::aligned_alloc(CellChunk::kBytes, CellChunk::kBytes);
    if (memory == nullptr) throw std::bad_alloc();
    std::unique_ptr<CellChunk, DeleteChunk> chunk(new (memory) CellChunk);
    chunk->table = this;
    // Relaxed: see CellChunk::addresses.
    chunk->addresses.store((*array)->data(), std::memory_order_relaxed);
    cells = FreeCells(*chunk);
    auto free = std::make_unique<FreeCells>(cells);
    for (const Cell& cell : chunk->owners) cells.Add(cell);
    absl::MutexLock lock(&mu_);
    chunk->number = static_cast<uint32_t>(chunks_.size());
    with_free_.reserve(chunks_.size() + 1);
    // Relaxed: see there.
    if (has_locals_) chunk->named_by_locals.store(this, std::memory_order_relaxed);
    chunks_.push_back({std::move(chunk), std::move(addresses), std::move(free)});
  } catch (const std::bad_alloc&) {
    cells = FreeCells();
    return absl::ResourceExhaustedError(
        "no memory for the cells of counted objects, 128 KiB beside the heap: raise the process's "
        "memory limit, or drop references");
  }
  return absl::OkStatus();
}

FreeCells& CellTable::FreeOf(const CellChunk& chunk) {
  FreeCells& free = *chunks_[chunk.number].free;
  if (free.empty()) with_free_.push_back(&free);
  return free;
}

void CellTable::Give(absl::Span<const Cell* const> cells) {
  bool done = false;
  {
    absl::MutexLock lock(&mu_);
    free_ += static_cast<int64_t>(cells.size());
    while (!cells.empty()) {
      cells.remove_prefix(FreeOf(cells.front()->chunk()).AddSome(cells));
    }
    done = IsDone();
  }
  if (done) delete this;
}

void CellTable::Give(const FreeCells& cells) {
  if (cells.empty()) return;
  bool done = false;
  {
    absl::MutexLock lock(&mu_);
    FreeOf(*cells.chunk()).AddAll(cells);
    free_ += cells.size();
    done = IsDone();
  }
  if (done) delete this;
}

void CellTable::AddOrphans(Orphans orphans) {
  {
    absl::MutexLock lock(&mu_);
    if (!closed_) {
      orphans_.dead.PushAll(orphans.dead);
      orphans_.waiting.PushAll(orphans.waiting);
      orphans_.callbacks.Append(std::move(orphans.callbacks));
      if (!orphans_.empty()) NoteOrphans();  // only who takes them over clears that: see there
      return;
    }
  }
  // Nothing is left but the cells; and when the last of them is free, not even this.
  while (!orphans.dead.empty() || !orphans.waiting.empty()) {
    const Cell* const cell = FinishOne(orphans);
    if (cell != nullptr) Give({&cell, 1});
  }
}

// No Local has followed a reference since the table was closed: none needs the object.
Cell* CellTable::FinishOne(Orphans& orphans) {
  const bool waits = orphans.dead.empty();
  Cell& cell = waits ? orphans.waiting.Pop() : orphans.dead.Pop();
  if (waits && cell.JudgeUnnamed() == Cell::Verdict::kAlive) return nullptr;
  return cell.Finish() ? &cell : nullptr;
}

void CellTable::BeginLocals() {
  absl::MutexLock lock(&mu_);
  has_locals_ = true;
  for (Entry& entry : chunks_) {
    // Relaxed: see there.
    entry.chunk->named_by_locals.store(this, std::memory_order_relaxed);
  }
}

CellTable::Orphans CellTable::TakeOrphans() {
  absl::MutexLock lock(&mu_);
  has_orphans_.store(false, std::memory_order_relaxed);  // a hint
  return std::move(orphans_);
}

int64_t CellTable::Close() {
  int64_t in_use = 0;
  {
    absl::MutexLock lock(&mu_);
    closed_ = true;
    for (Entry& entry : chunks_) {
      // Relaxed: see CellChunk::addresses.
      entry.chunk->addresses.store(nullptr, std::memory_order_relaxed);
      entry.addresses = Persistent<RefArray<CountedObject>>();
    }
    while (!orphans_.dead.empty() || !orphans_.waiting.empty()) {
      const Cell* const orphan = FinishOne(orphans_);
      if (orphan == nullptr) continue;
      FreeOf(orphan->chunk()).Add(*orphan);
      ++free_;
    }
    in_use = CountCells() - free_;
  }
  // Decided under the lock that set closed_: who gives the last cell from then on deletes this.
  if (in_use == 0) delete this;
  return in_use;
}

std::vector<CellChunk*> CellTable::Chunks() const {
  std::vector<CellChunk*> chunks;
  absl::MutexLock lock(&mu_);
  chunks.reserve(chunks_.size());
  for (const Entry& entry : chunks_) chunks.push_back(entry.chunk.get());
  return chunks;
}

void CellTable::ForEachChunk(absl::FunctionRef<void(CellChunk&)> f) const {
  // From the end: what Remove puts into another's place has been there, or is yet to come.
  for (size_t left = SIZE_MAX; left > 0;) {
    absl::MutexLock lock(&mu_);
    left = std::min(left, chunks_.size());
    if (left > 0) f(*chunks_[--left].chunk);
  }
}

// In a forked child, what another thread was just giving back is lost.
int64_t CellTable::Trim(int64_t keep) {
  constexpr auto kCells = static_cast<int64_t>(CellChunk::kCells);
  int64_t trimmed = 0;
  for (size_t left = SIZE_MAX; left > 0;) {
    Mutator::SafepointOfThread();
    Entry entry;
    {
      absl::MutexLock lock(&mu_);
      left = std::min(left, with_free_.size());  // others take some meanwhile
      for (size_t i = 0; i < kLooksOfTrim && left > 0 && entry.chunk == nullptr; ++i) {
        if (free_ - kCells < keep) return trimmed;
        if (with_free_[--left]->size() == kCells) entry = Remove(left);
      }
    }
    if (entry.chunk == nullptr) continue;
    // Nothing but this thread knows the chunk: whoever gave a cell back had done with it, and gave
    // it under the lock.
    entry = Entry();
    trimmed += kCells;
  }
  return trimmed;
}

CellTable::Entry CellTable::Remove(size_t index) {
  const uint32_t number = with_free_[index]->chunk()->number;
  with_free_[index] = with_free_.back();
  with_free_.pop_back();
  std::swap(chunks_[number], chunks_.back());
  chunks_[number].chunk->number = number;
  Entry removed = std::move(chunks_.back());
  chunks_.pop_back();
  free_ -= static_cast<int64_t>(CellChunk::kCells);
  return removed;
}

void CellTable::BeginCondemning() {
  absl::MutexLock lock(&condemning_mu_);
  condemning_ = true;
  pardoned_ = 0;
}

bool CellTable::EndCondemning(int64_t& known) {
  absl::MutexLock lock(&condemning_mu_);
  if (pardoned_ == known) condemning_ = false;
  known = pardoned_;
  return !condemning_;
}

bool CellTable::PardonForUpgrade(Cell& cell) {
  absl::MutexLock lock(&condemning_mu_);
  // After EndCondemning, what is condemned stays so: the lock orders this after that.
  if (!condemning_) return !cell.is_condemned();
  ++pardoned_;
  cell.Pardon();
  return true;
}

void CellTable::AllAtFork(platform::ForkStep step) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (step == platform::ForkStep::kBefore) platform::LockAcrossFork(tables_mu, step);
  for (CellTable* table = tables; table != nullptr; table = table->next_table_) {
    table->AtFork(step);
  }
  if (step != platform::ForkStep::kBefore) platform::LockAcrossFork(tables_mu, step);
}

// In the child nobody condemns: who did is not there.
void CellTable::AtFork(platform::ForkStep step) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (step == platform::ForkStep::kInChild && condemning_) {
    condemning_ = false;
    for (const Entry& entry : chunks_) {
      for (Cell& cell : entry.chunk->owners) {
        if (cell.is_condemned()) cell.Pardon();
      }
    }
  }
  platform::LockAcrossFork(mu_, step);
  platform::LockAcrossFork(condemning_mu_, step);
  callbacks_.AtFork(step);
}

int64_t CellTable::CountCells() const {
  return static_cast<int64_t>(chunks_.size() * CellChunk::kCells);
}

int64_t CellTable::cells_in_use() const {
  absl::MutexLock lock(&mu_);
  return CountCells() - free_;
}

int64_t CellTable::cells() const {
  absl::MutexLock lock(&mu_);
  return CountCells();
}

}  // namespace ebb::rc::internal
