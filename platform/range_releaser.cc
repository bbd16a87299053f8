#include "platform/range_releaser.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "platform/address_range.h"
#include "platform/page_size.h"
#include "platform/range_releaser_internal.h"
#include "platform/system_error.h"

namespace ebb::platform {

std::vector<AddressRange> MergeAdjacent(absl::Span<const AddressRange> ranges) {
  std::vector<AddressRange> sorted(ranges.begin(), ranges.end());
  std::sort(sorted.begin(), sorted.end(),
            [](AddressRange a, AddressRange b) { return a.begin < b.begin; });
  std::vector<AddressRange> merged;
  merged.reserve(sorted.size());
  for (const AddressRange& range : sorted) {
    if (range.size == Bytes(0)) continue;
    if (merged.empty() || merged.back().end() < range.begin) {
      merged.push_back(range);
      continue;
    }
    AddressRange& last = merged.back();
    const uintptr_t end = std::max(last.end(), range.end());
    last.size = Bytes(static_cast<int64_t>(end - last.begin));
  }
  return merged;
}

namespace internal {

absl::StatusOr<std::vector<AddressRange>> PrepareRanges(absl::Span<const AddressRange> ranges) {
  for (const AddressRange& range : ranges) {
    if (!IsPageAligned(range)) {
      return MemoryError(EINVAL, "discard", range,
                         absl::StrCat("a batch (not aligned to pages of ", PageSize(), ")"));
    }
  }
  return MergeAdjacent(ranges);
}

void BatchOutcome::DiscardAlone(AddressRange range) {
  if (madvise(reinterpret_cast<void*>(range.begin), range.size.size(), MADV_DONTNEED) == 0) return;
  if (failures_++ == 0) {
    first_error_ = errno;
    first_failed_ = range;
  }
}

absl::Status BatchOutcome::ToStatus() const {
  if (failures_ == 0) return absl::OkStatus();
  return MemoryError(first_error_, "discard", first_failed_,
                     absl::StrCat("a batch (failed ranges: ", failures_, ", this is the first)"));
}

}  // namespace internal
}  // namespace ebb::platform
