// Peers are opened at run time, so that nothing has to be installed to build: soname -> symbols.

#ifndef EBB_BENCH_DYNAMIC_LIBRARY_H_
#define EBB_BENCH_DYNAMIC_LIBRARY_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ebb::bench {

class DynamicLibrary {
 public:
  // Opens `soname`, which Debian's `package` installs; never closed. Unavailable if it is not
  // installed, or if this is a sanitizer build (a peer's own allocator would not be instrumented).
  static absl::StatusOr<DynamicLibrary> Open(const std::string& soname, const std::string& package);

  // Points `function` at the symbol; NotFound if the library has none of that name.
  template <typename Function>
  absl::Status Resolve(const char* symbol, Function*& function) const {
    absl::StatusOr<void*> address = Find(symbol);
    if (!address.ok()) return address.status();
    function = reinterpret_cast<Function*>(*address);
    return absl::OkStatus();
  }

 private:
  DynamicLibrary(std::string soname, void* handle) : soname_(std::move(soname)), handle_(handle) {}
  absl::StatusOr<void*> Find(const char* symbol) const;

  std::string soname_;
  void* handle_;
};

}  // namespace ebb::bench

#endif  // EBB_BENCH_DYNAMIC_LIBRARY_H_
