// Grey: an object that is copied or marked but not yet scanned, as an entry of a worklist.
// Design: docs/design/tracing.md#worklists

#ifndef EBB_HEAP_GREY_H_
#define EBB_HEAP_GREY_H_

#include <cstdint>

#include "copyspace/geometry.h"

namespace ebb::internal {

// If it is an array: from `chunk` on. Addresses have 48 bits.
class Grey {
 public:
  Grey() = default;
  explicit Grey(copyspace::Reference object, uint64_t chunk = 0) : bits_(object | chunk << 48) {}
  static Grey FromBits(uint64_t bits) {
    Grey grey;
    grey.bits_ = bits;
    return grey;
  }
  uint64_t bits() const { return bits_; }
  copyspace::Reference object() const { return bits_ & ((uint64_t{1} << 48) - 1); }
  uint64_t chunk() const { return bits_ >> 48; }

 private:
  uint64_t bits_ = 0;
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_GREY_H_
