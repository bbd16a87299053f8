// Evacuator: one thread's means to move objects: an allocator on to-space, and counts. A worker has
// one, and a mutator has one for its load barrier. Design: docs/design/forwarding.md

#ifndef EBB_HEAP_EVACUATOR_H_
#define EBB_HEAP_EVACUATOR_H_

#include <atomic>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/log/check.h"
#include "copyspace/bump_allocator.h"
#include "copyspace/copy_space.h"
#include "copyspace/forwarding_word.h"
#include "copyspace/geometry.h"
#include "heap/type_info.h"

namespace ebb::internal {

class Freezer;

// How far ahead of the copies their cache lines are fetched, so that their stores do not miss.
inline constexpr size_t kCopyAhead = 1024;

struct EvacuationCounts {
  int64_t evacuated_objects = 0;
  int64_t evacuated_bytes = 0;
  int64_t filled_bytes = 0;      // these, and padding between them; as of Evacuator::Finish
  int64_t retained_objects = 0;  // evacuations that found no memory

  EvacuationCounts& operator+=(const EvacuationCounts& other) {
    evacuated_objects += other.evacuated_objects;
    evacuated_bytes += other.evacuated_bytes;
    filled_bytes += other.filled_bytes;
    retained_objects += other.retained_objects;
    return *this;
  }
};

// Evacuations that are not ordinary. Some are to fail: every Nth of a heap
// (StressOptions::fail_evacuation); in a cycle that evacuates in part, those of what is to stay
// instead. In a cycle that freezes, objects go elsewhere. Thread-safe.
class EvacuationRules {
 public:
  explicit EvacuationRules(int64_t every) : every_(every) {}
  // In a pause, before anybody evacuates: whether the cycle is one of CopySpace::EvacuateInPart.
  void SetInPart(bool in_part) {
    in_part_ = in_part;
    SetAllOrdinary();
  }
  bool in_part() const { return in_part_; }

  // Likewise: where objects go, if the cycle freezes; else null.
  void SetFreezer(Freezer* freezer) {
    freezer_ = freezer;
    SetAllOrdinary();
  }
  Freezer* freezer() const { return freezer_; }

  bool all_ordinary() const { return all_ordinary_; }
  // Whether the evacuation of `from` is to fail.
  bool IsToFail(copyspace::Reference from) {
    if (in_part_) return copyspace::CopySpace::IsToStay(from);
    // Relaxed: a count that publishes nothing.
    return every_ != 0 && (count_.fetch_add(1, std::memory_order_relaxed) + 1) % every_ == 0;
  }

 private:
  void SetAllOrdinary() { all_ordinary_ = every_ == 0 && !in_part_ && freezer_ == nullptr; }

  const int64_t every_;
  bool in_part_ = false;
  Freezer* freezer_ = nullptr;
  bool all_ordinary_ = every_ == 0;
  std::atomic<int64_t> count_ = 0;
};

// For its own thread, while a cycle forwards.
class Evacuator {
 public:
  Evacuator(copyspace::CopySpace& space, EvacuationRules& rules) : space_(space), rules_(rules) {}
  Evacuator(const Evacuator&) = delete;
  Evacuator& operator=(const Evacuator&) = delete;

  // Evacuates `from`, of which no other thread is a forwarder, unless that was done before. The new
  // reference, or `from` if it had to be retained. `grey(object, type, original)` is told of an
  // object that has turned grey: a copy, or (original 0) a retained one. With kPublished, other
  // threads may look at the word at any time; else not before this thread has synchronised.
  template <bool kPublished, typename Grey>
  copyspace::Reference EvacuateOwned(copyspace::Reference from, Grey&& grey);

  // As above, beside other forwarders: claims the object, or waits for who has.
  template <typename Grey>
  copyspace::Reference EvacuateShared(copyspace::Reference from, Grey&& grey);

  // Closes the allocator and hands over the counts. On the evacuator's own thread, in a pause, or
  // under the lock of Safepoints while that thread is blocked.
  EvacuationCounts Finish() {
    allocator_.Close(space_);
    counts_.filled_bytes += allocator_.TakeAllocated().count();
    return std::exchange(counts_, EvacuationCounts());
  }
  const EvacuationCounts& counts() const { return counts_; }

 private:
  // Settles an object that no other thread may touch.
  template <bool kPublished, typename Grey>
  copyspace::Reference Move(copyspace::Reference from, uintptr_t type_bits, Grey&& grey);
  // A copy of the object with its header, or 0 when there is no memory for it.
  copyspace::Reference Copy(copyspace::Reference from, const TypeInfo& type);
  // Between a claim and its commit: an exception (an error message finds no memory) would leave the
  // word busy for good, and everybody who waits for it.
  uintptr_t AllocateSlow(copyspace::Reference from, const TypeInfo& type, size_t bytes) noexcept;

