// Small files of /proc and /sys as strings. For platform/ alone.

#ifndef EBB_PLATFORM_READ_FILE_H_
#define EBB_PLATFORM_READ_FILE_H_

#include <string>

#include "absl/status/statusor.h"

namespace ebb::platform {

// The whole of the file at `path`. The Status names it. Thread-safe.
absl::StatusOr<std::string> ReadFile(const std::string& path);

}  // namespace ebb::platform

#endif  // EBB_PLATFORM_READ_FILE_H_
