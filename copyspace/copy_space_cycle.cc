// CopySpace: flip and finish, and what becomes of retained blocks. The design page's table
// "Retained blocks, case by case" says what FinishBlock does.

#include <utility>

#include "absl/log/check.h"
#include "copyspace/copy_space.h"

namespace ebb::copyspace {

void CopySpace::Flip(const MutatorsStopped&) {
  absl::MutexLock lock(&lock_);
  CHECK(!in_cycle_) << "Flip before the last cycle's FinishCycle";
  CHECK(!reserve_protected_) << "Flip while the reserve is protected";
  CHECK_EQ(open_.load(std::memory_order_relaxed), 0) << "Flip with an allocator open";
  AwaitReserve();
  if (reserve_poisoned_) UnpoisonReserve();
  in_cycle_ = true;
  ++flips_;
  ticks_since_flip_ = 0;
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

  // The walk below gives them back by address, the lowest on top: evacuation and then mutators fill
  // runs of neighbours, and what is not needed gathers at the high end.
  full_.Drain();
  partly_full_ = BlockStack();
  for (int64_t i = frontier_.taken() - 1; i >= 0; --i) {
    Block& block = frontier_.At(i);
    const BlockList list = block.list();
    if (list == BlockList::kFull || list == BlockList::kPartlyFull) {
      empty_.Push(block, BlockList::kEmpty);
    }
  }
  CountUsage();
}

void CopySpace::RetainRegionOf(Reference object) {
  Block& block = Block::Of(object);
  DCHECK(InFromSpace(object)) << block;
  // Relaxed, both: read by FinishCycle, in a pause.
  if (!block.exchange_failed(RegionIndex(object), true)) {
    failed_regions_.fetch_add(1, std::memory_order_relaxed);
  }
}

void CopySpace::FinishCycle(const MutatorsStopped&) {
  absl::MutexLock lock(&lock_);
  CHECK(in_cycle_) << "FinishCycle without Flip";
  const bool failures = failed_regions_.exchange(0, std::memory_order_relaxed) > 0;
  if (failures) PullFailed();
  has_retained_ = failures;
  for (int64_t i = 0; i < frontier_.taken(); ++i) FinishBlock(frontier_.At(i));

  BlockStack ordinary =
      retained_.RemoveIf([](const Block& block) { return !block.any_retained(); });
  while (Block* block = ordinary.Pop()) empty_.Push(*block, BlockList::kEmpty);
  page_out_.Admit(std::move(empty_));
  CountUsage();
  in_cycle_ = false;
  Condemn(/*restore_overdraft=*/true);
}

// Before FinishBlock turns failures of this cycle into retained regions.
void CopySpace::PullFailed() {
  const auto failed = [](const Block& block) { return block.any_failed(); };
  BlockStack pulled = empty_.RemoveIf(failed);
  pulled.PushAll(partly_full_.RemoveIf(failed));
  BlockStack full = full_.Drain();
  pulled.PushAll(full.RemoveIf(failed));
  while (Block* block = full.Pop()) full_.Push(*block, BlockList::kFull);
  while (Block* block = pulled.Pop()) retained_.Push(*block, BlockList::kRetained);
}

void CopySpace::FinishBlock(Block& block) {
  const bool was_retained = block.any_retained();
  for (int region = 0; region < kRegionsPerBlock; ++region) {
    const bool failed = block.exchange_failed(region, false);
    const bool to_space = region == active_region() && !was_retained;
    if (!failed && !to_space && block.used(region) > 0) {
      block.set_known_zero(region, false);
      block.set_used(region, 0);
    }
    block.set_retained(region, failed);
  }
}

void CopySpace::CountUsage() {
  Bytes allocated;
  Bytes fragmentation;
  for (int64_t i = 0; i < frontier_.taken(); ++i) {
    allocated += AllocatedIn(frontier_.At(i));
    fragmentation += FragmentationOf(frontier_.At(i));
  }
  // Relaxed: in a pause.
  allocated_.store(allocated.count(), std::memory_order_relaxed);
  fragmentation_.store(fragmentation.count(), std::memory_order_relaxed);
}

}  // namespace ebb::copyspace
