#include "heap/spaces.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/log/check.h"
#include "absl/log/log.h"
#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"

namespace ebb::internal {

using copyspace::kBlockSize;
using copyspace::kSlabSize;
using platform::AddressRange;
using platform::Bytes;

namespace {

// The address space of each space, in whole slabs. A slab's header block, its field-logging bits,
// and the copies a cycle makes beyond the limit, want a little more than the memory, as do marks of
// pinned objects; large objects want twice theirs, because their address space fragments.
//
// inv.in-place-bit: addresses of objects that are marked in place, and of no others, have the bit
// `before_in_place`. So those that move come first, in a range that is aligned for that.
struct Layout {
  explicit Layout(Bytes reserve, bool generations, bool field_logging)
      : copy(RoundUp(reserve + reserve / 32, kSlabSize) + kSlabSize),
        nursery(generations ? kSlabSize : Bytes(0)),
        pinned(RoundUp(reserve + reserve / 64, kSlabSize)),
        large(RoundUp(reserve * 2, kSlabSize)),
        in_place_bits(field_logging ? EdgeBits::TableBytes({0, pinned + large}) : Bytes(0)),
        before_in_place(
            static_cast<int64_t>(std::bit_ceil(std::max(pinned + large, copy + nursery).size()))) {}
  Bytes whole() const { return before_in_place + pinned + large + in_place_bits; }
  Bytes alignment() const { return before_in_place * 2; }

