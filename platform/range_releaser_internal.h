// What the three backends of RangeReleaser share. For their .cc files alone.

#ifndef EBB_PLATFORM_RANGE_RELEASER_INTERNAL_H_
#define EBB_PLATFORM_RANGE_RELEASER_INTERNAL_H_

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "platform/address_range.h"

namespace ebb::platform::internal {

// MergeAdjacent, or InvalidArgument if a range is not page-aligned.
absl::StatusOr<std::vector<AddressRange>> PrepareRanges(absl::Span<const AddressRange> ranges);

// What became of one batch. Whatever a batched call could not do is done again here, one plain
// madvise for each range, and only the answer to that counts: so an interrupted, refused or cut
// short batch is slower but no error, and an error is exact about its range.
class BatchOutcome {
 public:
  void DiscardAlone(AddressRange range);
  absl::Status ToStatus() const;

 private:
  int failures_ = 0;
  int first_error_ = 0;
  AddressRange first_failed_;
};

}  // namespace ebb::platform::internal

#endif  // EBB_PLATFORM_RANGE_RELEASER_INTERNAL_H_
