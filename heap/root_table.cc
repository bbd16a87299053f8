#include "heap/root_table.h"

#include <algorithm>

#include "absl/base/attributes.h"
#include "absl/base/const_init.h"
#include "absl/log/check.h"

namespace ebb::internal {

namespace {

// Of the list of all tables. Taken before tables' own locks, never within one.
ABSL_CONST_INIT absl::Mutex tables_mu(absl::kConstInit);
constinit RootTable* tables ABSL_GUARDED_BY(tables_mu) = nullptr;

}  // namespace

RootTable::RootTable() {
  absl::MutexLock lock(&tables_mu);
  next_table_ = tables;
  link_to_this_ = &tables;
  if (tables != nullptr) tables->link_to_this_ = &next_table_;
  tables = this;
}

RootTable::~RootTable() {
  absl::MutexLock lock(&tables_mu);
  *link_to_this_ = next_table_;
  if (next_table_ != nullptr) next_table_->link_to_this_ = link_to_this_;
}

void RootTable::AllAtFork(platform::ForkStep step) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (step == platform::ForkStep::kBefore) platform::LockAcrossFork(tables_mu, step);
  for (RootTable* table = tables; table != nullptr; table = table->next_table_) {
    platform::LockAcrossFork(table->mu_, step);
  }
  if (step != platform::ForkStep::kBefore) platform::LockAcrossFork(tables_mu, step);
}

RootTable::Chunk& RootTable::ChunkOf(const RootSlot* slot) {
  return *reinterpret_cast<Chunk*>(reinterpret_cast<uintptr_t>(slot) & ~(kChunkBytes - 1));
}

void RootTable::CheckHasHeap(const RootSlot* slot) {
  CHECK(slot != nullptr) << "a default-constructed ebb::Persistent or ebb::Weak has no heap: "
                            "construct it as Persistent<T>(heap) or Weak<T>(heap), or assign "
                            "another one to it first";
}

void RootTable::AddChunk() {
  auto fresh = std::make_unique<Chunk>();
  chunks_.reserve(chunks_.size() + 1);  // before anything has changed: it may throw
  fresh->table = this;
  fresh->stored = &stored_.emplace_back(false);
  chunks_.push_back(std::move(fresh));
  Chunk& chunk = *chunks_.back();
  for (RootSlot& slot : chunk.slots) {
    // Relaxed: the free list is read under mu_ only.
    slot.bits_.store(reinterpret_cast<uintptr_t>(free_) | RootSlot::kFree,
                     std::memory_order_relaxed);
    free_ = &slot;
  }
}

RootSlot* RootTable::AcquireLocked() {
  if (free_ == nullptr) AddChunk();
  RootSlot* slot = free_;
  // Relaxed: under mu_, as is every access to a slot that no Persistent owns.
  const uintptr_t link = slot->bits_.load(std::memory_order_relaxed);
  free_ = reinterpret_cast<RootSlot*>(link & ~RootSlot::kFree);
  slot->bits_.store(0, std::memory_order_relaxed);
  ++in_use_;
  return slot;
}

RootSlot* RootTable::Acquire() {
  absl::MutexLock lock(&mu_);
  return AcquireLocked();
}

RootSlot* RootTable::Duplicate(RootSlot* slot) {
  RootTable& table = TableOf(slot);
  absl::MutexLock lock(&table.mu_);
  std::vector<RootSlot*>& late = table.late_copies_;
  // First, as it may throw.
  if (table.forwarding_ && late.size() == late.capacity()) late.reserve(2 * late.size() + 64);
  RootSlot* copy = table.AcquireLocked();
  // As it is: the calling thread may not be attached, so it cannot forward. Acquire and release as
  // in Field.
  const uintptr_t bits = slot->bits_.load(std::memory_order_acquire);
  if (table.forwarding_ && bits != 0) late.push_back(copy);
  StoreWeak(copy, bits);  // or a Persistent's, of which nobody asks
  return copy;
}

void RootTable::StoreWeak(RootSlot* slot, uintptr_t bits) {
  // Relaxed: the pause in which VisitStored reads it orders it. Looked at first, since most stores
  // find it set, and its cache line is shared.
  std::atomic<bool>& stored = *ChunkOf(slot).stored;
  if (!stored.load(std::memory_order_relaxed)) stored.store(true, std::memory_order_relaxed);
  slot->Store(bits);
}

