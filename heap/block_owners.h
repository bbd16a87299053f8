// BlockOwners: which worker evacuates the objects of which block, while several do. Of the tracer.
// Design: docs/design/tracing.md#owners

#ifndef EBB_HEAP_BLOCK_OWNERS_H_
#define EBB_HEAP_BLOCK_OWNERS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "copyspace/geometry.h"
#include "platform/address_range.h"
#include "platform/bytes.h"

namespace ebb::internal {

// inv.one-owner: from one Reset to the next a block has one owner, the first worker that asks; the
// others learn who that is.
//
// A table apart from the block headers, so that it stays in the processor's cache: a KiB for each
// 64 MiB of address space. Relaxed throughout: who owns a block publishes nothing about its
// objects.
class BlockOwners {
 public:
  // `space`: of the whole copy space.
  explicit BlockOwners(platform::AddressRange space)
      : space_(space), owners_(std::make_unique<std::atomic<uint16_t>[]>(IndexOf(space.end()))) {}
  BlockOwners(const BlockOwners&) = delete;
  BlockOwners& operator=(const BlockOwners&) = delete;

  // No block of `committed`, at the space's begin, has an owner. Before any worker asks.
  // O(committed bytes / 128 KiB).
  void Reset(platform::AddressRange committed) {
    for (size_t i = 0; i < IndexOf(committed.end()); ++i) {
      owners_[i].store(kNobody, std::memory_order_relaxed);
    }
  }

  // The owner of the block that `object` lies in: `self` if nobody has been so far.
  int Find(copyspace::Reference object, int self) {
    std::atomic<uint16_t>& owner = owners_[IndexOf(object)];
    uint16_t now = owner.load(std::memory_order_relaxed);
    if (now == kNobody) [[unlikely]] {
      // Relaxed: see the class. Of racing workers one wins, by the order of changes of this word.
      const uint16_t mine = static_cast<uint16_t>(self + 1);
      if (owner.compare_exchange_strong(now, mine, std::memory_order_relaxed)) now = mine;
    }
    return now - 1;
  }

  platform::Bytes memory() const {
    return platform::Bytes(static_cast<int64_t>(IndexOf(space_.end()) * sizeof(owners_[0])));
  }

 private:
  static constexpr uint16_t kNobody = 0;  // others: the worker's number + 1

  size_t IndexOf(uintptr_t address) const {
    return (address - space_.begin) >> copyspace::kBlockShift;
  }

  const platform::AddressRange space_;
  const std::unique_ptr<std::atomic<uint16_t>[]> owners_;
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_BLOCK_OWNERS_H_
