// CopySpace: what is done to reserve regions between cycles: their pages given back, access to them
// forbidden, their contents poisoned.

#include <array>
#include <cstring>

#include "absl/base/config.h"
#include "absl/log/check.h"
#include "absl/types/span.h"
#include "copyspace/copy_space.h"

#ifdef ABSL_HAVE_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

namespace ebb::copyspace {

// The protocol with Flip, for inv.reserve-batch. A batch is chosen and counted in reserve_batches_
// under the lock, outside a cycle; the kernel works on it without the lock; then it is counted out.
// Flip waits for the count to be 0 before it makes the reserve active. Blocks may change lists
// meanwhile: nothing but a flip lets anybody touch a reserve region (inv.reserve-untouched).
absl::Status CopySpace::DiscardReserve() {
  ReserveWalk walk;
  {
    absl::MutexLock lock(&lock_);
    walk.flips = flips_;
  }
  while (NextReserveBatch(walk)) {
    if (walk.blocks_found == 0) continue;
    std::array<AddressRange, kBatchBlocks> ranges;
    for (size_t i = 0; i < walk.blocks_found; ++i) {
      ranges[i] = walk.blocks[i]->region_range(1 - active_region());
    }
    const absl::Status status =
        DiscardPages(absl::MakeSpan(ranges).first(walk.blocks_found));
    absl::MutexLock lock(&lock_);
    --reserve_batches_;
    if (!status.ok()) return status;
    for (size_t i = 0; i < walk.blocks_found; ++i) {
      walk.blocks[i]->set_known_zero(1 - active_region(), true);
    }
  }
  return absl::OkStatus();
}

bool CopySpace::NextReserveBatch(ReserveWalk& walk) {
  absl::MutexLock lock(&lock_);
  walk.blocks_found = 0;
  if (in_cycle_ || flips_ != walk.flips || walk.cursor == frontier_.taken()) return false;
  for (int tries = kReserveTries; tries > 0; --tries) {
    if (walk.cursor == frontier_.taken() || walk.blocks_found == walk.blocks.size()) break;
    Block& block = frontier_.At(walk.cursor++);
    if (ReserveInUse(block)) walk.blocks[walk.blocks_found++] = &block;
  }
  if (walk.blocks_found > 0) ++reserve_batches_;
  return true;
}

// Empty blocks are left to the page-out queue, which gives both regions back.
bool CopySpace::ReserveInUse(const Block& block) const {
  if (block.any_retained() || block.known_zero(1 - active_region())) return false;
  return block.list() == BlockList::kOpen || block.list() == BlockList::kPartlyFull ||
         block.list() == BlockList::kFull;
}

void CopySpace::AwaitReserve() const {
  const auto settled = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return reserve_batches_ == 0;
  };
  lock_.Await(absl::Condition(&settled));
}

// All at once: while one of them is waited for, the lock is free and another may begin.
void CopySpace::AwaitKernel() const {
  const auto settled = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return discarding_ == 0 && reserve_batches_ == 0 && advising_ == 0;
  };
  lock_.Await(absl::Condition(&settled));
}

absl::Status CopySpace::ProtectReserve(platform::Access access, const MutatorsStopped&) {
  absl::MutexLock lock(&lock_);
  CHECK(!in_cycle_) << "from-space is protected after the cycle, not during it";
  if (access == platform::Access::kReadWrite) return AllowAccess();
  absl::Status status;
  for (int64_t i = 0; i < frontier_.taken() && status.ok(); ++i) {
    const Block& block = frontier_.At(i);
    const int reserve = 1 - active_region();
    if (block.any_retained() || block.known_zero(reserve)) continue;
    status = system_.Protect(block.region_range(reserve), access,
                             "a reserve region of a copy space");
    reserve_protected_ |= status.ok();
  }
  if (!status.ok()) AllowAccess().IgnoreError();  // the first error is the one to report
  return status;
}

absl::Status CopySpace::AllowAccess() {
  if (!reserve_protected_) return absl::OkStatus();
  const absl::Status status = system_.Protect(
      frontier_.committed(), platform::Access::kReadWrite, "the slabs of a copy space");
  if (status.ok()) reserve_protected_ = false;
  return status;
}

void CopySpace::PoisonReserve(const MutatorsStopped&) {
  absl::MutexLock lock(&lock_);
  CHECK(!in_cycle_) << "from-space is poisoned after the cycle, not during it";
  CHECK(!reserve_protected_) << "a protected region cannot be written";
  AwaitKernel();
  const int reserve = 1 - active_region();
  for (int64_t i = 0; i < frontier_.taken(); ++i) {
    Block& block = frontier_.At(i);
    if (block.any_retained() || block.known_zero(reserve)) continue;
    void* region = reinterpret_cast<void*>(block.region_begin(reserve));
#ifdef ABSL_HAVE_ADDRESS_SANITIZER
    ASAN_UNPOISON_MEMORY_REGION(region, kRegionSize.size());
#endif
    std::memset(region, kPoisonByte, kRegionSize.size());
#ifdef ABSL_HAVE_ADDRESS_SANITIZER
    ASAN_POISON_MEMORY_REGION(region, kRegionSize.size());
#endif
  }
  reserve_poisoned_ = true;
}

// Of what is the reserve now. Only AddressSanitizer's poison must go; the bytes may stay, since
// PoisonReserve leaves regions that are known to be zero alone.
void CopySpace::UnpoisonReserve() {
  reserve_poisoned_ = false;
#ifdef ABSL_HAVE_ADDRESS_SANITIZER
  for (int64_t i = 0; i < frontier_.taken(); ++i) {
    const uintptr_t region = frontier_.At(i).region_begin(1 - active_region());
    ASAN_UNPOISON_MEMORY_REGION(reinterpret_cast<void*>(region), kRegionSize.size());
  }
#endif
}

}  // namespace ebb::copyspace