void RootTable::StoreNull(RootSlot* slot) {
  RootTable& table = TableOf(slot);
  absl::MutexLock lock(&table.mu_);
  // Relaxed: null publishes nothing.
  slot->bits_.store(0, std::memory_order_relaxed);
}

void RootTable::Release(RootSlot* slot) {
  RootTable& table = TableOf(slot);
  bool last = false;
  {
    absl::MutexLock lock(&table.mu_);
    // Relaxed: the free list is read under mu_ only.
    slot->bits_.store(reinterpret_cast<uintptr_t>(table.free_) | RootSlot::kFree,
                      std::memory_order_relaxed);
    table.free_ = slot;
    last = --table.in_use_ == 0 && table.disowned_;
  }
  if (last) delete &table;
}

void RootTable::ClearLocked() {
  for (const std::unique_ptr<Chunk>& chunk : chunks_) {
    for (RootSlot& slot : chunk->slots) {
      // Relaxed: null publishes nothing.
      if ((slot.bits_.load(std::memory_order_relaxed) & RootSlot::kFree) == 0) {
        slot.bits_.store(0, std::memory_order_relaxed);
      }
    }
  }
}

void RootTable::Clear() {
  absl::MutexLock lock(&mu_);
  ClearLocked();
}

void RootTable::Disown() {
  bool last = false;
  {
    absl::MutexLock lock(&mu_);
    ClearLocked();
    disowned_ = true;
    last = in_use_ == 0;
  }
  if (last) delete this;
}

void RootTable::ForwardBesideMutators(
    absl::FunctionRef<void(std::atomic<uintptr_t>& slot)> forward) {
  constexpr size_t kAtATime = 64;
  const auto forward_slot = [&](RootSlot& slot) {
    // Acquire: as of a field that is forwarded beside mutators.
    const uintptr_t bits = slot.bits_.load(std::memory_order_acquire);
    if (bits != 0 && (bits & RootSlot::kFree) == 0) forward(slot.bits_);
  };
  size_t next = 0;  // the slot, in the order of the chunks
  mu_.Lock();
  forwarding_ = true;
  late_copies_.clear();
  for (;;) {
    const size_t end = std::min(next + kAtATime, chunks_.size() * kSlotsPerChunk);
    for (; next < end; ++next) {
      forward_slot(chunks_[next / kSlotsPerChunk]->slots[next % kSlotsPerChunk]);
    }
    for (size_t i = 0; i < kAtATime && !late_copies_.empty(); ++i) {
      RootSlot* late = late_copies_.back();
      late_copies_.pop_back();
      forward_slot(*late);
    }
    if (next == chunks_.size() * kSlotsPerChunk && late_copies_.empty()) break;
    // Others may have the lock.
    mu_.Unlock();
    mu_.Lock();
  }
  forwarding_ = false;
  mu_.Unlock();
}

int64_t RootTable::slots_in_use() const {
  absl::MutexLock lock(&mu_);
  return in_use_;
}

void RootTable::Scan::VisitChunk(
    size_t chunk, absl::FunctionRef<void(std::atomic<uintptr_t>& slot)> visit) const {
  for (RootSlot& slot : table_.chunks_[chunk]->slots) {
    // Relaxed: mutators are stopped, and the pause orders their stores before this; unattached
    // threads store under the lock, which the Scan holds.
    const uintptr_t bits = slot.bits_.load(std::memory_order_relaxed);
    if (bits != 0 && (bits & RootSlot::kFree) == 0) visit(slot.bits_);
  }
}

void RootTable::Scan::Visit(
    absl::FunctionRef<void(std::atomic<uintptr_t>& slot)> visit) const {
  for (size_t i = 0; i < chunk_count(); ++i) VisitChunk(i, visit);
}

void RootTable::Scan::VisitStored(
    absl::FunctionRef<bool(std::atomic<uintptr_t>& slot)> visit) const {
  for (size_t i = 0; i < table_.chunks_.size(); ++i) {
    std::atomic<bool>& stored = table_.stored_[i];
    if (!stored.load(std::memory_order_relaxed)) continue;  // as VisitChunk
    bool again = false;
    VisitChunk(i, [&](std::atomic<uintptr_t>& slot) { again |= visit(slot); });
    stored.store(again, std::memory_order_relaxed);  // as VisitChunk
  }
}

}  // namespace ebb::internal
