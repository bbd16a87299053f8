// PageOutQueue: empty blocks on their way out of memory. A part of CopySpace, under its lock.
// Design: docs/design/giving_back.md

#ifndef EBB_COPYSPACE_PAGE_OUT_QUEUE_H_
#define EBB_COPYSPACE_PAGE_OUT_QUEUE_H_

#include <array>
#include <cstdint>
#include <utility>

#include "absl/functional/function_ref.h"
#include "copyspace/block.h"
#include "copyspace/block_list.h"

namespace ebb::copyspace {

// Four ages, of which all but the last are in core, and the condemned blocks. Only lists: nothing
// here talks to the system.
class PageOutQueue {
 public:
  static constexpr int kAges = 4;
  static constexpr int kOldestInCore = kAges - 2;
  static constexpr int kPagedOut = kAges - 1;

  // Puts blocks that a cycle has freed on top of the youngest age. O(1).
  void Admit(BlockStack freed) { ages_[0].PushAll(std::move(freed)); }

  // All in-core blocks grow one age older (those of the oldest age stay in it), and `empty` becomes
  // the youngest age. O(1).
  void Advance(BlockStack empty);

  // A block that is in core, of the youngest age there is, with its age's most recent first; null
  // if none.
  Block* PopYoungestInCore();
  // The other way round, for paging out; null if none.
  Block* PopOldestInCore();

  // Visits the lists of the in-core ages, the oldest first.
  void ForEachInCore(absl::FunctionRef<void(BlockStack&)> visit) {
    for (int age = kOldestInCore; age >= 0; --age) visit(ages_[age]);
  }

  BlockStack& oldest() { return ages_[kOldestInCore]; }
  BlockStack& condemned() { return condemned_; }
  BlockStack& paged_out() { return ages_[kPagedOut]; }
  const BlockStack& age(int age) const { return ages_[age]; }
  // Blocks of the in-core ages.
  int64_t in_core() const {
    int64_t blocks = 0;
    for (int age = 0; age <= kOldestInCore; ++age) blocks += ages_[age].size();
    return blocks;
  }
  const BlockStack& condemned() const { return condemned_; }

 private:
  std::array<BlockStack, kAges> ages_;
  BlockStack condemned_;
};

}  // namespace ebb::copyspace

#endif  // EBB_COPYSPACE_PAGE_OUT_QUEUE_H_
