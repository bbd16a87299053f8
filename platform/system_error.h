// How a failed system call becomes a Status. For platform/ alone.
// Design: docs/design/platform.md#errors

#ifndef EBB_PLATFORM_SYSTEM_ERROR_H_
#define EBB_PLATFORM_SYSTEM_ERROR_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "platform/address_range.h"

namespace ebb::platform {

// "cannot <action>: <text of the errno value `error`>". The code is that of
// absl::ErrnoToStatusCode, but for EAGAIN, which says that a limit is reached: ResourceExhausted.
absl::Status SystemError(int error, absl::string_view action);

// "cannot <action> 64.0 MiB (67108864 bytes) at [0x..., 0x...) for <purpose>: <text>". Where
// memory is short (ENOMEM), the limits that one could raise come before the text.
absl::Status MemoryError(int error, absl::string_view action, AddressRange range,
                         absl::string_view purpose);

}  // namespace ebb::platform

#endif  // EBB_PLATFORM_SYSTEM_ERROR_H_
