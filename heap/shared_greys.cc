#include "heap/shared_greys.h"

#include <utility>

namespace ebb::internal {

void SharedGreys::Add(GreyChain chain) {
  if (chain.empty()) return;
  absl::MutexLock lock(&mu_);
  chain_.Splice(chain);
  UpdateCount();
}

void SharedGreys::AddInPlace(copyspace::Reference object) {
  absl::MutexLock lock(&mu_);
  if (in_place_count_ == in_place_.size()) {
    // Relaxed: published by the handshake or the pause that its reader waits for.
    overflowed_.store(true, std::memory_order_relaxed);
    return;
  }
  in_place_[in_place_count_++] = object;
  UpdateCount();
}

GreyChain SharedGreys::TakeChain() {
  absl::MutexLock lock(&mu_);
  const GreyChain chain = std::exchange(chain_, GreyChain());
  UpdateCount();
  return chain;
}

copyspace::Reference SharedGreys::TakeInPlace() {
  absl::MutexLock lock(&mu_);
  if (in_place_count_ == 0) return 0;
  const copyspace::Reference object = in_place_[--in_place_count_];
  UpdateCount();
  return object;
}

void SharedGreys::UpdateCount() {
  // Relaxed: see empty_hint.
  count_.store(in_place_count_ + (chain_.empty() ? 0 : 1), std::memory_order_relaxed);
}

}  // namespace ebb::internal
