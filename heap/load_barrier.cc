#include "heap/load_barrier.h"

namespace ebb::internal {

constinit thread_local LoadFilter load_filter = kAllPass;

EBB_PRESERVE_MOST uintptr_t ForwardLoaded(std::atomic<uintptr_t>& slot, uintptr_t bits) {
  return load_filter.barrier->Forward(slot, bits);
}

}  // namespace ebb::internal
