#include "bench/malloc_functions.h"

#include <stdlib.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "bench/dynamic_library.h"

namespace ebb::bench {
namespace {

struct Library {
  const char* name;
  const char* soname;
  const char* package;
  const char* allocate;
  const char* release;
};

constexpr Library kLibraries[] = {
    {"mimalloc", "libmimalloc.so.2", "libmimalloc-dev", "mi_malloc", "mi_free"},
    {"jemalloc", "libjemalloc.so.2", "libjemalloc-dev", "malloc", "free"},
};

}  // namespace

absl::StatusOr<MallocFunctions> MallocFunctions::Open(std::string_view name) {
  // Called through pointers like the others, which also keeps the compiler from removing a pair.
  if (name == "glibc") return MallocFunctions{.allocate = &malloc, .release = &free};
  for (const Library& library : kLibraries) {
    if (name != library.name) continue;
    absl::StatusOr<DynamicLibrary> opened = DynamicLibrary::Open(library.soname, library.package);
    if (!opened.ok()) return opened.status();
    MallocFunctions functions;
    absl::Status status = opened->Resolve(library.allocate, functions.allocate);
    status.Update(opened->Resolve(library.release, functions.release));
    if (!status.ok()) return status;
    return functions;
  }
  return absl::InvalidArgumentError(absl::StrCat("no malloc is called '", name, "'"));
}

}  // namespace ebb::bench
