// BumpAllocator: hands out the memory of one region of one block at a time. Each mutator and each
// evacuating thread owns one.
// Design: docs/design/copy_space.md#allocation

#ifndef EBB_COPYSPACE_BUMP_ALLOCATOR_H_
#define EBB_COPYSPACE_BUMP_ALLOCATOR_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/base/config.h"
#include "absl/base/optimization.h"
#include "absl/log/check.h"
#include "copyspace/block.h"
#include "copyspace/copy_space.h"
#include "copyspace/geometry.h"

namespace ebb::copyspace {

// For its owning thread, except ForceSlow. A forced slow path is never lost: the owner changes the
// limit by compare-and-swap from what it last stored, so a new block leaves it forced, and only
// RestoreLimit ends it. ForceSlow releases and RestoreLimit acquires: the owner either sees in
// RestoreLimit's wake what the other thread wrote before ForceSlow, or is forced (again) after it.
class BumpAllocator {
 public:
  BumpAllocator() = default;
  BumpAllocator(const BumpAllocator&) = delete;
  BumpAllocator& operator=(const BumpAllocator&) = delete;
  ~BumpAllocator() { DCHECK(block_ == nullptr) << "destroyed while open"; }

  // The address of the new object's header word, or 0 when the region is out of room, nothing is
  // open, or the slow path is forced. `bytes` is a positive multiple of 8, at most kRegionSize. The
  // memory is not cleared: see known_zero.
  uintptr_t TryAllocate(size_t bytes) {
    const uintptr_t payload = payload_;
    const uintptr_t next_payload = payload + bytes;
    if (ABSL_PREDICT_FALSE(IsPastLimit(next_payload))) return 0;
    payload_ = next_payload;
    const uintptr_t object = payload - kHeaderBytes;
    ABSL_ASSUME(object != 0);  // else nothing is open, and every payload is past the limit
    return object;
  }

  // Closes the open region and opens one with room for `bytes`. False if there is none: then
  // nothing is open, and CopySpace::last_failure may say why.
  bool Refill(CopySpace& space, AcquirePurpose purpose, size_t bytes);

  // Returns the open block, if any, with exactly what was allocated.
  void Close(CopySpace& space);

  // Bytes allocated, padding included, in regions that have been closed, since the last call.
  Bytes TakeAllocated() { return std::exchange(allocated_, Bytes(0)); }

  // Any thread, while the owner keeps the allocator alive: the owner's next TryAllocate, or one
  // soon after, and all that follow return 0 until the owner restores the limit.
  void ForceSlow() { limit_.store(kForcedLimit, std::memory_order_release); }

  // The owner's: the fast path is open again. To be called before looking for the reason.
  void RestoreLimit() { limit_.exchange(real_limit_, std::memory_order_acq_rel); }

  // Whether another thread has forced the slow path and the owner has not restored the limit since.
  // Relaxed: see TryAllocate.
  bool slow_forced() const { return limit_.load(std::memory_order_relaxed) == kForcedLimit; }

  // The open block, or null.
  Block* block() const { return block_; }
  // The next object's header word; 0 when nothing is open.
  uintptr_t top() const { return block_ == nullptr ? 0 : payload_ - kHeaderBytes; }
  // The room left in the open region, whether or not the slow path is forced.
  size_t room() const { return block_ == nullptr ? 0 : real_limit_ - payload_; }
  // The memory from top on is known to be zero.
  bool known_zero() const { return known_zero_; }

 private:
  // Below every next payload, since `bytes` is at least 8.
  static constexpr uintptr_t kForcedLimit = 0;
  static constexpr uintptr_t kClosedLimit = 1;

  void SetLimit(uintptr_t limit);

  // A relaxed load and a comparison: the slow path synchronises, in RestoreLimit. Compilers do not
  // make one instruction of an atomic load and what uses it, so on x86-64 that is spelled out.
  bool IsPastLimit(uintptr_t next_payload) const {
#if defined(__x86_64__) && !defined(ABSL_HAVE_THREAD_SANITIZER)
    static_assert(sizeof(limit_) == sizeof(uintptr_t));
    bool past;
    asm volatile("cmpq %[limit], %[next]"
                 : "=@cca"(past)
                 : [limit] "m"(limit_), [next] "r"(next_payload));
    return past;
#else
    // Relaxed: says only that there may be a reason to stop; RestoreLimit acquires the reason.
    return next_payload > limit_.load(std::memory_order_relaxed);
#endif
  }

  // The fast path's two words, at offsets 0 and 8: its instructions are counted. Both lie a header
  // word beyond what they stand for: where the next object's payload begins, which is the reference
  // that the allocation is for, and where a payload would begin behind the region.
  static constexpr uintptr_t kHeaderBytes = sizeof(uintptr_t);  // one ForwardingWord
  uintptr_t payload_ = 0;
  std::atomic<uintptr_t> limit_{kClosedLimit};
  uintptr_t real_limit_ = kClosedLimit;  // what the owner last wanted limit_ to be
  Block* block_ = nullptr;
  bool known_zero_ = false;
  Bytes allocated_;  // see TakeAllocated

 public:
  static constexpr size_t kTopOffset = 0;
  static constexpr size_t kLimitOffset = 8;
};

}  // namespace ebb::copyspace

#endif  // EBB_COPYSPACE_BUMP_ALLOCATOR_H_
