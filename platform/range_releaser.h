// RangeReleaser gives the pages of many address ranges back to the operating system in one call.
// Made by System::NewRangeReleaser; used by whatever pages memory out.
// Design: docs/design/platform.md#range-releasers

#ifndef EBB_PLATFORM_RANGE_RELEASER_H_
#define EBB_PLATFORM_RANGE_RELEASER_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "platform/address_range.h"

namespace ebb::platform {

enum class ReleaseBackend {
  kAuto,            // kProcessMadvise where the kernel has it for MADV_DONTNEED, else kMadvise
  kProcessMadvise,  // vectored process_madvise on this process: cheapest in all
  kIoUring,         // kernel workers do it: least CPU of the calling thread, about twice in all
  kMadvise,         // one madvise for each range: works everywhere
};

// Thread-compatible: one thread at a time. It may be used in a child after fork.
class RangeReleaser {
 public:
  virtual ~RangeReleaser() = default;

  // Gives the pages of `ranges` back: they stay mapped as they are and read as zero. Ranges are
  // page-aligned (else InvalidArgument, and nothing is discarded), in any order, and may touch but
  // not overlap; an empty span or range is fine.
  // A range that fails does not keep the others from being tried. The Status names the first one
  // that failed, its size, and how many failed; nothing may then be assumed of any contents.
  // O(n log n) in the number of ranges, plus the kernel's work on the pages.
  virtual absl::Status Discard(absl::Span<const AddressRange> ranges) = 0;

  // "process_madvise", "io_uring" or "madvise".
  virtual absl::string_view name() const = 0;
};

// The ranges sorted by address, empty ones left out, and each run of ranges that touch or overlap
// as one. O(n log n).
std::vector<AddressRange> MergeAdjacent(absl::Span<const AddressRange> ranges);

// The backends; System chooses among them. The first always works. The others return Unimplemented
// or PermissionDenied where the kernel (or a seccomp filter) does not let this process use them.
std::unique_ptr<RangeReleaser> NewMadviseReleaser();
absl::StatusOr<std::unique_ptr<RangeReleaser>> NewProcessMadviseReleaser();
absl::StatusOr<std::unique_ptr<RangeReleaser>> NewIoUringReleaser();

}  // namespace ebb::platform

#endif  // EBB_PLATFORM_RANGE_RELEASER_H_
