#include "copyspace/block_list.h"

#include <array>
#include <cstddef>
#include <functional>
#include <utility>

namespace ebb::copyspace {

void BlockStack::Push(Block& block, BlockList list) {
  block.set_list(list);
  block.next_ = top_;
  if (top_ == nullptr) bottom_ = &block;
  top_ = &block;
  ++size_;
}

Block* BlockStack::Pop() {
  Block* block = top_;
  if (block != nullptr) Unlink(nullptr, block);
  return block;
}

void BlockStack::PushAll(BlockStack upper) {
  if (upper.empty()) return;
  upper.bottom_->next_ = top_;
  if (top_ == nullptr) bottom_ = upper.bottom_;
  top_ = upper.top_;
  size_ += upper.size_;
}

Block* BlockStack::PopFirst(int tries, absl::FunctionRef<bool(const Block&)> wanted) {
  Block* above = nullptr;
  for (Block* block = top_; block != nullptr && tries > 0; block = block->next_, --tries) {
    if (wanted(*block)) {
      Unlink(above, block);
      return block;
    }
    above = block;
  }
  return nullptr;
}

BlockStack BlockStack::RemoveIf(absl::FunctionRef<bool(const Block&)> wanted, int64_t tries) {
  BlockStack removed;
  Block* above = nullptr;
  Block* below = nullptr;
  for (Block* block = top_; block != nullptr && tries > 0; block = below, --tries) {
    below = block->next_;
    if (!wanted(*block)) {
      above = block;
      continue;
    }
    Unlink(above, block);
    block->next_ = nullptr;
    if (removed.bottom_ == nullptr) {
      removed.top_ = block;
    } else {
      removed.bottom_->next_ = block;
    }
    removed.bottom_ = block;
    ++removed.size_;
  }
  return removed;
}

// A bottom-up merge sort: sorted[i] is empty or holds 2^i blocks.
void BlockStack::SortByAddress() {
  std::array<BlockStack, 64> sorted;
  while (Block* block = Pop()) {
    BlockStack carry;
    carry.Push(*block, block->list());
    size_t i = 0;
    for (; !sorted[i].empty(); ++i) carry.MergeSorted(std::move(sorted[i]));
    sorted[i] = std::move(carry);
  }
  for (BlockStack& part : sorted) MergeSorted(std::move(part));
}

// Lists that were sorted before, either way round, are only put together.
void BlockStack::MergeSorted(BlockStack other) {
  const std::less<Block*> is_lower;
  if (empty() || other.empty() || is_lower(other.bottom_, top_)) return PushAll(std::move(other));
  if (is_lower(bottom_, other.top_)) {
    other.PushAll(std::move(*this));
    *this = std::move(other);
    return;
  }
  Block* mine = top_;
  Block* theirs = other.top_;
  Block** link = &top_;
  while (mine != nullptr && theirs != nullptr) {
    Block*& lower = is_lower(mine, theirs) ? mine : theirs;
    *link = lower;
    link = &lower->next_;
    lower = lower->next_;
  }
  *link = mine != nullptr ? mine : theirs;
  if (is_lower(bottom_, other.bottom_)) bottom_ = other.bottom_;
  size_ += other.size_;
}

void BlockStack::ForEach(absl::FunctionRef<void(Block&)> visit, int64_t tries) const {
  Block* below = nullptr;
  for (Block* block = top_; block != nullptr && tries > 0; block = below, --tries) {
    below = block->next_;
    visit(*block);
  }
}

void BlockStack::Unlink(Block* above, Block* block) {
  (above == nullptr ? top_ : above->next_) = block->next_;
  if (bottom_ == block) bottom_ = above;
  --size_;
}

BlockStack SharedBlockList::Drain() {
  // Acquire: pairs with the release in Push; the headers and links of all blocks are visible.
  Block* block = head_.exchange(nullptr, std::memory_order_acquire);
  size_.store(0, std::memory_order_relaxed);  // nobody pushes: nothing to be ordered with
  BlockStack drained;
  while (block != nullptr) {
    Block* next = block->next_;
    drained.Push(*block, block->list());
    block = next;
  }
  return drained;
}

int64_t SharedBlockList::Drop() {
  // Acquire: as in Drain. Who finds one of the blocks later has its header from our caller.
  head_.exchange(nullptr, std::memory_order_acquire);
  return size_.exchange(0, std::memory_order_relaxed);  // nobody pushes: nothing to be ordered with
}

void SharedBlockList::ForEach(absl::FunctionRef<void(Block&)> visit) const {
  // Acquire: as in Drain.
  for (Block* block = head_.load(std::memory_order_acquire); block != nullptr;
       block = block->next_) {
    visit(*block);
  }
}

}  // namespace ebb::copyspace
