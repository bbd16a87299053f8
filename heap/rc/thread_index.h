// The calling thread's index: by it a cell knows its owner. Design:
// docs/design/counting.md#biased-counts

#ifndef EBB_HEAP_RC_THREAD_INDEX_H_
#define EBB_HEAP_RC_THREAD_INDEX_H_

#include <cstdint>

namespace ebb::rc::internal {

// Unique while its thread lives, and reused after it: who takes an index over owns what is left of
// its cells. Even: what a cell has in that place while it is in a list is odd.
using ThreadIndex = uint32_t;

// What a cell may have in the place of an owner.
inline constexpr ThreadIndex kNoOwner = 0;                // its counts are merged
inline constexpr ThreadIndex kImmortal = UINT32_MAX - 1;  // it is not counted any more
// The index of a thread that owns nothing: no cell has it.
inline constexpr ThreadIndex kOwnsNothing = UINT32_MAX - 3;

// Whether a thread has, or had, this index.
inline constexpr bool IsIndex(ThreadIndex index) {
  return index != kNoOwner && index != kImmortal && index % 2 == 0;
}

// In the static TLS block: two instructions read it. Set by OwnerQueues.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local ThreadIndex this_thread;

}  // namespace ebb::rc::internal

#endif  // EBB_HEAP_RC_THREAD_INDEX_H_
