#include "bench/dynamic_library.h"

#include <dlfcn.h>

#include "absl/base/config.h"
#include "absl/strings/str_cat.h"

namespace ebb::bench {

absl::StatusOr<DynamicLibrary> DynamicLibrary::Open(const std::string& soname,
                                                    const std::string& package) {
#if defined(ABSL_HAVE_ADDRESS_SANITIZER) || defined(ABSL_HAVE_THREAD_SANITIZER)
  return absl::UnavailableError(
      absl::StrCat(soname, " (", package, ") is left out of sanitizer builds"));
#endif
  void* handle = dlopen(soname.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    return absl::UnavailableError(absl::StrCat("cannot open ", soname, ": ", dlerror(),
                                               " (bench/run --peers installs ", package, ")"));
  }
  return DynamicLibrary(soname, handle);
}

absl::StatusOr<void*> DynamicLibrary::Find(const char* symbol) const {
  void* address = dlsym(handle_, symbol);
  if (address == nullptr) {
    return absl::NotFoundError(absl::StrCat(soname_, " has no symbol ", symbol));
  }
  return address;
}

}  // namespace ebb::bench
