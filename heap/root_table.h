// RootTable: the slots behind a heap's Persistents, or behind its Weaks. Design:
// docs/design/safepoints.md#roots, docs/design/weak.md

#ifndef EBB_HEAP_ROOT_TABLE_H_
#define EBB_HEAP_ROOT_TABLE_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "heap/load_barrier.h"
#include "platform/fork.h"

namespace ebb::internal {

// One root: a reference, 0 for null, or in a free slot a link to the next free one.
class RootSlot {
 public:
  // As of a Field: by attached threads, through the load barrier.
  uintptr_t Load() { return LoadReference(bits_); }
  // Release as in Field: the payload is the body of the object.
  void Store(uintptr_t bits) { bits_.store(bits, std::memory_order_release); }
  // The same of a Weak's slot.
  uintptr_t LoadWeak() { return LoadWeakReference(bits_); }
  bool is_null() const { return bits_.load(std::memory_order_relaxed) == 0; }  // publishes nothing

 private:
  friend class RootTable;
  static constexpr uintptr_t kFree = 1;  // tag of a link

  std::atomic<uintptr_t> bits_ = 0;
};

// Slots in aligned chunks, so that a slot finds its table by arithmetic, with a free list through
// the unused ones. Thread-safe. The table lives until it is disowned and its last slot is gone.
class RootTable {
 public:
  static constexpr size_t kChunkBytes = 4096;
  static constexpr size_t kSlotsPerChunk = kChunkBytes / sizeof(RootSlot) - 2;

  // For the heap: Disown is its last call.
  static RootTable* New() { return new RootTable; }
  // Every slot reads as null, until a thread that is still attached stores something.
  void Clear() ABSL_LOCKS_EXCLUDED(mu_);
  // The heap's memory goes: every slot reads as null, for good.
  void Disown() ABSL_LOCKS_EXCLUDED(mu_);

  // A slot that holds null. O(1).
  RootSlot* Acquire() ABSL_LOCKS_EXCLUDED(mu_);
  static void Release(RootSlot* slot);
  // A new slot with the same value.
  static RootSlot* Duplicate(RootSlot* slot);
  // RootSlot::Store, of a Weak's slot: for VisitStored.
  static void StoreWeak(RootSlot* slot, uintptr_t bits);
  // By any thread, attached or not: waits for a cycle that is forwarding the slot.
  static void StoreNull(RootSlot* slot);
  // Stops the program, saying what to do, if there is no slot.
  static void CheckHasHeap(const RootSlot* slot);

  // Visits the address of each slot in use that is not null, beside running mutators: `forward`
  // replaces a from-space reference by compare-and-swap. When it returns, no slot holds one: not
  // even one that was made meanwhile as the copy of another. Holds the lock for some slots at a
  // time.
  void ForwardBesideMutators(absl::FunctionRef<void(std::atomic<uintptr_t>& slot)> forward)
      ABSL_LOCKS_EXCLUDED(mu_);

  // Chunks of slots, for the collector to share out: `visit` gets the address of each slot in use
  // that is not null, and may change it. Mutators are stopped; slots may still be acquired, copied
  // and released by unattached threads, which wait on the lock that is held here.
  class ABSL_SCOPED_LOCKABLE Scan {
   public:
    explicit Scan(RootTable& table) ABSL_EXCLUSIVE_LOCK_FUNCTION(table.mu_) : table_(table) {
      table.mu_.Lock();
    }
    ~Scan() ABSL_UNLOCK_FUNCTION() { table_.mu_.Unlock(); }
    // By any thread while the Scan lives: its maker holds the lock for all of them.
    size_t chunk_count() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return table_.chunks_.size(); }
    void VisitChunk(size_t chunk, absl::FunctionRef<void(std::atomic<uintptr_t>& slot)> visit) const
        ABSL_NO_THREAD_SAFETY_ANALYSIS;
    // The same for all chunks.
    void Visit(absl::FunctionRef<void(std::atomic<uintptr_t>& slot)> visit) const;
    // The same for the chunks in which something may have been stored since the last call. True
    // from `visit`: the slot is to be visited by the next call, too.
    void VisitStored(absl::FunctionRef<bool(std::atomic<uintptr_t>& slot)> visit) const
        ABSL_NO_THREAD_SAFETY_ANALYSIS;

