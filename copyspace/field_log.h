// Field-logging bits: one bit for each 8-byte word of a slab, in the slab's first payload blocks.
// For store barriers. Only in spaces made with Options::field_logging.
// Design: docs/design/copy_space.md#field-logging-bits

#ifndef EBB_COPYSPACE_FIELD_LOG_H_
#define EBB_COPYSPACE_FIELD_LOG_H_

#include <atomic>
#include <cstdint>
#include <cstring>

#include "copyspace/geometry.h"

namespace ebb::copyspace {

namespace internal {

// The byte that holds the bit of the word at `edge`.
inline uintptr_t LogByteOf(uintptr_t edge) {
  return SlabOf(edge) + kBlockSize.size() + ((edge & kSlabMask) >> 6);
}
inline std::atomic_ref<uint8_t> LogByte(uintptr_t edge) {
  return std::atomic_ref<uint8_t>(*reinterpret_cast<uint8_t*>(LogByteOf(edge)));
}
inline uint8_t LogBit(uintptr_t edge) { return static_cast<uint8_t>(1 << ((edge >> 3) & 7)); }

// Clears the bits of the region that begins at `region`. Not while anybody may use them: a region
// has no edges before its first use in a cycle.
inline void ClearLogBits(uintptr_t region) {
  std::memset(reinterpret_cast<void*>(LogByteOf(region)), 0, kLogBytesPerRegion.size());
}

}  // namespace internal

// `edge` is the address of a field in a payload block of a space with field logging. Thread-safe.
// Relaxed throughout: a bit decides who logs the edge and publishes nothing; the edge is published
// with the buffer that it is logged in.

inline bool IsRemembered(uintptr_t edge) {
  return (internal::LogByte(edge).load(std::memory_order_relaxed) & internal::LogBit(edge)) != 0;
}

// Sets the bit. True if this call set it: of racing calls exactly one.
inline bool Remember(uintptr_t edge) {
  if (IsRemembered(edge)) return false;  // the common case stays free of a locked instruction
  const uint8_t bit = internal::LogBit(edge);
  return (internal::LogByte(edge).fetch_or(bit, std::memory_order_relaxed) & bit) == 0;
}

// Clears the bit.
inline void Forget(uintptr_t edge) {
  const uint8_t others = static_cast<uint8_t>(~internal::LogBit(edge));
  internal::LogByte(edge).fetch_and(others, std::memory_order_relaxed);
}

}  // namespace ebb::copyspace

#endif  // EBB_COPYSPACE_FIELD_LOG_H_