  Bytes copy;
  Bytes nursery;
  Bytes pinned;
  Bytes large;
  Bytes in_place_bits;
  Bytes before_in_place;
};

// The nursery's slab has a header for each block, whether or not it is ever used.
constexpr Bytes kNurseryHeaders = kBlockSize;

// What it takes to begin to move objects where every block is in use: CopySpace::EvacuateInPart.
constexpr Bytes kMostLastResort = 2 * kBlockSize;

}  // namespace

Spaces::Spaces(platform::System& system, AddressRange range, const Options& options)
    : system_(system),
      range_(range),
      workers_(options.workers),
      overdraft_(OverdraftFor(Bytes(options.max_bytes)).count()),
      ledger_(Bytes(options.max_bytes)),
      nursery_ledger_(Bytes(options.nursery_bytes) + kNurseryHeaders) {}

// A block for each worker, what reordering wastes at regions' ends, and the last resort.
Bytes Spaces::OverdraftFor(Bytes limit) const {
  const Bytes wanted = std::max(kBlockSize * workers_ + kMostLastResort, limit / 64);
  return RoundUp(std::min(wanted, limit / 8), kBlockSize);
}

void Spaces::SetLimit(Bytes limit, Bytes most) {
  const Bytes overdraft = OverdraftFor(limit);
  overdraft_.store(overdraft.count(), std::memory_order_relaxed);  // see overdraft
  const Bytes last_resort = std::min(kMostLastResort, overdraft / 2);
  copy_->SetLimit({.limit = limit,
                   .overdraft = overdraft,
                   .last_resort = kBlockSize * (last_resort / kBlockSize),
                   .hard_limit_slack = most - limit});
}

absl::StatusOr<std::unique_ptr<Spaces>> Spaces::Create(platform::System& system,
                                                       const Options& options) {
  const bool generations = options.collector == Collector::kGenerational;
  const Layout layout(Bytes(options.reserve_bytes), generations, options.field_logging);
  absl::StatusOr<AddressRange> range = system.Reserve(layout.whole(), layout.alignment(), "heap");
  if (!range.ok()) {
    return absl::Status(range.status().code(),
                        absl::StrCat(range.status().message(),
                                     "; Options::reserve_bytes sets how much is reserved"));
  }
  auto spaces = absl::WrapUnique(new Spaces(system, *range, options));
  spaces->AdviseHugePages(options.huge_pages);
  const bool dense = options.huge_pages == HugePages::kDense;
  copyspace::CopySpace::Options copy_options;
  copy_options.range = {range->begin, layout.copy};
  copy_options.overdraft = spaces->overdraft();
  copy_options.field_logging = options.field_logging;
  copy_options.dense_huge_pages = dense;
  copy_options.release_backend = options.release_backend;
  auto copy = copyspace::CopySpace::Create(system, spaces->ledger_, copy_options);
  if (!copy.ok()) return copy.status();
  spaces->copy_ = *std::move(copy);
  spaces->in_place_bit_ = layout.before_in_place.size();
  const AddressRange pinned{range->begin + spaces->in_place_bit_, layout.pinned};
  const AddressRange large{pinned.end(), layout.large};
  spaces->pinned_ = std::make_unique<PinnedSpace>(system, spaces->ledger_, pinned);
  spaces->large_ = std::make_unique<LargeSpace>(system, spaces->ledger_, large);
  if (options.field_logging) {
    const AddressRange table{large.end(), layout.in_place_bits};
    const absl::Status status = system.Commit(table, "field-logging bits");
    if (!status.ok()) return status;
    spaces->in_place_bits_ = EdgeBits({pinned.begin, layout.pinned + layout.large}, table);
  }
  if (generations) {
    const AddressRange nursery{copy_options.range.end(), layout.nursery};
    if (absl::Status status = spaces->MakeNursery(nursery, dense); !status.ok()) return status;
  }
  return spaces;
}

// Before anything is committed: it is one mapping still, and advised in one step.
void Spaces::AdviseHugePages(HugePages huge_pages) {
  const auto advice = huge_pages == HugePages::kAlways ? platform::HugePageAdvice::kAlways
                                                       : platform::HugePageAdvice::kNever;
  const absl::Status status = system_.AdviseHugePages(range_, advice, "heap");
  LOG_IF(WARNING, !status.ok()) << "option huge_pages has no effect: " << status;
}

absl::Status Spaces::MakeNursery(AddressRange range, bool dense_huge_pages) {
  auto nursery = copyspace::CopySpace::Create(
      system_, nursery_ledger_,
      {.range = range, .fixed = true, .dense_huge_pages = dense_huge_pages});
  if (!nursery.ok()) return nursery.status();
  ledger_.ForceDebit(nursery_ledger_.limit());
  nursery_ = *std::move(nursery);
  nursery_range_ = range;
  return absl::OkStatus();
}

Spaces::~Spaces() {
  nursery_.reset();
  copy_.reset();
  absl::Status status = system_.Release(range_, "heap");
  LOG_IF(ERROR, !status.ok()) << status;
}

copyspace::Reference Spaces::SurvivorOf(copyspace::Reference object) const {
  if (copy_->Contains(object)) return copy_->SurvivorOf(object);
  if (InNursery(object)) return object;
  const bool marked =
      pinned_->Contains(object) ? pinned_->IsMarked(object) : large_->IsMarked(object);
  return marked ? object : 0;
}

void Spaces::ForEachMarkedInPlace(absl::FunctionRef<void(copyspace::Reference)> visit) const {
  pinned_->ForEachMarked(visit);
  large_->ForEachMarked(visit);
}

void Spaces::ForEachInPlace(absl::FunctionRef<void(copyspace::Reference)> visit) const {
  pinned_->ForEachObject(visit);
  large_->ForEachObject(visit);
}

absl::Status Spaces::ReleaseSwept() {
  absl::MutexLock lock(&release_mu_);
  absl::Status status = pinned_->ReleaseSwept();
  status.Update(large_->ReleaseSwept());
  return status;
}

Bytes Spaces::object_bytes() const {
  const Bytes young = has_generations() ? nursery_->allocated_bytes() : Bytes(0);
  return young + copy_->allocated_bytes() + pinned_->object_bytes() + large_->object_bytes();
}

void Spaces::ForEachRemembered(absl::FunctionRef<void(uintptr_t edge)> visit) const {
  copy_->ForEachBlock([&](copyspace::Block& block) {
    for (int region = 0; region < copyspace::kRegionsPerBlock; ++region) {
      if (!copy_->MayHoldObjects(block, region)) continue;
      copyspace::ForEachRemembered(block.region_begin(region), visit);
    }
  });
  // Not by the objects' types: a worker of a cycle that freezes may just be copying one there, of
  // which nothing is remembered yet.
  const auto visit_payload = [&](copyspace::Reference object, size_t bytes) {
    in_place_bits_.ForEach(object, bytes, visit);
  };
  pinned_->ForEachPayload(visit_payload);
  large_->ForEachPayload(visit_payload);
}

absl::Status Spaces::CheckInvariants() const {
  absl::Status status = copy_->CheckInvariants();
  if (has_generations()) status.Update(nursery_->CheckInvariants());
  status.Update(pinned_->CheckInvariants());
  status.Update(large_->CheckInvariants());
  return status;
}

void Spaces::AtFork(platform::ForkStep step) {
  // What is being given back is known to nobody but a thread that the child does not have.
  platform::LockAcrossFork(release_mu_, step);
  pinned_->AtFork(step);
  large_->AtFork(step);
  copy_->AtFork(step);
  if (has_generations()) nursery_->AtFork(step);
}

}  // namespace ebb::internal
