#include "copyspace/slab.h"

#include <new>

#include "absl/log/check.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace ebb::copyspace {

SlabFrontier::SlabFrontier(platform::System& system, AddressRange range, bool field_logging)
    : system_(system),
      range_(range),
      first_payload_block_(field_logging ? 1 + kLogBlocks : 1),
      blocks_per_slab_(kBlocksPerSlab - first_payload_block_) {}

absl::StatusOr<Block*> SlabFrontier::Take() {
  if (taken_ == capacity()) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "all %d blocks of the copy space's address range %v are in use; reserve a larger range",
        taken_, range_));
  }
  const int64_t slab = taken_ / blocks_per_slab_;
  if (slab == committed_slabs_) {
    if (absl::Status status = CommitSlab(slab); !status.ok()) return status;
    ++committed_slabs_;
  }
  Block& block = At(taken_++);
  return new (&block) Block();
}

Block& SlabFrontier::At(int64_t index) const {
  DCHECK_LT(index, taken_);
  const uintptr_t slab = range_.begin + index / blocks_per_slab_ * kSlabSize.size();
  const int64_t block = first_payload_block_ + index % blocks_per_slab_;
  return *reinterpret_cast<Block*>(slab + block * kBlockHeaderSize.size());
}

uintptr_t SlabFrontier::taken_end() const {
  return taken_ == 0 ? range_.begin : At(taken_ - 1).range().end();
}

absl::Status SlabFrontier::CommitSlab(int64_t slab) {
  const AddressRange range = {range_.begin + slab * kSlabSize.size(), kSlabSize};
  absl::Status status = system_.Commit(range, absl::StrCat("slab ", slab, " of a copy space"));
  if (status.ok()) {
    new (reinterpret_cast<void*>(range.begin)) SlabHeader{first_payload_block_};
  }
  return status;
}

}  // namespace ebb::copyspace
