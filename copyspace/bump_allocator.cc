#include "copyspace/bump_allocator.h"

namespace ebb::copyspace {

bool BumpAllocator::Refill(CopySpace& space, AcquirePurpose purpose, size_t bytes) {
  Close(space);
  DCHECK_LE(bytes, kRegionSize.size());
  block_ = space.AcquireBlock(purpose, Bytes(static_cast<int64_t>(bytes)));
  if (block_ == nullptr) return false;
  const int region = space.active_region();
  payload_ = block_->region_begin(region) + block_->used(region) + kHeaderBytes;
  known_zero_ = block_->known_zero(region);
  SetLimit(block_->region_end(region) + kHeaderBytes);
  return true;
}

void BumpAllocator::Close(CopySpace& space) {
  if (block_ == nullptr) return;
  Block* block = block_;
  const int region = space.active_region();
  const uint32_t used = static_cast<uint32_t>(top() - block->region_begin(region));
  allocated_ += Bytes(used - block->used(region));
  SetLimit(kClosedLimit);
  block_ = nullptr;
  payload_ = 0;
  known_zero_ = false;
  space.ReturnBlock(block, used);
}

void BumpAllocator::SetLimit(uintptr_t limit) {
  // Fails only if the slow path is forced, and then stays forced; RestoreLimit installs the new
  // limit. Relaxed: nothing is published, and only RestoreLimit's outcome is acted on.
  limit_.compare_exchange_strong(real_limit_, limit, std::memory_order_relaxed);
  real_limit_ = limit;
}

}  // namespace ebb::copyspace
