// NoMemory: the Status where memory has run out, and may have for the message as well.

#ifndef EBB_HEAP_RC_NO_MEMORY_H_
#define EBB_HEAP_RC_NO_MEMORY_H_

#include <new>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace ebb::rc::internal {

// ResourceExhausted, which says `what` of `whom` if there is memory for that.
inline absl::Status NoMemory(std::string_view whom, std::string_view what) noexcept {
  try {
    return absl::ResourceExhaustedError(absl::StrCat(whom, ": ", what));
  } catch (const std::bad_alloc&) {
    return absl::Status(absl::StatusCode::kResourceExhausted, "");
  }
}

}  // namespace ebb::rc::internal

#endif  // EBB_HEAP_RC_NO_MEMORY_H_
