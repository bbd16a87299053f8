#include "heap/load_barrier.h"

namespace ebb::internal {

constinit thread_local LoadBarrier* armed_load_barrier = nullptr;

uintptr_t ForwardLoaded(std::atomic<uintptr_t>& slot, uintptr_t bits) {
  return armed_load_barrier->ForwardLoaded(slot, bits);
}

}  // namespace ebb::internal
