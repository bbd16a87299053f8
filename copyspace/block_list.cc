#include "copyspace/block_list.h"

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

BlockStack BlockStack::RemoveIf(absl::FunctionRef<bool(const Block&)> wanted) {
  BlockStack removed;
  Block* above = nullptr;
  Block* below = nullptr;
  for (Block* block = top_; block != nullptr; block = below) {
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

void BlockStack::ForEach(absl::FunctionRef<void(Block&)> visit) const {
  Block* below = nullptr;
  for (Block* block = top_; block != nullptr; block = below) {
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
