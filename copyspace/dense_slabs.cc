#include "copyspace/dense_slabs.h"

#include <cstddef>

#include "absl/log/log.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "platform/range_releaser.h"

namespace ebb::copyspace {

using platform::HugePageAdvice;

DenseSlabs::DenseSlabs(platform::System& system, AddressRange range)
    : system_(system),
      range_(range),
      thinned_at_(static_cast<size_t>(range.size / kSlabSize), kDense) {}

// A range does not go beyond its slab, which begins with a block of headers.
void DenseSlabs::BeforeDiscard(absl::Span<const AddressRange> ranges, int64_t flips) {
  for (const AddressRange& range : platform::MergeAdjacent(ranges)) {
    if (RunOf(range.begin) == range.begin && RunOf(range.end()) == range.end()) continue;
    const auto slab = static_cast<int64_t>((range.begin - range_.begin) / kSlabSize.size());
    int64_t& thinned_at = thinned_at_[static_cast<size_t>(slab)];
    if (thinned_at != kDense || Advise(slab, HugePageAdvice::kNever)) thinned_at = flips;
  }
}

void DenseSlabs::AdviseAgain(int64_t flips, absl::FunctionRef<bool(int64_t slab)> is_dense) {
  for (size_t i = 0; i < thinned_at_.size(); ++i) {
    const auto slab = static_cast<int64_t>(i);
    // >=: others may have flipped and discarded since the caller read `flips`.
    if (thinned_at_[i] == kDense || thinned_at_[i] >= flips || !is_dense(slab)) continue;
    if (Advise(slab, HugePageAdvice::kAlways)) thinned_at_[i] = kDense;
  }
}

bool DenseSlabs::Advise(int64_t slab, HugePageAdvice advice) {
  const AddressRange range = {range_.begin + slab * kSlabSize.size(), kSlabSize};
  const absl::Status status =
      system_.AdviseHugePages(range, advice, absl::StrCat("slab ", slab, " of a copy space"));
  if (!status.ok()) LOG_FIRST_N(WARNING, 1) << status;
  return status.ok();
}

}  // namespace ebb::copyspace
