// Field-logging bits: one bit for each 8-byte word of a slab, in the slab's first payload blocks.
// For store barriers. Only in spaces made with Options::field_logging.
// Design: docs/design/copy_space.md#field-logging-bits

#ifndef EBB_COPYSPACE_FIELD_LOG_H_
#define EBB_COPYSPACE_FIELD_LOG_H_

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "copyspace/geometry.h"

namespace ebb::copyspace {

// A word of bits is for a group of 64 edges, aligned to its size.
inline constexpr uintptr_t kLogGroup = 512;
// The offset of a group's bits, from the group's offset: a bit for 8 bytes, and 8 bits in a byte.
constexpr uintptr_t LogOffset(uintptr_t offset) { return offset / kLogGroup * sizeof(uint64_t); }

using LogWord = std::atomic_ref<uint64_t>;

// The bit of the word at `edge`, in its group's. Relaxed throughout: see below.
inline uint64_t LogBit(uintptr_t edge) { return uint64_t{1} << (edge % kLogGroup / 8); }
inline bool IsBitSet(LogWord word, uintptr_t edge) {
  return (word.load(std::memory_order_relaxed) & LogBit(edge)) != 0;
}
// Those of `bits` that this call set.
inline uint64_t SetBits(LogWord word, uint64_t bits) {
  const uint64_t missing = bits & ~word.load(std::memory_order_relaxed);
  if (missing == 0) return 0;  // the common case stays free of a locked instruction
  return missing & ~word.fetch_or(missing, std::memory_order_relaxed);
}
// Whether it was set.
inline bool ClearBit(LogWord word, uintptr_t edge) {
  return (word.fetch_and(~LogBit(edge), std::memory_order_relaxed) & LogBit(edge)) != 0;
}
// Calls visit(edge) for each of `bits`, which are of the group that begins at `group`.
template <typename Visit>
void ForEachEdge(uintptr_t group, uint64_t bits, Visit&& visit) {
  for (; bits != 0; bits &= bits - 1) {
    visit(group + 8 * static_cast<uintptr_t>(std::countr_zero(bits)));
  }
}

namespace internal {

// The word that holds the bit of the word at `edge`.
inline uintptr_t LogWordOf(uintptr_t edge) {
  return SlabOf(edge) + kBlockSize.size() + LogOffset(edge & kSlabMask);
}
inline LogWord LogWordAt(uintptr_t edge) {
  return LogWord(*reinterpret_cast<uint64_t*>(LogWordOf(edge)));
}

// Clears the bits of the region that begins at `region`. Not while anybody may use them: a region
// has no edges before its first use in a cycle. Most have none to clear: then nothing is written,
// so that the bits of memory that nobody remembers edges of have no pages of their own.
inline void ClearLogBits(uintptr_t region) {
  auto* const words = reinterpret_cast<uint64_t*>(LogWordOf(region));
  const size_t count = kLogBytesPerRegion.size() / sizeof(uint64_t);
  if (std::any_of(words, words + count, [](uint64_t word) { return word != 0; })) {
    std::fill_n(words, count, 0);
  }
}

}  // namespace internal

// `edge` is the address of a field in a payload block of a space with field logging. Thread-safe.
// Relaxed throughout: a bit decides who logs the edge and publishes nothing; the edge is published
// with the buffer that it is logged in.

inline bool IsRemembered(uintptr_t edge) { return IsBitSet(internal::LogWordAt(edge), edge); }

// Sets the bit. True if this call set it: of racing calls exactly one.
inline bool Remember(uintptr_t edge) {
  return SetBits(internal::LogWordAt(edge), LogBit(edge)) != 0;
}

// The same for each edge of the group that begins at `group` whose LogBit is in `bits`. Those that
// this call set.
inline uint64_t RememberEach(uintptr_t group, uint64_t bits) {
  return SetBits(internal::LogWordAt(group), bits);
}

// Clears the bit. Whether it was set.
inline bool Forget(uintptr_t edge) { return ClearBit(internal::LogWordAt(edge), edge); }

// For a call of the above that is to come.
inline void PrefetchLogBit(uintptr_t edge) {
  __builtin_prefetch(reinterpret_cast<const void*>(internal::LogWordOf(edge)), /*rw=*/1);
}

// Calls visit(edge) for each that is remembered in the region that begins at `region`.
// Nobody else remembers anything meanwhile.
template <typename Visit>
void ForEachRemembered(uintptr_t region, Visit&& visit) {
  for (uintptr_t group = region; group < region + kRegionSize.size(); group += kLogGroup) {
    ForEachEdge(group, internal::LogWordAt(group).load(std::memory_order_relaxed), visit);
  }
}

}  // namespace ebb::copyspace

#endif  // EBB_COPYSPACE_FIELD_LOG_H_
