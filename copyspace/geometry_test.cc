#include "copyspace/geometry.h"

#include "copyspace/block.h"
#include "gtest/gtest.h"

namespace ebb::copyspace {
namespace {

constexpr uintptr_t kSlab = uintptr_t{0x7f00} << kSlabShift;

TEST(Geometry, BitSixteenNamesTheRegion) {
  EXPECT_EQ(RegionIndex(kSlab), 0);
  EXPECT_EQ(RegionIndex(kSlab + 0xffff), 0);
  EXPECT_EQ(RegionIndex(kSlab + 0x10000), 1);
  EXPECT_EQ(RegionIndex(kSlab + 0x1ffff), 1);
  EXPECT_EQ(RegionIndex(kSlab + 0x20000), 0);
  EXPECT_EQ(RegionBegin(kSlab + 0x1ffff), kSlab + 0x10000);
}

TEST(Geometry, HeaderAndPayloadAreInverse) {
  for (uintptr_t block = 1; block < kBlocksPerSlab; ++block) {
    const uintptr_t payload = kSlab + block * kBlockSize.size();
    const uintptr_t header = kSlab + block * kBlockHeaderSize.size();
    for (const uintptr_t offset : {uintptr_t{0}, uintptr_t{8}, kRegionBit, 2 * kRegionBit - 1}) {
      EXPECT_EQ(HeaderOf(payload + offset), header);
      EXPECT_EQ(SlabOf(payload + offset), kSlab);
    }
    EXPECT_EQ(PayloadOf(header), payload);
  }
}

TEST(Geometry, LastHeaderEndsWithTheHeaderBlock) {
  EXPECT_EQ(HeaderOf(kSlab + kSlabSize.size() - 1) + kBlockHeaderSize.size(),
            kSlab + kBlockSize.size());
}

}  // namespace
}  // namespace ebb::copyspace
