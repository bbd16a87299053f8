// Block: the header of a block, which lies apart from the block's memory in its slab's block 0. The
// heap reads headers; only copyspace/ changes them.
// Design: docs/design/copy_space.md#blocks

#ifndef EBB_COPYSPACE_BLOCK_H_
#define EBB_COPYSPACE_BLOCK_H_

#include <atomic>
#include <cstdint>

#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "copyspace/geometry.h"

namespace ebb::copyspace {

// Where a block is (inv.one-list). What each may hold is in the design page's table. A flip drops
// the partly full and the full list without a walk: see CopySpace::IsFlipped for the blocks that
// say they are on one and are not.
enum class BlockList : uint8_t {
  kOpen,        // owned by one allocator, or being returned by it
  kEmpty,       // in core, no object in the active region: the empty list or an in-core age
  kPartlyFull,  // room left in the active region
  kFull,        // no room worth an acquire
  kRetained,    // holds objects that could not be evacuated: off limits for allocation
  kCondemned,   // in core, empty, claimed by a request to page out
  kDiscarding,  // empty, owned by the thread that is giving its pages back
  kPagedOut,    // empty, not in core, known to be zero
};

absl::string_view BlockListName(BlockList list);

// The fields are atomic because several threads may touch neighbouring fields of one header at a
// time, never because they publish anything: the accesses are relaxed. A block passes from thread
// to thread through a list (the space's lock, or SharedBlockList's release and the pause) or with
// the references into it (the pause); those publish the header's contents.
class alignas(kBlockHeaderSize.size()) Block {
 public:
  Block() = default;
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  // The header of the block that `address` (not in a slab's block 0) lies in.
  static Block& Of(uintptr_t address) { return *reinterpret_cast<Block*>(HeaderOf(address)); }

  uintptr_t payload() const { return PayloadOf(reinterpret_cast<uintptr_t>(this)); }
  AddressRange range() const { return {payload(), kBlockSize}; }
  uintptr_t region_begin(int region) const { return payload() + region * kRegionBit; }
  uintptr_t region_end(int region) const { return region_begin(region) + kRegionBit; }
  AddressRange region_range(int region) const { return {region_begin(region), kRegionSize}; }

  // Bytes from the region's begin that hold objects, back to back (inv.region-parsable). Exact
  // unless an allocator has the block open and the region is active: then what it was at acquire.
  uint32_t used(int region) const { return used_[region].load(std::memory_order_relaxed); }

  // inv.known-zero: every byte of the region at or above used() is zero.
  bool known_zero(int region) const { return known_zero_[region].load(std::memory_order_relaxed); }

  // The region was filled by evacuation in the cycle in which it last became active.
  bool is_survivor(int region) const { return survivor_[region].load(std::memory_order_relaxed); }

  // An evacuation from this region failed in an earlier cycle: its objects stayed where they were,
  // and in the current cycle (or, between cycles, the next) the region is part of from-space
  // whatever its bit 16 says. Stable from one CopySpace::FinishCycle to the next.
  bool retained(int region) const { return retained_[region].load(std::memory_order_relaxed); }
  bool any_retained() const { return retained(0) || retained(1); }

  // An evacuation from this region failed in the current cycle. See CopySpace::RetainRegionOf.
  bool failed(int region) const { return failed_[region].load(std::memory_order_relaxed); }
  bool any_failed() const { return failed(0) || failed(1); }

  BlockList list() const { return list_.load(std::memory_order_relaxed); }

  // "block [0x..., 0x...) on list full, used 65000/0".
  template <typename Sink>
  friend void AbslStringify(Sink& sink, const Block& block) {
    absl::Format(&sink, "block %v on list %s, used %d/%d", block.range(),
                 BlockListName(block.list()), block.used(0), block.used(1));
  }

 private:
  friend class BlockStack;
  friend class CopySpace;
  friend class SharedBlockList;

  // Relaxed, all of these: what publishes a header is said above the class.
  void set_used(int region, uint32_t used) { used_[region].store(used, std::memory_order_relaxed); }
  void set_known_zero(int region, bool value) {
    known_zero_[region].store(value, std::memory_order_relaxed);
  }
  void set_survivor(int region, bool value) {
    survivor_[region].store(value, std::memory_order_relaxed);  // as above
  }
  void set_retained(int region, bool value) {
    retained_[region].store(value, std::memory_order_relaxed);  // as above
  }
  // Returns what it was.
  bool exchange_failed(int region, bool value) {
    return failed_[region].exchange(value, std::memory_order_relaxed);
  }
  void set_list(BlockList list) { list_.store(list, std::memory_order_relaxed); }
  // The number of flips there had been when the block was last acquired.
  int64_t flips_at_acquire() const { return flips_at_acquire_.load(std::memory_order_relaxed); }
  void set_flips_at_acquire(int64_t flips) {
    flips_at_acquire_.store(flips, std::memory_order_relaxed);
  }

  Block* next_ = nullptr;  // owned by the list that the block is in
  std::atomic<BlockList> list_{BlockList::kOpen};
  std::atomic<uint32_t> used_[kRegionsPerBlock] = {};
  std::atomic<bool> known_zero_[kRegionsPerBlock] = {true, true};
  std::atomic<bool> survivor_[kRegionsPerBlock] = {};
  std::atomic<bool> retained_[kRegionsPerBlock] = {};
  std::atomic<bool> failed_[kRegionsPerBlock] = {};
  std::atomic<int64_t> flips_at_acquire_{0};
};

static_assert(sizeof(Block) == kBlockHeaderSize.size());

}  // namespace ebb::copyspace

#endif  // EBB_COPYSPACE_BLOCK_H_