  copyspace::CopySpace& space_;
  EvacuationRules& rules_;
  copyspace::BumpAllocator allocator_;
  EvacuationCounts counts_;
};

// What is always inlined is the loop of the trace: compilers find it too large, and a call for each
// edge costs a tenth of the whole.

// What fits into one or two vector registers.
using Words2 [[gnu::vector_size(16)]] = uint64_t;
struct Words4 {
  Words2 first, second;
};

// Copies the first and the last Half, which may overlap: both are read before either is stored.
template <typename Half>
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void CopyEnds(copyspace::Reference to,
                                                  copyspace::Reference from, size_t bytes) {
  const size_t last = bytes - sizeof(Half);
  Half head, tail;
  std::memcpy(&head, reinterpret_cast<const void*>(from), sizeof(Half));
  std::memcpy(&tail, reinterpret_cast<const void*>(from + last), sizeof(Half));
  std::memcpy(reinterpret_cast<void*>(to), &head, sizeof(Half));
  std::memcpy(reinterpret_cast<void*>(to + last), &tail, sizeof(Half));
}

// Copies `bytes` (a multiple of 8, at least 8) with few branches for small objects, and never reads
// past the object.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void CopyPayload(copyspace::Reference to,
                                                     copyspace::Reference from, size_t bytes) {
  if (bytes <= 16) return CopyEnds<uint64_t>(to, from, bytes);
  if (bytes <= 32) return CopyEnds<Words2>(to, from, bytes);
  if (bytes <= 64) return CopyEnds<Words4>(to, from, bytes);
  std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline copyspace::Reference Evacuator::Copy(copyspace::Reference from,
                                                                         const TypeInfo& type) {
  const size_t bytes = type.ObjectBytes(from);
  uintptr_t header = 0;
  if (!type.align16 && rules_.all_ordinary()) [[likely]] {
    header = allocator_.TryAllocate(bytes);
  }
  if (header == 0) [[unlikely]] {
    header = AllocateSlow(from, type, bytes);
    if (header == 0) return 0;
  }
  const copyspace::Reference to = header + kHeaderBytes;
  __builtin_prefetch(reinterpret_cast<const void*>(to + kCopyAhead), /*rw=*/1);
  copyspace::ForwardingWord::Of(to).Initialize(reinterpret_cast<uintptr_t>(&type));
  CopyPayload(to, from, bytes - kHeaderBytes);
  ++counts_.evacuated_objects;
  counts_.evacuated_bytes += static_cast<int64_t>(bytes);
  return to;
}

template <bool kPublished, typename Grey>
ABSL_ATTRIBUTE_ALWAYS_INLINE inline copyspace::Reference Evacuator::Move(copyspace::Reference from,
                                                                         uintptr_t type_bits,
                                                                         Grey&& grey) {
  copyspace::ForwardingWord& word = copyspace::ForwardingWord::Of(from);
  const TypeInfo& type = *reinterpret_cast<const TypeInfo*>(type_bits);
  const copyspace::Reference to = Copy(from, type);
  if (to == 0) [[unlikely]] {
    space_.RetainRegionOf(from);
    if constexpr (kPublished) {
      word.Retain(type_bits, space_.cycle_parity());
    } else {
      word.RetainPlain(type_bits, space_.cycle_parity());
    }
    ++counts_.retained_objects;
    grey(from, type, copyspace::Reference{0});
    return from;
  }
  if constexpr (kPublished) {
    word.Commit(to);
  } else {
    word.CommitPlain(to);
  }
  grey(to, type, from);
  return to;
}

template <bool kPublished, typename Grey>
ABSL_ATTRIBUTE_ALWAYS_INLINE inline copyspace::Reference Evacuator::EvacuateOwned(
    copyspace::Reference from, Grey&& grey) {
  const copyspace::ForwardingWord::Snapshot seen = copyspace::ForwardingWord::Of(from).LoadPlain();
  DCHECK(!seen.busy()) << "somebody else forwards";
  if (seen.is_forwarded()) return seen.forwarded();
  if (!seen.claimable_in(space_.cycle_parity())) return from;  // retained in this cycle
  return Move<kPublished>(from, seen.type(), grey);
}

template <typename Grey>
inline copyspace::Reference Evacuator::EvacuateShared(copyspace::Reference from, Grey&& grey) {
  copyspace::ForwardingWord& word = copyspace::ForwardingWord::Of(from);
  copyspace::ForwardingWord::Snapshot seen = word.Load();
  for (;;) {
    if (seen.is_forwarded()) return seen.forwarded();
    if (seen.busy()) {
      seen = word.AwaitSettled();
    } else if (!seen.claimable_in(space_.cycle_parity())) {
      return from;  // retained in this cycle
    } else if (word.TryClaim(seen)) {
      return Move<true>(from, seen.type(), grey);
    }
  }
}

}  // namespace ebb::internal

#endif  // EBB_HEAP_EVACUATOR_H_
