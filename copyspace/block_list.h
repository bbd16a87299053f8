// Lists of blocks, linked through their headers. BlockStack needs the space's lock; SharedBlockList
// is pushed by many threads without it and emptied only while mutators are stopped.
// Design: docs/design/copy_space.md#block-lists

#ifndef EBB_COPYSPACE_BLOCK_LIST_H_
#define EBB_COPYSPACE_BLOCK_LIST_H_

#include <atomic>
#include <cstdint>
#include <limits>
#include <utility>

#include "absl/functional/function_ref.h"
#include "copyspace/block.h"

namespace ebb::copyspace {

// A last-in, first-out list that can be put on top of another one in O(1). Whoever pushes a block
// says where it is now by Block::list; popping leaves that to the caller.
class BlockStack {
 public:
  BlockStack() = default;
  BlockStack(BlockStack&& other) noexcept { *this = std::move(other); }
  BlockStack& operator=(BlockStack&& other) noexcept {
    top_ = std::exchange(other.top_, nullptr);
    bottom_ = std::exchange(other.bottom_, nullptr);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  bool empty() const { return top_ == nullptr; }
  int64_t size() const { return size_; }

  // Null if empty.
  const Block* top() const { return top_; }
  void Push(Block& block, BlockList list);
  // Null if empty.
  Block* Pop();
  // `upper` lies on top of this one afterwards; the blocks' Block::list stays.
  void PushAll(BlockStack upper);
  // Takes out the first of the uppermost `tries` blocks that `wanted` accepts; null if none.
  Block* PopFirst(int tries, absl::FunctionRef<bool(const Block&)> wanted);
  // Takes out all that `wanted` accepts, of the uppermost `tries`; both keep their order. O(n).
  BlockStack RemoveIf(absl::FunctionRef<bool(const Block&)> wanted,
                      int64_t tries = std::numeric_limits<int64_t>::max());
  // The lowest address on top afterwards. O(n log n), without memory of its own.
  void SortByAddress();
  // From the top, as far as the uppermost `tries`.
  void ForEach(absl::FunctionRef<void(Block&)> visit,
               int64_t tries = std::numeric_limits<int64_t>::max()) const;

 private:
  // Takes out `block`, which lies right below `above` (null: on top).
  void Unlink(Block* above, Block* block);
  // Merges two sorted lists.
  void MergeSorted(BlockStack other);

  Block* top_ = nullptr;
  Block* bottom_ = nullptr;
  int64_t size_ = 0;
};

// There is no pop, so there is no ABA: a push compares the head with what it links to, and a head
// that went and came back still is the right thing to link to.
class SharedBlockList {
 public:
  // Any thread.
  void Push(Block& block, BlockList list) {
    block.set_list(list);
    Block* head = head_.load(std::memory_order_relaxed);
    do {
      block.next_ = head;
      // Release: publishes the block's header and link. Pairs with the acquire in Drain and Drop,
      // and through the read-modify-writes in between, which continue the release sequence.
    } while (!head_.compare_exchange_weak(head, &block, std::memory_order_release,
                                          std::memory_order_relaxed));
    size_.fetch_add(1, std::memory_order_relaxed);  // a count: publishes nothing
  }

  // Empties the list. Nobody pushes meanwhile.
  BlockStack Drain();
  // Empties the list in O(1); returns how many blocks it held. Their headers and links stay as they
  // are, and finding the blocks is the caller's affair. Nobody pushes meanwhile.
  int64_t Drop();

  // Exact while nobody pushes.
  int64_t size() const { return size_.load(std::memory_order_relaxed); }
  // Nobody pushes meanwhile.
  void ForEach(absl::FunctionRef<void(Block&)> visit) const;

 private:
  std::atomic<Block*> head_{nullptr};
  std::atomic<int64_t> size_{0};
};

}  // namespace ebb::copyspace

#endif  // EBB_COPYSPACE_BLOCK_LIST_H_
