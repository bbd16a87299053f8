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

inline constexpr int kLogShift = 6;  // a bit for 8 bytes, and 8 bits in a byte

// The bit of the word at `edge`, in its byte. Relaxed throughout: see below.
inline uint8_t LogBit(uintptr_t edge) { return static_cast<uint8_t>(1 << ((edge >> 3) & 7)); }
inline bool IsBitSet(std::atomic_ref<uint8_t> byte, uintptr_t edge) {
  return (byte.load(std::memory_order_relaxed) & LogBit(edge)) != 0;
}
// True if this call set it.
inline bool SetBit(std::atomic_ref<uint8_t> byte, uintptr_t edge) {
  if (IsBitSet(byte, edge)) return false;  // the common case stays free of a locked instruction
  return (byte.fetch_or(LogBit(edge), std::memory_order_relaxed) & LogBit(edge)) == 0;
}
inline void ClearBit(std::atomic_ref<uint8_t> byte, uintptr_t edge) {
  byte.fetch_and(static_cast<uint8_t>(~LogBit(edge)), std::memory_order_relaxed);
}

namespace internal {

// The byte that holds the bit of the word at `edge`.
inline uintptr_t LogByteOf(uintptr_t edge) {
  return SlabOf(edge) + kBlockSize.size() + ((edge & kSlabMask) >> kLogShift);
}
inline std::atomic_ref<uint8_t> LogByte(uintptr_t edge) {
  return std::atomic_ref<uint8_t>(*reinterpret_cast<uint8_t*>(LogByteOf(edge)));
}

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
  return IsBitSet(internal::LogByte(edge), edge);
}

// Sets the bit. True if this call set it: of racing calls exactly one.
inline bool Remember(uintptr_t edge) {
  return SetBit(internal::LogByte(edge), edge);
}

// Clears the bit.
inline void Forget(uintptr_t edge) { ClearBit(internal::LogByte(edge), edge); }

// For a call of the above that is to come.
inline void PrefetchLogBit(uintptr_t edge) {
  __builtin_prefetch(reinterpret_cast<const void*>(internal::LogByteOf(edge)), /*rw=*/1);
}

// Calls visit(edge) for each that is remembered in the region that begins at `region`.
// Nobody remembers anything meanwhile.
template <typename Visit>
void ForEachRemembered(uintptr_t region, Visit&& visit) {
  for (uintptr_t edge = region; edge < region + kRegionSize.size(); edge += 64) {
    if (internal::LogByte(edge).load(std::memory_order_relaxed) == 0) continue;
    for (uintptr_t word = edge; word < edge + 64; word += 8) {
      if (IsRemembered(word)) visit(word);
    }
  }
}

}  // namespace ebb::copyspace

#endif  // EBB_COPYSPACE_FIELD_LOG_H_
