// CopySpace: flip and finish, in a pause or beside the mutators, and what becomes of retained
// blocks. The design page's table "Retained blocks, case by case" says what FinishBlock does.

#include <algorithm>
#include <utility>

#include "absl/log/check.h"
#include "copyspace/copy_space.h"
#include "copyspace/forwarding_word.h"

namespace ebb::copyspace {

Reference CopySpace::SurvivorOf(Reference object) const {
  if (!InFromSpace(object)) return object;
  const ForwardingWord::Snapshot word = ForwardingWord::Of(object).Load();
  if (word.is_forwarded()) return word.forwarded();
  return word.retained_in(cycle_parity()) ? object : 0;
}

void CopySpace::Flip(const MutatorsStopped&) {
  absl::MutexLock lock(&lock_);
  CHECK(!in_cycle_) << "Flip before the last cycle's FinishCycle";
  CHECK(!reserve_protected_) << "Flip while the reserve is protected";
  // Relaxed: the pause has ordered every return of a block before this.
  CHECK_EQ(open_.load(std::memory_order_relaxed), 0) << "Flip with an allocator open";
  AwaitReserve();  // inv.reserve-batch
  if (reserve_poisoned_) UnpoisonReserve();
  in_cycle_ = true;
  ++flips_;
  ticks_since_cycle_ = 0;
  taken_for_evacuation_ = 0;
  reserve_bit_ ^= kRegionBit;
  parity_ ^= 1;

  // What is retained in the reserve only is in from-space like anything else there, and the active
  // region is empty: evacuation may use it, once there is nothing else. Without that, a space whose
  // every block is retained could not move anything again, however little of it is alive.
  BlockStack ordinary = retained_.RemoveIf(
      [active = active_region()](const Block& block) { return !block.retained(active); });
  while (Block* block = ordinary.Pop()) {
    block->set_retained(1 - active_region(), false);
    empty_.Push(*block, BlockList::kEmpty);
  }

  // All other blocks in use are flipped from here on, without a look at any: TakeFlipped finds them
  // by their headers.
  CHECK_EQ(flipped_, 0);
  flipped_ = full_.Drop() + partly_full_.size();
  flipped_cursor_ = 0;
  partly_full_ = BlockStack();

  ClearUsage();
  retained_.ForEach([this](Block& block) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) { AddUsage(block); });
}

// Right for whoever holds the lock, while other threads acquire and return blocks:
//
// - A block that was acquired in this cycle says so, and is not flipped whatever list it is on. It
//   was acquired under the lock, so either we see that, or it had not yet happened when we took the
//   lock; then nor had its return, which sets the list without the lock if the block is full.
// - The header of one that was not acquired in this cycle names the partly full or the full list
//   only if it is flipped, since only who has acquired a block puts it there. Page-out changes the
//   list without the lock, but of blocks that are empty.
bool CopySpace::IsFlipped(const Block& block) const {
  if (block.flips_at_acquire() == flips_) return false;
  return block.list() == BlockList::kPartlyFull || block.list() == BlockList::kFull;
}

void CopySpace::RetainRegionOf(Reference object) {
  Block& block = Block::Of(object);
  DCHECK(InFromSpace(object)) << block;
  // Relaxed, both: read in a pause, or (the count) when the cycle's evacuation is over.
  if (!block.exchange_failed(RegionIndex(object), true)) {
    failed_regions_.fetch_add(1, std::memory_order_relaxed);
  }
}

// A region that is evacuated into a fresh block leaves its own, and that of the fresh block, empty
// at the next flip: so the room about doubles from one such cycle to the next. Regions of the
// reserve come first, because what they leave becomes active then.
void CopySpace::EvacuateInPart(const MutatorsStopped&) {
  constexpr int64_t kMostWasted = 8;  // a part; copies come in another order
  absl::MutexLock lock(&lock_);
  CHECK(in_cycle_) << "EvacuateInPart without Flip";
  in_part_ = true;
  const Bytes in_ledger = std::max(ledger_.limit() - ledger_.used(), Bytes(0));
  const int64_t empty_regions = BlocksInCore() + in_ledger / kBlockSize;
  Bytes room = kRegionSize * empty_regions;
  // (One region is worth a try.)
  if (empty_regions > 1) room -= room / kMostWasted;
  room = ChooseInPart(1 - active_region(), room);
  ChooseInPart(active_region(), room);
}

Bytes CopySpace::ChooseInPart(int region, Bytes room) {
  const int64_t blocks = frontier_.taken();
  const int64_t begin = in_part_cursor_;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t index = (begin + i) % blocks;
    Block& block = frontier_.At(index);
    const Bytes used(block.used(region));
    const bool in_from_space = region != active_region() || block.retained(region);
    if (used == Bytes(0) || !in_from_space) continue;
    if (used <= room) {
      room -= used;
      in_part_cursor_ = (index + 1) % blocks;
    } else {
      RetainRegionOf(block.region_begin(region));
    }
  }
  return room;
}

