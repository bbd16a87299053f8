#include "heap/shared_greys.h"

#include <utility>

namespace ebb::internal {

void SharedGreys::Add(GreyChain chain) {
  if (chain.empty()) return;
  absl::MutexLock lock(&mu_);
  chain_.Splice(chain);
  count_.store(in_place_count_ + 1, std::memory_order_relaxed);
}

void SharedGreys::AddInPlace(copyspace::Reference object) {
  absl::MutexLock lock(&mu_);
  if (in_place_count_ == in_place_.size()) {
    overflowed_.store(true, std::memory_order_relaxed);
    return;
  }
  in_place_[in_place_count_++] = object;
  count_.store(in_place_count_ + 1, std::memory_order_relaxed);
}

GreyChain SharedGreys::TakeChain() {
  absl::MutexLock lock(&mu_);
  count_.store(in_place_count_, std::memory_order_relaxed);
  return std::exchange(chain_, GreyChain());
}

copyspace::Reference SharedGreys::TakeInPlace() {
  absl::MutexLock lock(&mu_);
  if (in_place_count_ == 0) return 0;
  const copyspace::Reference object = in_place_[--in_place_count_];
  count_.store(in_place_count_ + (chain_.empty() ? 0 : 1), std::memory_order_relaxed);
  return object;
}

}  // namespace ebb::internal
