#include "heap/store_barrier.h"

namespace ebb::internal {

constinit thread_local StoreFilter store_filter = kAllStoresPass;

EBB_PRESERVE_MOST void LogEdge(uintptr_t edge) { store_filter.log(edge); }

}  // namespace ebb::internal
