// Spaces: the memory of one heap. Design: docs/design/heap.md#spaces

#ifndef EBB_HEAP_SPACES_H_
#define EBB_HEAP_SPACES_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "copyspace/copy_space.h"
#include "copyspace/field_log.h"
#include "copyspace/geometry.h"
#include "copyspace/ledger.h"
#include "heap/edge_bits.h"
#include "heap/large_space.h"
#include "heap/load_barrier.h"
#include "heap/options.h"
#include "heap/pinned_space.h"
#include "heap/store_barrier.h"
#include "platform/address_range.h"
#include "platform/fork.h"
#include "platform/system.h"

namespace ebb::internal {

// One reservation, cut into ranges: the copy space (moving objects), the nursery if there are
// generations, the pinned space and the large space (objects marked in place), and their
// field-logging bits; and the ledger that all of them debit.
class Spaces {
 public:
  // `options` are validated and resolved (no zeros that stand for a default).
  static absl::StatusOr<std::unique_ptr<Spaces>> Create(platform::System& system,
                                                        const Options& options);
  ~Spaces();
  Spaces(const Spaces&) = delete;
  Spaces& operator=(const Spaces&) = delete;

  platform::System& system() { return system_; }
  copyspace::Ledger& ledger() { return ledger_; }
  copyspace::CopySpace& copy() { return *copy_; }
  copyspace::CopySpace& SpaceOf(const copyspace::Block& block) {
    return InNursery(block.payload()) ? *nursery_ : *copy_;
  }
  PinnedSpace& pinned() { return *pinned_; }
  LargeSpace& large() { return *large_; }
  platform::AddressRange range() const { return range_; }
  bool Contains(uintptr_t address) const { return range_.Contains(address); }
  // For a thread that runs beside a cycle of this heap alone (inv.load-filter): objects of to-space
  // pass. With something retained, the region bit does not tell them.
  LoadFilter FilterFor(LoadBarrier& barrier) const {
    if (copy_->has_retained()) return NonePasses(barrier);
    return {.mask = in_place_bit_ | copyspace::kRegionBit,
            .good = copy_->active_region() * copyspace::kRegionBit,
            .barrier = &barrier};
  }

  // Generations: see docs/design/generations.md. The nursery is there only if has_generations().
  bool has_generations() const { return nursery_ != nullptr; }
  copyspace::CopySpace& nursery() { return *nursery_; }
  platform::Bytes debited_for_nursery() const {
    return has_generations() ? nursery_ledger_.limit() : platform::Bytes(0);
  }
  bool InNursery(uintptr_t address) const { return nursery_range_.Contains(address); }
  // For a thread that is attached to this heap, and to no other that has generations.
  StoreFilter FilterForStores(void (*log)(uintptr_t edge),
                              void (*log_range)(uintptr_t begin, size_t count)) const {
    const uintptr_t begin = nursery_range_.begin;
    return {~(nursery_range_.size.size() - 1), begin, begin, log, log_range};
  }
  // As of copyspace/field_log.h, for an edge in any object that is not young.
  bool IsRemembered(uintptr_t edge) const {
    return copy_->Contains(edge) ? copyspace::IsRemembered(edge)
                                 : in_place_bits_.IsRemembered(edge);
  }
  bool Remember(uintptr_t edge) {
    return copy_->Contains(edge) ? copyspace::Remember(edge) : in_place_bits_.Remember(edge);
  }
  uint64_t RememberEach(uintptr_t group, uint64_t bits) {
    return copy_->Contains(group) ? copyspace::RememberEach(group, bits)
                                  : in_place_bits_.RememberEach(group, bits);
  }
  bool Forget(uintptr_t edge) {
    return copy_->Contains(edge) ? copyspace::Forget(edge) : in_place_bits_.Forget(edge);
  }
  void PrefetchLogBit(uintptr_t edge) const {
    copy_->Contains(edge) ? copyspace::PrefetchLogBit(edge) : in_place_bits_.Prefetch(edge);
  }
  // Visits all that are remembered, while mutators are stopped. O(heap).
  void ForEachRemembered(absl::FunctionRef<void(uintptr_t edge)> visit) const;

  // What mutators may not use, so that a cycle can move objects: at most an eighth of the limit.
  platform::Bytes overdraft() const {
    // Relaxed: an amount that publishes nothing.
    return platform::Bytes(overdraft_.load(std::memory_order_relaxed));
  }
  platform::Bytes OverdraftFor(platform::Bytes limit) const;
  // The ledger's, and with it the overdraft; evacuation may go up to `most`. Any thread, one at a
  // time.
  void SetLimit(platform::Bytes limit, platform::Bytes most);

  // An object that is marked in place, of either space.
  bool TryMarkInPlace(copyspace::Reference object) {
    return pinned_->Contains(object) ? pinned_->TryMark(object) : large_->TryMark(object);
  }
  // In a cycle, before anything is swept: the reference of the object now if it is known to be
  // alive, or 0; after the trace has ended, 0 if it is garbage. Acquires the copy.
  copyspace::Reference SurvivorOf(copyspace::Reference object) const;
  // Visits every object marked in place in this cycle.
  void ForEachMarkedInPlace(absl::FunctionRef<void(copyspace::Reference)> visit) const;
  // Visits every object of these spaces that no sweep has freed.
  void ForEachInPlace(absl::FunctionRef<void(copyspace::Reference)> visit) const;
  // Gives the pages of swept pinned and large objects back to the system. What another thread is
  // giving back just now is waited for: who has run a cycle finds all that it and those before it
  // freed, and not just what was left on the list.
  absl::Status ReleaseSwept() ABSL_LOCKS_EXCLUDED(release_mu_);

  // See Heap::CountKernelMappings.
  absl::StatusOr<int64_t> CountKernelMappings() const { return system_.CountMappings(range_); }

  // Bytes of objects, headers included; exact whenever no allocator is open.
  platform::Bytes object_bytes() const;
  // What allocations in place leave free in the ledger: evacuation needs it.
  platform::Bytes keep_free() const { return overdraft() + copy_->kept_in_ledger(); }
  absl::Status CheckInvariants() const;

  // Around a fork, as of the spaces.
  void AtFork(platform::ForkStep step);

 private:
  Spaces(platform::System& system, platform::AddressRange range, const Options& options);
  // On the whole range; a space that is to be dense goes on from there.
  void AdviseHugePages(HugePages huge_pages);
  absl::Status MakeNursery(platform::AddressRange range, bool dense_huge_pages);

  platform::System& system_;
  const platform::AddressRange range_;
  platform::AddressRange nursery_range_;  // empty without generations
  EdgeBits in_place_bits_;
  uintptr_t in_place_bit_ = 0;  // inv.in-place-bit
  const int workers_;
  std::atomic<int64_t> overdraft_;
  copyspace::Ledger ledger_;
  // The nursery has its memory from the beginning: no cycle of it waits for any, and it takes none
  // from the others.
  copyspace::Ledger nursery_ledger_;
  std::unique_ptr<copyspace::CopySpace> copy_;
  std::unique_ptr<copyspace::CopySpace> nursery_;
  std::unique_ptr<PinnedSpace> pinned_;
  std::unique_ptr<LargeSpace> large_;
  absl::Mutex release_mu_;  // who gives back; before the spaces' own
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_SPACES_H_