void CopySpace::FinishCycle(const MutatorsStopped&) {
  absl::MutexLock lock(&lock_);
  CHECK(in_cycle_) << "FinishCycle without Flip";
  const bool recount = !CanFinishConcurrently();
  // Relaxed: the pause orders RetainRegionOf before this, and the next cycle's after it.
  const bool failures = failed_regions_.exchange(0, std::memory_order_relaxed) > 0;
  if (failures) PullFailed();
  has_retained_ = failures;
  FinishBlocks(0, frontier_.taken());

  BlockStack ordinary =
      retained_.RemoveIf([](const Block& block) { return !block.any_retained(); });
  while (Block* block = ordinary.Pop()) empty_.Push(*block, BlockList::kEmpty);
  page_out_.Admit(std::move(empty_));
  if (recount) {
    ClearUsage();
    for (int64_t i = 0; i < frontier_.taken(); ++i) AddUsage(frontier_.At(i));
  }
  in_cycle_ = false;
  in_part_ = false;
  regions_kept_ = least_regions_kept_ = most_regions_kept_ = 0;
  Condemn(/*restore_overdraft=*/true);
}

bool CopySpace::CanFinishConcurrently() const {
  // Relaxed: the end of the cycle's evacuation orders RetainRegionOf before this.
  return !has_retained_ && failed_regions_.load(std::memory_order_relaxed) == 0;
}

// While the walk below lets go of the lock, other threads acquire blocks, above and below where it
// is, and return them. It is right nevertheless:
//
// - Only a flip lets anybody put objects into a region of from-space, and the next one waits for
//   in_cycle_. So once a block has been walked its reserve stays empty (inv.reserve-untouched), and
//   used() and known_zero() of that region have no other writer: page-out, which sets known_zero()
//   as well, has only blocks whose from-space region was empty before the flip.
// - Nor does anything but a flip make blocks flipped. Those there are leave under the lock, for
//   TakeFlipped at the low end or for the walk at the high one: IsFlipped says why neither takes a
//   block for flipped that another thread is returning. After the walk there is none.
// - A block taken into use after the walk's begin never had anything in from-space.
// - The blocks that an allocator keeps on the active side are none of the walk's business, and the
//   running sums count active regions only: nothing is retained.
//
// What mutators read without the lock (reserve_bit_, parity_, has_retained_) stays as it is: with
// nothing retained, before or after, there is nothing to change.
void CopySpace::FinishCycleConcurrently() {
  CHECK(CanFinishConcurrently()) << "retained regions change in a pause only: use FinishCycle";
  int64_t end;
  {
    absl::MutexLock lock(&lock_);
    CHECK(in_cycle_) << "FinishCycleConcurrently without Flip";
    end = frontier_.taken();
  }
  while (end > 0) {
    absl::MutexLock lock(&lock_);
    const int64_t begin = std::max(end - kFinishBlocks, int64_t{0});
    FinishBlocks(begin, end);
    end = begin;
  }
  // From here on an empty block has nothing in from-space, and may be paged out (the in-core ages
  // are, also during a cycle). The overdraft can be thousands of blocks: these are condemned in
  // batches as well, and in_cycle_ is cleared with the last, which establishes inv.request.
  bool done = false;
  while (!done) {
    absl::MutexLock lock(&lock_);
    page_out_.Admit(std::move(empty_));
    done = Condemn(/*restore_overdraft=*/true, kFinishBlocks);
    if (!done) continue;
    in_cycle_ = false;
    regions_kept_ = least_regions_kept_ = most_regions_kept_ = 0;
  }
}

// Downwards, so that the lowest address comes to lie on top of the empty list.
void CopySpace::FinishBlocks(int64_t begin, int64_t end) {
  for (int64_t i = end - 1; i >= begin; --i) {
    Block& block = frontier_.At(i);
    FinishBlock(block);
    if (!IsFlipped(block)) continue;
    --flipped_;
    if (block.any_retained()) {
      retained_.Push(block, BlockList::kRetained);
    } else {
      empty_.Push(block, BlockList::kEmpty);
    }
  }
}

// Before FinishBlock turns failures of this cycle into retained regions. Flipped blocks, which are
// on no list, are left to FinishBlocks.
void CopySpace::PullFailed() {
  const auto failed = [](const Block& block) { return block.any_failed(); };
  BlockStack pulled = empty_.RemoveIf(failed);
  pulled.PushAll(partly_full_.RemoveIf(failed));
  BlockStack full = full_.Drain();
  pulled.PushAll(full.RemoveIf(failed));
  while (Block* block = full.Pop()) full_.Push(*block, BlockList::kFull);
  while (Block* block = pulled.Pop()) retained_.Push(*block, BlockList::kRetained);
}

// Writes only what changes: in a concurrent finish the header may be another thread's to write too.
void CopySpace::FinishBlock(Block& block) {
  const bool was_retained = block.any_retained();
  for (int region = 0; region < kRegionsPerBlock; ++region) {
    const bool failed = block.failed(region);
    const bool to_space = region == active_region() && !was_retained;
    if (!failed && !to_space && block.used(region) > 0) {
      block.set_known_zero(region, false);
      block.set_used(region, 0);
    }
    if (failed) block.exchange_failed(region, false);
    if (failed != block.retained(region)) block.set_retained(region, failed);
  }
}

void CopySpace::ClearUsage() {
  // Relaxed: in a pause, which orders all other accesses before this or after.
  allocated_.store(0, std::memory_order_relaxed);
  fragmentation_.store(0, std::memory_order_relaxed);
}

void CopySpace::AddUsage(const Block& block) {
  // Relaxed: as in ClearUsage.
  allocated_.fetch_add(AllocatedIn(block).count(), std::memory_order_relaxed);
  fragmentation_.fetch_add(FragmentationOf(block).count(), std::memory_order_relaxed);
}

}  // namespace ebb::copyspace
