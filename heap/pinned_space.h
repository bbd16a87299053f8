// PinnedSpace: small objects that must not move (their address is known outside the heap, or they
// are frozen). They are marked in place. Design: docs/design/heap.md#large-and-pinned-objects

#ifndef EBB_HEAP_PINNED_SPACE_H_
#define EBB_HEAP_PINNED_SPACE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "copyspace/geometry.h"
#include "copyspace/ledger.h"
#include "copyspace/mutators_stopped.h"
#include "platform/address_range.h"
#include "platform/fork.h"
#include "platform/system.h"

namespace ebb::internal {

// Thread-safe. Address space is cut into chunks of 64 KiB; a chunk holds slots of one size, with a
// bit for each slot that is allocated and one for each that is marked.
//
// inv.marks-aside: those bits, and all else that a cycle writes about a chunk, are in a table at
// the end of the range: where nothing but marking goes on, pages with objects are only read.
class PinnedSpace {
 public:
  static constexpr size_t kChunkBytes = 64 << 10;
  // The largest object that fits, header word included.
  static constexpr size_t kMostObjectBytes = (kChunkBytes / 2 - 1024) & ~size_t{15};
  // What a chunk takes from the ledger, and what `range` has room for: its part of the table, too.
  static constexpr platform::Bytes Footprint() {
    return platform::Bytes(int64_t{kChunkBytes + sizeof(Chunk)});
  }

  // `range` is reserved, aligned to a chunk and not yet committed; the caller owns the reservation.
  PinnedSpace(platform::System& system, copyspace::Ledger& ledger, platform::AddressRange range);

  // The address of a header word with `object_bytes` of zeros from there on; payload aligned to 16
  // if `align16`, which takes a larger slot for some that are smaller than 64 bytes. A chunk is
  // debited from the ledger when it is first used, keeping `keep_free` of it. The object counts as
  // marked. Amortized O(1). Errors as of LargeSpace::Allocate; may throw std::bad_alloc, and
  // nothing has changed.
  absl::StatusOr<uintptr_t> Allocate(size_t object_bytes, platform::Bytes keep_free,
                                     bool align16 = true) ABSL_LOCKS_EXCLUDED(mu_);

  bool Contains(uintptr_t address) const { return range_.Contains(address); }
  // As of LargeSpace.
  bool TryMark(copyspace::Reference object);
  bool IsMarked(copyspace::Reference object) const;
  // O(1).
  void ClearMarks(const copyspace::MutatorsStopped&) ABSL_LOCKS_EXCLUDED(mu_);
  // Slots that are not marked are free; chunks without a slot are to be released. Nobody marks any
  // more, but others may allocate meanwhile. The lock is taken for one chunk at a time.
  void Sweep() ABSL_LOCKS_EXCLUDED(mu_);
  // Gives the pages of empty chunks back, as LargeSpace::ReleaseSwept does.
  absl::Status ReleaseSwept() ABSL_LOCKS_EXCLUDED(mu_);
  void ForEachMarked(absl::FunctionRef<void(copyspace::Reference)> visit) const
      ABSL_LOCKS_EXCLUDED(mu_);
  // Visits the reference of each object that no sweep has freed. Under the lock.
  void ForEachObject(absl::FunctionRef<void(copyspace::Reference)> visit) const
      ABSL_LOCKS_EXCLUDED(mu_);
  // The same, with how many bytes there may be of its payload: also of what another thread is just
  // copying there.
  void ForEachPayload(absl::FunctionRef<void(copyspace::Reference, size_t bytes)> visit) const
      ABSL_LOCKS_EXCLUDED(mu_);
  bool IsObject(copyspace::Reference object) const ABSL_LOCKS_EXCLUDED(mu_);
  // Bytes of the slots in use.
  platform::Bytes object_bytes() const ABSL_LOCKS_EXCLUDED(mu_);
  // Of the slots of all objects there ever were.
  platform::Bytes allocated_bytes() const ABSL_LOCKS_EXCLUDED(mu_);
  // Of those that sweeps have freed.
  platform::Bytes freed_bytes() const ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status CheckInvariants() const ABSL_LOCKS_EXCLUDED(mu_);

