// CopySpace: requests to shrink and expand, ageing, giving the pages of empty blocks back, and none
// of that while the process forks.

#include <algorithm>
#include <array>
#include <utility>

#include "copyspace/copy_space.h"

namespace ebb::copyspace {

absl::Status CopySpace::Shrink(Bytes amount) {
  {
    absl::MutexLock lock(&lock_);
    bytes_to_page_out_ += amount;
    if (!in_cycle_) Condemn(/*restore_overdraft=*/false);
  }
  return PageOutNow(Bytes(0));
}

Bytes CopySpace::Expand(Bytes amount) {
  absl::MutexLock lock(&lock_);
  Bytes taken = std::min(amount, bytes_to_page_out_);
  bytes_to_page_out_ -= taken;
  while (amount - taken >= kBlockSize && !page_out_.condemned().empty() &&
         OverdraftShortage() <= Bytes(0) - kBlockSize) {
    empty_.Push(*page_out_.condemned().Pop(), BlockList::kEmpty);
    taken += kBlockSize;
  }
  return taken;
}

void CopySpace::SetLimit(const Limit& limit) {
  absl::MutexLock lock(&lock_);
  overdraft_ = limit.overdraft;
  last_resort_ = limit.last_resort;
  hard_limit_slack_ = limit.hard_limit_slack;
  ledger_.SetLimit(limit.limit);
}

Bytes CopySpace::bytes_to_page_out() const {
  absl::MutexLock lock(&lock_);
  return bytes_to_page_out_;
}

// Establishes inv.request and, if asked to, inv.overdraft.
bool CopySpace::Condemn(bool restore_overdraft, int64_t at_most) {
  while (bytes_to_page_out_ >= kBlockSize ||
         (restore_overdraft && OverdraftShortage() > Bytes(0))) {
    if (at_most-- == 0) return false;
    Block* block = PopOldestEmpty();
    if (block == nullptr) return true;
    page_out_.condemned().Push(*block, BlockList::kCondemned);
    bytes_to_page_out_ = std::max(Bytes(0), bytes_to_page_out_ - kBlockSize);
  }
  return true;
}

Bytes CopySpace::OverdraftShortage() const {
  const Bytes leaving = kBlockSize * (page_out_.condemned().size() + discarding_);
  return ledger_.used() - leaving + overdraft_ - ledger_.limit();
}

Block* CopySpace::PopOldestEmpty() {
  if (Block* block = page_out_.PopOldestInCore(); block != nullptr) return block;
  // During a cycle the empty list's blocks may have objects in from-space.
  return in_cycle_ ? nullptr : empty_.Pop();
}

void CopySpace::AdvancePageOutAges() {
  absl::MutexLock lock(&lock_);
  ++ticks_since_flip_;
  page_out_.Advance(in_cycle_ ? BlockStack() : std::move(empty_));
}

int64_t CopySpace::ticks_since_flip() const {
  absl::MutexLock lock(&lock_);
  return ticks_since_flip_;
}

absl::Status CopySpace::DiscardOldest() {
  BlockStack condemned;
  BlockStack oldest;
  {
    absl::MutexLock lock(&lock_);
    condemned = std::move(page_out_.condemned());
    oldest = std::move(page_out_.oldest());
    discarding_ += condemned.size() + oldest.size();
  }
  absl::Status status = DiscardAll(std::move(condemned), BlockList::kCondemned);
  status.Update(DiscardAll(std::move(oldest), BlockList::kEmpty));
  return status;
}

absl::Status CopySpace::PageOutNow(Bytes at_most) {
  BlockStack condemned;
  BlockStack others;
  {
    absl::MutexLock lock(&lock_);
    condemned = std::move(page_out_.condemned());
    for (int64_t left = at_most / kBlockSize; left > 0; --left) {
      Block* block = PopOldestEmpty();
      if (block == nullptr) break;
      others.Push(*block, BlockList::kDiscarding);
    }
    discarding_ += condemned.size() + others.size();
  }
  absl::Status status = DiscardAll(std::move(condemned), BlockList::kCondemned);
  status.Update(DiscardAll(std::move(others), BlockList::kEmpty));
  return status;
}

absl::Status CopySpace::DiscardAll(BlockStack blocks, BlockList origin) {
  blocks.ForEach([](Block& block) { block.set_list(BlockList::kDiscarding); });
  absl::Status status;
  while (!blocks.empty()) {
    std::array<AddressRange, kBatchBlocks> ranges;
    BlockStack batch;
    while (batch.size() < static_cast<int64_t>(kBatchBlocks) && !blocks.empty()) {
      Block* block = blocks.Pop();
      ranges[batch.size()] = block->range();
      batch.Push(*block, BlockList::kDiscarding);
    }
    if (status.ok()) status = DiscardPages(absl::MakeSpan(ranges).first(batch.size()));
    absl::MutexLock lock(&lock_);
    SettleBatch(std::move(batch), status.ok(), origin);
  }
  return status;
}

void CopySpace::SettleBatch(BlockStack batch, bool discarded, BlockList origin) {
  discarding_ -= batch.size();
  ++settled_batches_;
  if (discarded) {
    CreditLocked(kBlockSize * batch.size());
    while (Block* block = batch.Pop()) {
      block->set_known_zero(0, true);
      block->set_known_zero(1, true);
      page_out_.paged_out().Push(*block, BlockList::kPagedOut);
    }
    return;
  }
  // Still debited and in core; some pages may be zero now, which known_zero need not know.
  BlockStack& back = origin == BlockList::kCondemned ? page_out_.condemned() : page_out_.oldest();
  while (Block* block = batch.Pop()) back.Push(*block, origin);
  if (!in_cycle_) Condemn(/*restore_overdraft=*/false);
}

absl::Status CopySpace::DiscardPages(absl::Span<const AddressRange> ranges) {
  absl::MutexLock lock(&releaser_lock_);
  return releaser_->Discard(ranges);
}

// inv.fork-between-cycles: a batch that is in the kernel belongs to the stack of a thread that the
// child does not have. With none there, releaser_lock_ is free as well: it is taken for a batch
// that has been counted.
void CopySpace::AtFork(platform::ForkStep step) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  platform::LockAcrossFork(lock_, step);
  if (step == platform::ForkStep::kBefore) AwaitKernel();
}

}  // namespace ebb::copyspace
