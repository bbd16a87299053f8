// RangeReleaser by one madvise for each range: works on every kernel.

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "platform/address_range.h"
#include "platform/range_releaser.h"
#include "platform/range_releaser_internal.h"

namespace ebb::platform {
namespace {

class MadviseReleaser : public RangeReleaser {
 public:
  absl::Status Discard(absl::Span<const AddressRange> ranges) override {
    const auto merged = internal::PrepareRanges(ranges);
    if (!merged.ok()) return merged.status();
    internal::BatchOutcome outcome;
    for (const AddressRange& range : *merged) outcome.DiscardAlone(range);
    return outcome.ToStatus();
  }

  absl::string_view name() const override { return "madvise"; }
};

}  // namespace

std::unique_ptr<RangeReleaser> NewMadviseReleaser() { return std::make_unique<MadviseReleaser>(); }

}  // namespace ebb::platform
