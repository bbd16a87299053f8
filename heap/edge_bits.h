// EdgeBits: field-logging bits of objects that are not in a copy space: one for each 8-byte word of
// an address range, in a table apart. (In a copy space the slabs have them: copyspace/field_log.h.)
// Design: docs/design/generations.md#the-remembered-set

#ifndef EBB_HEAP_EDGE_BITS_H_
#define EBB_HEAP_EDGE_BITS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "copyspace/field_log.h"
#include "platform/address_range.h"
#include "platform/bytes.h"

namespace ebb::internal {

// Thread-safe as the functions of copyspace/field_log.h.
class EdgeBits {
 public:
  // For a heap without generations: never asked.
  EdgeBits() = default;
  // `table` is zero, and of TableBytes; `range` begins at a multiple of copyspace::kLogGroup.
  EdgeBits(platform::AddressRange range, platform::AddressRange table)
      : begin_(range.begin), table_(table.begin) {}
  static platform::Bytes TableBytes(platform::AddressRange range) { return range.size / 64; }

  bool IsRemembered(uintptr_t edge) const { return copyspace::IsBitSet(WordOf(edge), edge); }
  bool Remember(uintptr_t edge) { return RememberEach(edge, copyspace::LogBit(edge)) != 0; }
  uint64_t RememberEach(uintptr_t group, uint64_t bits) {
    return copyspace::SetBits(WordOf(group), bits);
  }
  bool Forget(uintptr_t edge) { return copyspace::ClearBit(WordOf(edge), edge); }
  void Prefetch(uintptr_t edge) const { __builtin_prefetch(&WordAt(edge), /*rw=*/1); }

  // Calls visit(edge) for each that is remembered in [begin, begin + bytes), of words. Nobody
  // remembers anything meanwhile.
  template <typename Visit>
  void ForEach(uintptr_t begin, size_t bytes, Visit&& visit) const {
    for (uintptr_t edge = begin; edge < begin + bytes; edge += 8) {
      if (IsRemembered(edge)) visit(edge);
    }
  }

 private:
  copyspace::LogWord WordOf(uintptr_t edge) const { return copyspace::LogWord(WordAt(edge)); }
  uint64_t& WordAt(uintptr_t edge) const {
    return *reinterpret_cast<uint64_t*>(table_ + copyspace::LogOffset(edge - begin_));
  }

  uintptr_t begin_ = 0;
  uintptr_t table_ = 0;
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_EDGE_BITS_H_
