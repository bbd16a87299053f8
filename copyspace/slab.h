// SlabFrontier: the blocks of an address range that have been taken into use so far, slab by slab.
// A part of CopySpace, under its lock.
// Design: docs/design/copy_space.md#geometry

#ifndef EBB_COPYSPACE_SLAB_H_
#define EBB_COPYSPACE_SLAB_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "copyspace/block.h"
#include "copyspace/geometry.h"
#include "platform/system.h"

namespace ebb::copyspace {

// The first 256 bytes of a slab.
struct alignas(kBlockHeaderSize.size()) SlabHeader {
  int32_t first_payload_block;  // those before it are headers and field-logging bits
};
static_assert(sizeof(SlabHeader) == kBlockHeaderSize.size());

// Fresh blocks come in address order; a slab is committed when its first one is taken.
class SlabFrontier {
 public:
  SlabFrontier(platform::System& system, AddressRange range, bool field_logging);

  // The next block, its header constructed, its memory known to be zero. The system's error if a
  // slab could not be committed (the next call tries again), ResourceExhausted when the range is
  // used up.
  absl::StatusOr<Block*> Take();

  int64_t taken() const { return taken_; }
  int64_t capacity() const { return range_.size / kSlabSize * blocks_per_slab_; }
  // Where the last of these ends.
  uintptr_t taken_end() const;
  int64_t blocks_per_slab() const { return blocks_per_slab_; }
  // The slabs committed so far.
  AddressRange committed() const { return {range_.begin, kSlabSize * committed_slabs_}; }
  // The `index`th block by address, below taken().
  Block& At(int64_t index) const;

 private:
  absl::Status CommitSlab(int64_t slab);

  platform::System& system_;
  const AddressRange range_;
  const int32_t first_payload_block_;
  const int64_t blocks_per_slab_;
  int64_t taken_ = 0;
  int64_t committed_slabs_ = 0;
};

}  // namespace ebb::copyspace

#endif  // EBB_COPYSPACE_SLAB_H_