  // Around a fork, between cycles, with mutators stopped. No ReleaseSwept may be under way.
  void AtFork(platform::ForkStep step);

 private:
  // Of chunks whose slots are a multiple of 16, each begins 8 bytes before one, so that its payload
  // is aligned.
  static constexpr size_t kFirstSlot = 8;
  static constexpr size_t kLeastSlot = 24;
  static constexpr size_t kMapWords = (kChunkBytes - kFirstSlot) / kLeastSlot / 64 + 1;
  // Slot sizes: by 8 bytes up to 64, then four steps to each power of two, so at most a fifth of a
  // slot is unused.
  static constexpr int kClasses = 43;
  // So much of the table is committed at a time.
  static constexpr platform::Bytes kTableStep = platform::KiB(64);

  // An element of the table. Zero until its chunk is first used.
  struct alignas(64) Chunk {
    uintptr_t begin;    // of the chunk itself
    Chunk* next_swept;  // on the list that begins with swept_
    uint64_t swept_in;  // the last cycle that swept it; nothing in it is marked after that
    uint32_t slot_bytes;
    uint32_t slot_count;
    int32_t size_class;
    uint32_t in_use;
    uint32_t first_word;  // no word of `allocated` before it has room
    std::array<uint64_t, kMapWords> allocated;
    std::array<std::atomic<uint64_t>, kMapWords> marked;

    uintptr_t SlotAt(size_t index) const { return begin + kFirstSlot + index * slot_bytes; }
    size_t IndexOf(copyspace::Reference object) const {
      return static_cast<uint32_t>(object - 8 - SlotAt(0)) / slot_bytes;
    }
  };
  // Chunks of one slot size.
  struct SizeClass {
    std::vector<Chunk*> chunks;
    size_t first_with_room = 0;  // none before it has any
  };

  static int ClassOf(size_t bytes, bool align16);
  static size_t SlotBytes(int size_class);
  Chunk& ChunkOf(copyspace::Reference object) const {
    return reinterpret_cast<Chunk*>(table_.begin)[(object - range_.begin) / kChunkBytes];
  }
  uintptr_t TakeSlot(Chunk& chunk) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SweepChunk(SizeClass& size_class, size_t index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AddSwept(Chunk& chunk) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Returns how many there were.
  static uint32_t FreeUnmarkedSlots(Chunk& chunk);

  absl::StatusOr<Chunk*> NewChunk(int size_class, platform::Bytes keep_free)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Commits the chunk at the frontier, and its element of the table.
  absl::Status CommitChunk() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  platform::System& system_;
  copyspace::Ledger& ledger_;
  const platform::AddressRange table_;
  const platform::AddressRange range_;  // of the chunks

  mutable absl::Mutex mu_;
  uint64_t cycle_ ABSL_GUARDED_BY(mu_) = 0;           // the last that began
  uint64_t sweep_begun_in_ ABSL_GUARDED_BY(mu_) = 0;  // the last whose sweep began
  std::array<SizeClass, kClasses> classes_ ABSL_GUARDED_BY(mu_);
  // Empty, pages not yet given back; linked through the table, so that a sweep needs no memory.
  Chunk* swept_ ABSL_GUARDED_BY(mu_) = nullptr;
  size_t releasing_ ABSL_GUARDED_BY(mu_) = 0;         // chunks whose pages are being given back
  std::vector<uintptr_t> free_ ABSL_GUARDED_BY(mu_);  // empty, pages given back
  uintptr_t frontier_ ABSL_GUARDED_BY(mu_);
  uintptr_t table_committed_ ABSL_GUARDED_BY(mu_);  // up to there
  platform::Bytes object_bytes_ ABSL_GUARDED_BY(mu_);
  platform::Bytes allocated_bytes_ ABSL_GUARDED_BY(mu_);
  platform::Bytes freed_bytes_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_PINNED_SPACE_H_
