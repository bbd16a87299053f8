// malloc and free of a named peer: glibc, mimalloc, jemalloc.

#ifndef EBB_BENCH_MALLOC_FUNCTIONS_H_
#define EBB_BENCH_MALLOC_FUNCTIONS_H_

#include <cstddef>
#include <string_view>

#include "absl/status/statusor.h"

namespace ebb::bench {

struct MallocFunctions {
  void* (*allocate)(size_t) = nullptr;
  void (*release)(void*) = nullptr;

  // Unavailable if the peer is not installed.
  static absl::StatusOr<MallocFunctions> Open(std::string_view name);
};

}  // namespace ebb::bench

#endif  // EBB_BENCH_MALLOC_FUNCTIONS_H_
