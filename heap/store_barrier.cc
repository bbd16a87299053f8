#include "heap/store_barrier.h"

namespace ebb::internal {

constinit thread_local StoreFilter store_filter = kAllStoresPass;

EBB_PRESERVE_MOST void LogEdge(uintptr_t edge) { store_filter.log(edge); }

void LogRange(uintptr_t begin, size_t count) { store_filter.log_range(begin, count); }

}  // namespace ebb::internal
