// The geometry of a copy space: slabs of blocks of two regions, found from any address by
// arithmetic alone. For all of copyspace/ and the heap.
// Design: docs/design/copy_space.md#geometry

#ifndef EBB_COPYSPACE_GEOMETRY_H_
#define EBB_COPYSPACE_GEOMETRY_H_

#include <cstddef>
#include <cstdint>

#include "platform/address_range.h"
#include "platform/bytes.h"

namespace ebb::copyspace {

using platform::AddressRange;
using platform::Bytes;

// The address of an object's payload; its one header word lies in the 8 bytes before it. A payload
// has at least 8 bytes, so a reference lies in the same region as the object's header word.
using Reference = uintptr_t;

inline constexpr int kRegionShift = 16;
inline constexpr int kBlockShift = 17;
inline constexpr int kSlabShift = 26;

inline constexpr Bytes kRegionSize = platform::KiB(64);
inline constexpr Bytes kBlockSize = platform::KiB(128);
inline constexpr Bytes kSlabSize = platform::MiB(64);
inline constexpr int kRegionsPerBlock = 2;

// Block 0 of a slab holds the slab's header and then a header for each other block.
inline constexpr int kBlocksPerSlab = 512;
inline constexpr Bytes kBlockHeaderSize = Bytes(256);

// A run is what one huge page backs: aligned blocks. The first one of a slab has a header block.
inline constexpr Bytes kRunSize = platform::MiB(2);
inline constexpr int kBlocksPerRun = 16;

// With field-logging bits on, the first payload blocks of each slab hold one bit for each 8-byte
// word of the slab.
inline constexpr int kLogBlocks = 8;
inline constexpr Bytes kLogBytesPerRegion = kRegionSize / 64;

static_assert(kRegionSize.count() == int64_t{1} << kRegionShift);
static_assert(kBlockSize.count() == int64_t{1} << kBlockShift);
static_assert(kSlabSize.count() == int64_t{1} << kSlabShift);
static_assert(kBlockSize == kRegionSize * kRegionsPerBlock, "bit 16 names the region");
static_assert(kBlockShift == kRegionShift + 1, "bit 16 names the region");
static_assert(kSlabSize == kBlockSize * kBlocksPerSlab);
static_assert(kRunSize == kBlockSize * kBlocksPerRun && kSlabSize % kRunSize == Bytes(0));
static_assert(kBlockHeaderSize * kBlocksPerSlab == kBlockSize, "the headers fill block 0");
static_assert(kBlockSize * kLogBlocks == kSlabSize / 64, "one bit for each 8 bytes");

inline constexpr uintptr_t kRegionBit = uintptr_t{1} << kRegionShift;
inline constexpr uintptr_t kSlabMask = (uintptr_t{1} << kSlabShift) - 1;

// 0 or 1: which region of its block the address lies in.
constexpr int RegionIndex(uintptr_t address) {
  return static_cast<int>((address >> kRegionShift) & 1);
}
constexpr uintptr_t RegionBegin(uintptr_t address) { return address & ~(kRegionBit - 1); }
constexpr uintptr_t RunOf(uintptr_t address) { return address & ~(kRunSize.size() - 1); }
constexpr uintptr_t SlabOf(uintptr_t address) { return address & ~kSlabMask; }

// The address of the header of the block that `address` lies in; the payload's begin from there.
constexpr uintptr_t HeaderOf(uintptr_t address) {
  return SlabOf(address) + (((address & kSlabMask) >> kBlockShift) * kBlockHeaderSize.size());
}
constexpr uintptr_t PayloadOf(uintptr_t header) {
  return SlabOf(header) + ((header & kSlabMask) / kBlockHeaderSize.size() << kBlockShift);
}

static_assert(PayloadOf(HeaderOf(3 * kSlabSize.size() + 7 * kBlockSize.size() + 12345)) ==
              3 * kSlabSize.size() + 7 * kBlockSize.size());

}  // namespace ebb::copyspace

#endif  // EBB_COPYSPACE_GEOMETRY_H_
