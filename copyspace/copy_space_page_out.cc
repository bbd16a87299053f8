// CopySpace: requests to shrink and expand, ageing, giving the pages of empty blocks back, and none
// of that while the process forks.

#include <algorithm>
#include <array>
#include <memory>
#include <new>
#include <utility>

#include "absl/log/log.h"
#include "absl/status/status.h"
#include "copyspace/copy_space.h"
#include "copyspace/dense_slabs.h"

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
  if (!in_cycle_) ++ticks_since_cycle_;
  page_out_.Advance(in_cycle_ ? BlockStack() : std::move(empty_));
}

int64_t CopySpace::ticks_since_cycle() const {
  absl::MutexLock lock(&lock_);
  return ticks_since_cycle_;
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

int64_t CopySpace::EmptyInFreeRun(uintptr_t run) const {
  if (run == SlabOf(run) || run + kRunSize.size() > frontier_.taken_end()) return 0;
  int64_t empty = 0;
  for (int i = 0; i < kBlocksPerRun; ++i) {
    const BlockList list = Block::Of(run + i * kBlockSize.size()).list();
    if (list != BlockList::kEmpty && list != BlockList::kPagedOut) return 0;
    if (list == BlockList::kEmpty) ++empty;
  }
  return empty;
}

// A run costs one range of a call to the kernel, and no huge page is broken for it. Runs are chosen
// first, and then taken out of the lists: their blocks need not be neighbours there.
BlockStack CopySpace::TakeFreeRuns(int64_t at_most) {
  std::array<uintptr_t, kRunTries / kBlocksPerRun> runs = {};
  size_t chosen = 0;
  const auto is_chosen = [&](uintptr_t run) {
    return std::find(runs.begin(), runs.begin() + chosen, run) != runs.begin() + chosen;
  };
  uintptr_t last = 0;  // mostly the next one's, too
  const auto choose = [&](Block& block) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    const uintptr_t run = RunOf(block.payload());
    if (std::exchange(last, run) == run || chosen == runs.size() || is_chosen(run)) return;
    const int64_t empty = EmptyInFreeRun(run);
    if (empty == 0 || empty > at_most) return;
    at_most -= empty;
    runs[chosen++] = run;
  };
  const auto wanted = [&](const Block& block) { return is_chosen(RunOf(block.payload())); };
  page_out_.ForEachInCore([&](BlockStack& blocks) { blocks.ForEach(choose, kRunTries); });
  empty_.ForEach(choose, kRunTries);
  BlockStack taken;
  page_out_.ForEachInCore(
      [&](BlockStack& blocks) { taken.PushAll(blocks.RemoveIf(wanted, kRunTries)); });
  taken.PushAll(empty_.RemoveIf(wanted, kRunTries));
  taken.ForEach([](Block& block) { block.set_list(BlockList::kDiscarding); });
  return taken;
}

absl::Status CopySpace::PageOutNow(Bytes at_most) {
  BlockStack condemned;
  BlockStack others;
  {
    absl::MutexLock lock(&lock_);
    condemned = std::move(page_out_.condemned());
    int64_t left = at_most / kBlockSize;
    // Where all will go there is nothing to choose; during a cycle, empty blocks may have objects.
    if (!in_cycle_ && left >= kBlocksPerRun && left < BlocksInCore()) {
      others = TakeFreeRuns(left);
      left -= others.size();
    }
    for (; left > 0; --left) {
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
  // So that neighbours are given back as one range, and runs are whole.
  blocks.SortByAddress();
  absl::Status status;
  while (!blocks.empty()) {
    std::array<AddressRange, kBatchBlocks> ranges;
    BlockStack batch;
    uintptr_t run = 0;
    while (batch.size() < static_cast<int64_t>(kBatchBlocks) && !blocks.empty()) {
      const uintptr_t next = RunOf(blocks.top()->payload());
      if (next != run && batch.size() > static_cast<int64_t>(kBatchBlocks) - kBlocksPerRun) break;
      run = next;
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

// An exception would leave its batch counted for good, and every flip waiting for that.
absl::Status CopySpace::DiscardPages(absl::Span<const AddressRange> ranges) {
  absl::MutexLock lock(&releaser_lock_);
  try {
    if (dense_slabs_ != nullptr) dense_slabs_->BeforeDiscard(ranges, flips());
    return releaser_->Discard(ranges);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("no memory for the list of what is to be given back");
  }
}

int64_t CopySpace::flips() const {
  absl::MutexLock lock(&lock_);
  return flips_;
}

void CopySpace::AdviseAtFirst() {
  const absl::Status status = system_.AdviseHugePages(
      options_.range, platform::HugePageAdvice::kAlways, "a copy space");
  if (!status.ok()) {
    LOG(WARNING) << "no huge pages: " << status;
    return;
  }
  absl::MutexLock lock(&releaser_lock_);
  dense_slabs_ = std::make_unique<DenseSlabs>(system_, options_.range);
}

// Counted, as a batch is, so that a fork finds releaser_lock_ free.
void CopySpace::AdviseDenseSlabs() {
  if (!options_.dense_huge_pages) return;
  int64_t flips = 0;
  {
    absl::MutexLock lock(&lock_);
    ++advising_;
    flips = flips_;
  }
  {
    absl::MutexLock lock(&releaser_lock_);
    if (dense_slabs_ != nullptr) {
      dense_slabs_->AdviseAgain(flips, [this](int64_t slab) { return IsDenseSlab(slab); });
    }
  }
  absl::MutexLock lock(&lock_);
  --advising_;
}

// Each of its runs is in core, or is not. The header block, in the first one, always is.
bool CopySpace::IsDenseSlab(int64_t slab) const {
  absl::MutexLock lock(&lock_);
  const int64_t begin = slab * frontier_.blocks_per_slab();
  const int64_t end = std::min(begin + frontier_.blocks_per_slab(), frontier_.taken());
  uintptr_t run = options_.range.begin + slab * kSlabSize.size();
  bool paged_out = false;
  for (int64_t i = begin; i < end; ++i) {
    const Block& block = frontier_.At(i);
    if (block.list() == BlockList::kDiscarding) return false;  // it will be
    const bool is_paged_out = block.list() == BlockList::kPagedOut;
    if (RunOf(block.payload()) == run && is_paged_out != paged_out) return false;
    run = RunOf(block.payload());
    paged_out = is_paged_out;
  }
  return true;
}

// inv.fork-between-cycles: a batch that is in the kernel belongs to the stack of a thread that the
// child does not have. With none there, releaser_lock_ is free as well: it is taken for a batch
// that has been counted, and by AdviseDenseSlabs, which is counted as well.
void CopySpace::AtFork(platform::ForkStep step) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  platform::LockAcrossFork(lock_, step);
  if (step == platform::ForkStep::kBefore) AwaitKernel();
}

}  // namespace ebb::copyspace
