// LargeSpace: objects too big to move. They are marked in place and their pages are given back.
// Design: docs/design/heap.md#large-and-pinned-objects

#ifndef EBB_HEAP_LARGE_SPACE_H_
#define EBB_HEAP_LARGE_SPACE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
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

// Thread-safe. Each object begins on a page of its own: a LargeHeader, the header word, the
// payload. Address space is handed out best fit: an allocation is linear in the number of free
// ranges. Marks are in a table at the end of the range, 8 bytes for each page, so that pages of
// objects that live are only read (inv.marks-aside); it is not debited.
class LargeSpace {
 public:
  static constexpr platform::Bytes kPage = platform::KiB(4);

  // `range` is reserved and not yet committed; the caller owns the reservation.
  LargeSpace(platform::System& system, copyspace::Ledger& ledger, platform::AddressRange range);

  // What an object of `object_bytes` (header word included) takes from the ledger.
  static platform::Bytes Footprint(size_t object_bytes);

  // The address of a header word with `object_bytes` of zeros from there on, 16-byte aligned
  // payload; debits the ledger, keeping `keep_free` of it. The object counts as marked, so that it
  // outlives the cycle it may be born in. ResourceExhausted when the ledger or the address space
  // is used up; the system's error when it refuses to commit.
  absl::StatusOr<uintptr_t> Allocate(size_t object_bytes, platform::Bytes keep_free)
      ABSL_LOCKS_EXCLUDED(mu_);

  bool Contains(uintptr_t address) const { return range_.Contains(address); }

  // True for the one caller that marks the object first in this cycle. Concurrent with itself.
  bool TryMark(copyspace::Reference object);
  bool IsMarked(copyspace::Reference object) const;

  // Begins a cycle: nothing is marked.
  void ClearMarks(const copyspace::MutatorsStopped&);
  // Ends it: what is not marked is garbage. Nobody marks any more, but others may allocate
  // meanwhile. O(objects); the lock is taken for some objects at a time.
  void Sweep() ABSL_LOCKS_EXCLUDED(mu_);
  // Gives the pages of what was swept back, credits the ledger and makes the addresses available.
  // No lock is held while the kernel works. On an error the memory stays accounted for, and the
  // next call tries again.
  absl::Status ReleaseSwept() ABSL_LOCKS_EXCLUDED(mu_);

  // In a cycle, before its sweep: visits the reference of each object that is marked; mutators are
  // stopped. `visit` may mark more.
  void ForEachMarked(absl::FunctionRef<void(copyspace::Reference)> visit) const
      ABSL_LOCKS_EXCLUDED(mu_);
  // Visits the reference of each object that no sweep has freed. Under the lock.
  void ForEachObject(absl::FunctionRef<void(copyspace::Reference)> visit) const
      ABSL_LOCKS_EXCLUDED(mu_);
  // The same, with how many bytes there may be of its payload: also of what another thread is just
  // copying there.
  void ForEachPayload(absl::FunctionRef<void(copyspace::Reference, size_t bytes)> visit) const
      ABSL_LOCKS_EXCLUDED(mu_);
  // Whether `object` is the reference of a live object here.
  bool IsObject(copyspace::Reference object) const ABSL_LOCKS_EXCLUDED(mu_);
  // Bytes of the objects (headers included) that the last sweep left, and were allocated since.
  platform::Bytes object_bytes() const ABSL_LOCKS_EXCLUDED(mu_);
  // Of all objects there ever were.
  platform::Bytes allocated_bytes() const ABSL_LOCKS_EXCLUDED(mu_);
  // Of those that sweeps have freed.
  platform::Bytes freed_bytes() const ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status CheckInvariants() const ABSL_LOCKS_EXCLUDED(mu_);

  // Around a fork, between cycles, with mutators stopped. No ReleaseSwept may be under way.
  void AtFork(platform::ForkStep step);

 private:
  // In front of the object, on its first page.
  struct LargeHeader {
    uint64_t object_bytes;
    LargeHeader* next_swept;  // on the list that begins with swept_
    uint64_t unused[5];
    uint64_t word;  // the object's header word
  };
  static_assert(sizeof(LargeHeader) == 64);

  static LargeHeader& HeaderOf(copyspace::Reference object) {
    return *reinterpret_cast<LargeHeader*>(object - sizeof(LargeHeader));
  }
  static copyspace::Reference ObjectAt(uintptr_t begin) { return begin + sizeof(LargeHeader); }
  static platform::AddressRange PagesOf(const LargeHeader& header) {
    return {reinterpret_cast<uintptr_t>(&header), Footprint(header.object_bytes)};
  }
  // The number of the cycle that marked it last.
  std::atomic<uint64_t>& MarkOf(copyspace::Reference object) const {
    const size_t page = (object - range_.begin) / static_cast<size_t>(kPage.count());
    return reinterpret_cast<std::atomic<uint64_t>*>(table_.begin)[page];
  }
  void AddSwept(LargeHeader& header) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Sweeps some objects from that address on; the address of the first one left, or 0 at the end.
  uintptr_t SweepSome(uintptr_t from) ABSL_LOCKS_EXCLUDED(mu_);
  absl::StatusOr<uintptr_t> TakeAddresses(platform::Bytes size) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void FreeAddresses(platform::AddressRange range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status CommitUpTo(uintptr_t end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Marks for the pages up to there, which is where a page ends.
  absl::Status CommitMarksUpTo(uintptr_t end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  platform::System& system_;
  copyspace::Ledger& ledger_;
  const platform::AddressRange table_;
  const platform::AddressRange range_;  // of the objects
  // Written while mutators are stopped.
  uint64_t cycle_ = 1;

  mutable absl::Mutex mu_;
  // Objects by the address of their first page, and what they take.
  absl::btree_map<uintptr_t, platform::Bytes> objects_ ABSL_GUARDED_BY(mu_);
  // Address space below frontier_ that holds nothing, pages given back, neighbours merged.
  absl::btree_map<uintptr_t, platform::Bytes> free_ ABSL_GUARDED_BY(mu_);
  // Dead objects, linked through their own headers, so that a sweep needs no memory.
  LargeHeader* swept_ ABSL_GUARDED_BY(mu_) = nullptr;
  // Taken from swept_, their pages just being given back.
  absl::btree_map<uintptr_t, platform::Bytes> releasing_ ABSL_GUARDED_BY(mu_);
  uintptr_t frontier_ ABSL_GUARDED_BY(mu_);
  uintptr_t committed_end_ ABSL_GUARDED_BY(mu_);
  uintptr_t table_committed_end_ ABSL_GUARDED_BY(mu_);
  platform::Bytes object_bytes_ ABSL_GUARDED_BY(mu_);
  platform::Bytes allocated_bytes_ ABSL_GUARDED_BY(mu_);
  platform::Bytes freed_bytes_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_LARGE_SPACE_H_