   private:
    RootTable& table_;
  };

  int64_t slots_in_use() const ABSL_LOCKS_EXCLUDED(mu_);

  // Around a fork, of every table there is, also of those whose heap has gone: nobody uses one
  // meanwhile.
  static void AllAtFork(platform::ForkStep step);

 private:
  struct alignas(kChunkBytes) Chunk {
    RootTable* table;
    std::atomic<bool>* stored;  // in stored_
    std::array<RootSlot, kSlotsPerChunk> slots;
  };
  static_assert(sizeof(Chunk) == kChunkBytes);

  RootTable();
  ~RootTable();
  static Chunk& ChunkOf(const RootSlot* slot);
  static RootTable& TableOf(const RootSlot* slot) { return *ChunkOf(slot).table; }
  RootSlot* AcquireLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ClearLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AddChunk() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // In the list of all tables.
  RootTable* next_table_ = nullptr;
  RootTable** link_to_this_ = nullptr;

  mutable absl::Mutex mu_;
  std::vector<std::unique_ptr<Chunk>> chunks_ ABSL_GUARDED_BY(mu_);
  // For each chunk, whether something was stored since the last VisitStored, which looks at nothing
  // else of the others. Relaxed: the pause in which it is read orders it.
  std::deque<std::atomic<bool>> stored_ ABSL_GUARDED_BY(mu_);
  RootSlot* free_ ABSL_GUARDED_BY(mu_) = nullptr;
  int64_t in_use_ ABSL_GUARDED_BY(mu_) = 0;
  bool disowned_ ABSL_GUARDED_BY(mu_) = false;
  // While ForwardBesideMutators is on its way: copies that were made behind its back.
  bool forwarding_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<RootSlot*> late_copies_ ABSL_GUARDED_BY(mu_);
};

// A slot of one's own, or none.
class RootHandle {
 public:
  RootHandle() = default;
  explicit RootHandle(RootTable& table) : slot_(table.Acquire()) {}
  // The copy is made under the table's lock, which a cycle holds too: the slot's value cannot move
  // on between the load and the store.
  RootHandle(const RootHandle& other)
      : slot_(other.slot_ == nullptr ? nullptr : RootTable::Duplicate(other.slot_)) {}
  RootHandle(RootHandle&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
  RootHandle& operator=(const RootHandle& other) {
    if (this != &other) *this = RootHandle(other);
    return *this;
  }
  RootHandle& operator=(RootHandle&& other) noexcept {
    RootHandle taken(std::move(other));  // which leaves `other` without a slot
    std::swap(slot_, taken.slot_);
    return *this;
  }
  ~RootHandle() {
    if (slot_ != nullptr) RootTable::Release(slot_);
  }

  bool is_null() const { return slot_ == nullptr || slot_->is_null(); }
  uintptr_t Load() const { return slot_ == nullptr ? 0 : slot_->Load(); }
  uintptr_t LoadWeak() const { return slot_ == nullptr ? 0 : slot_->LoadWeak(); }
  // Needs a slot (checked).
  void Store(uintptr_t bits) {
    RootTable::CheckHasHeap(slot_);
    slot_->Store(bits);
  }
  void StoreWeak(uintptr_t bits) {
    RootTable::CheckHasHeap(slot_);
    RootTable::StoreWeak(slot_, bits);
  }
  void StoreNull() {
    if (slot_ != nullptr) RootTable::StoreNull(slot_);
  }

 private:
  RootSlot* slot_ = nullptr;
};
static_assert(!std::is_nothrow_copy_assignable_v<RootHandle>, "a copy wants memory");

}  // namespace ebb::internal

#endif  // EBB_HEAP_ROOT_TABLE_H_
