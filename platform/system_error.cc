#include "platform/system_error.h"

#include <cerrno>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "platform/address_range.h"

namespace ebb::platform {

absl::Status SystemError(int error, absl::string_view action) {
  const absl::Status status = absl::ErrnoToStatus(error, absl::StrCat("cannot ", action));
  if (error == EAGAIN) return absl::ResourceExhaustedError(status.message());
  return status;
}

absl::Status MemoryError(int error, absl::string_view action, AddressRange range,
                         absl::string_view purpose) {
  const absl::string_view hint =
      error == ENOMEM ? " (what may be exhausted, and raised: ulimit -v, the sysctl "
                        "vm.max_map_count, and the commit limit if vm.overcommit_memory is 2)"
                      : "";
  return SystemError(error,
                     absl::StrCat(action, " ", range.size, " at ", range, " for ", purpose, hint));
}

}  // namespace ebb::platform
