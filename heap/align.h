// Allocation of objects whose payload must be 16-byte aligned: a filler object pads where needed,
// so that regions stay parsable (inv.region-parsable).

#ifndef EBB_HEAP_ALIGN_H_
#define EBB_HEAP_ALIGN_H_

#include <cstddef>
#include <cstdint>

#include "copyspace/bump_allocator.h"
#include "copyspace/forwarding_word.h"
#include "heap/type_info.h"

namespace ebb::internal {

static_assert(sizeof(copyspace::ForwardingWord) == kHeaderBytes, "one header word per object");

// The most that alignment adds to an object.
constexpr size_t AlignmentPadding(bool align16) { return align16 ? kHeaderBytes : 0; }

// As BumpAllocator::TryAllocate; with `align16`, 8 bytes beyond the result are a multiple of 16.
inline uintptr_t AllocateAligned(copyspace::BumpAllocator& allocator, size_t bytes, bool align16) {
  if (!align16 || (allocator.top() + kHeaderBytes) % 16 == 0) return allocator.TryAllocate(bytes);
  const uintptr_t filler = allocator.TryAllocate(bytes + kHeaderBytes);
  if (filler == 0) return 0;
  const uintptr_t header = filler + kHeaderBytes;
  copyspace::ForwardingWord::Of(header).Initialize(reinterpret_cast<uintptr_t>(&kFillerType));
  return header;
}

}  // namespace ebb::internal

#endif  // EBB_HEAP_ALIGN_H_
