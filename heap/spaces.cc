#include "heap/spaces.h"

#include <algorithm>
#include <utility>

#include "absl/log/log.h"
#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"

namespace ebb::internal {

using copyspace::kBlockSize;
using copyspace::kSlabSize;
using platform::AddressRange;
using platform::Bytes;

namespace {

// The address space of each space, in whole slabs. A slab's header block, and the copies a cycle
// makes beyond the limit, want a little more than the memory; large objects want twice theirs,
// because their address space fragments.
struct Layout {
  explicit Layout(Bytes reserve)
      : copy(RoundUp(reserve, kSlabSize) + kSlabSize),
        pinned(RoundUp(reserve, kSlabSize)),
        large(RoundUp(reserve * 2, kSlabSize)) {}
  Bytes whole() const { return copy + pinned + large; }

  Bytes copy;
  Bytes pinned;
  Bytes large;
};

// Kept for evacuation: a region for each worker, and what reordering wastes at regions' ends.
Bytes OverdraftFor(const Options& options) {
  const Bytes limit(options.max_bytes);
  const Bytes wanted = std::max(kBlockSize * options.workers, limit / 64);
  return RoundUp(std::min(wanted, limit / 8), kBlockSize);
}

}  // namespace

Spaces::Spaces(platform::System& system, AddressRange range, Bytes limit, Bytes overdraft)
    : system_(system), range_(range), overdraft_(overdraft), ledger_(limit) {}

absl::StatusOr<std::unique_ptr<Spaces>> Spaces::Create(platform::System& system,
                                                       const Options& options) {
  const Layout layout{Bytes(options.reserve_bytes)};
  absl::StatusOr<AddressRange> range = system.Reserve(layout.whole(), kSlabSize, "heap");
  if (!range.ok()) {
    return absl::Status(range.status().code(),
                        absl::StrCat(range.status().message(),
                                     "; Options::reserve_bytes sets how much is reserved"));
  }
  auto spaces = absl::WrapUnique(
      new Spaces(system, *range, Bytes(options.max_bytes), OverdraftFor(options)));
  copyspace::CopySpace::Options copy_options;
  copy_options.range = {range->begin, layout.copy};
  copy_options.overdraft = spaces->overdraft_;
  copy_options.release_backend = options.release_backend;
  auto copy = copyspace::CopySpace::Create(system, spaces->ledger_, copy_options);
  if (!copy.ok()) return copy.status();
  spaces->copy_ = *std::move(copy);
  const AddressRange pinned{copy_options.range.end(), layout.pinned};
  const AddressRange large{pinned.end(), layout.large};
  spaces->pinned_ = std::make_unique<PinnedSpace>(system, spaces->ledger_, pinned);
  spaces->large_ = std::make_unique<LargeSpace>(system, spaces->ledger_, large);
  return spaces;
}

Spaces::~Spaces() {
  copy_.reset();
  absl::Status status = system_.Release(range_, "heap");
  LOG_IF(ERROR, !status.ok()) << status;
}

void Spaces::ForEachMarkedInPlace(absl::FunctionRef<void(copyspace::Reference)> visit) const {
  pinned_->ForEachMarked(visit);
  large_->ForEachMarked(visit);
}

absl::Status Spaces::ReleaseSwept() {
  absl::Status status = pinned_->ReleaseSwept();
  status.Update(large_->ReleaseSwept());
  return status;
}

Bytes Spaces::object_bytes() const {
  return copy_->allocated_bytes() + pinned_->object_bytes() + large_->object_bytes();
}

absl::Status Spaces::CheckInvariants() const {
  absl::Status status = copy_->CheckInvariants();
  status.Update(pinned_->CheckInvariants());
  status.Update(large_->CheckInvariants());
  return status;
}

void Spaces::AtFork(platform::ForkStep step) {
  pinned_->AtFork(step);
  large_->AtFork(step);
  copy_->AtFork(step);
}

}  // namespace ebb::internal
