// CopySpace: creation, acquire and return, accounting.

#include "copyspace/copy_space.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <numeric>
#include <utility>

#include "absl/log/check.h"
#include "absl/memory/memory.h"
#include "absl/strings/str_format.h"
#include "copyspace/field_log.h"

namespace ebb::copyspace {
namespace {

absl::Status CheckOptions(const CopySpace::Options& options) {
  const AddressRange range = options.range;
  if (range.begin == 0 || range.begin % kSlabSize.size() != 0 || range.size < kSlabSize ||
      range.size % kSlabSize != Bytes(0)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the address range %v of a copy space must consist of whole slabs of %v",
                        range, kSlabSize));
  }
  if (options.fixed &&
      (!std::has_single_bit(range.size.size()) || range.begin % range.size.size() != 0)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the address range %v of a fixed copy space must be a power of two in size and aligned to "
        "it",
        range));
  }
  if (options.overdraft < Bytes(0) || options.hard_limit_slack < Bytes(0)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("neither overdraft (%v) nor hard_limit_slack (%v) may be negative",
                        options.overdraft, options.hard_limit_slack));
  }
  return absl::OkStatus();
}

}  // namespace

int64_t BlockCounts::total() const {
  return open + empty + partly_full + full + flipped + retained + condemned + discarding +
         std::accumulate(paged_out.begin(), paged_out.end(), int64_t{0});
}

absl::StatusOr<std::unique_ptr<CopySpace>> CopySpace::Create(platform::System& system,
                                                             Ledger& ledger,
                                                             const Options& options) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  std::unique_ptr<CopySpace> space = absl::WrapUnique(new CopySpace(system, ledger, options));
  if (options.dense_huge_pages) space->AdviseAtFirst();
  if (options.fixed) {
    if (absl::Status status = space->MakeAllBlocks(); !status.ok()) return status;
  }
  return space;
}

CopySpace::CopySpace(platform::System& system, Ledger& ledger, const Options& options)
    : begin_(options.range.begin),
      size_(options.range.size.size()),
      options_(options),
      system_(system),
      ledger_(ledger),
      frontier_(system, options.range, options.field_logging),
      overdraft_(options.overdraft),
      hard_limit_slack_(options.hard_limit_slack),
      releaser_(system.NewRangeReleaser(options.release_backend)) {}

CopySpace::~CopySpace() {
  absl::MutexLock lock(&lock_);
  // Relaxed: the owner has ordered all users of the space before its end.
  DCHECK_EQ(open_.load(std::memory_order_relaxed), 0) << "an allocator is still open";
  if (reserve_poisoned_) UnpoisonReserve();
  ledger_.Credit(debited_);
}

absl::Status CopySpace::MakeAllBlocks() {
  absl::MutexLock lock(&lock_);
  const Bytes metadata = MetadataPerBlock(options_.field_logging) * frontier_.capacity();
  if (!DebitLocked(metadata, Bytes(0))) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "a fixed copy space of %v needs %v for its block headers, but %v of %v are in use; raise "
        "the heap's limit",
        options_.range.size, metadata, ledger_.used(), ledger_.limit()));
  }
  while (frontier_.taken() < frontier_.capacity()) {
    if (absl::StatusOr<Block*> block = frontier_.Take(); !block.ok()) return block.status();
  }
  for (int64_t i = frontier_.taken() - 1; i >= 0; --i) {  // the lowest address on top
    page_out_.paged_out().Push(frontier_.At(i), BlockList::kPagedOut);
  }
  return absl::OkStatus();
}

Block* CopySpace::AcquireBlock(AcquirePurpose purpose, Bytes at_least) {
  const int region = active_region();
  const bool survivor = purpose == AcquirePurpose::kEvacuation;
  Block* block;
  {
    absl::MutexLock lock(&lock_);
    block = AcquireLocked(purpose, at_least);
    if (block == nullptr) return nullptr;
    block->set_list(BlockList::kOpen);
    // Before MayHoldObjects says that there may be edges.
    if (options_.field_logging && block->used(region) == 0) {
      internal::ClearLogBits(block->region_begin(region));
    }
    block->set_flips_at_acquire(flips_);
    open_.fetch_add(1, std::memory_order_relaxed);  // a count: publishes nothing
    if (survivor && block->used(region) == 0) NoteTakenForEvacuation();
  }
  if (block->used(region) == 0) {
    block->set_survivor(region, survivor);
  } else if (survivor) {
    block->set_survivor(region, true);
  }
  return block;
}

Block* CopySpace::AcquireLocked(AcquirePurpose purpose, Bytes at_least) {
  last_failure_ = absl::OkStatus();
  const bool evacuation = purpose == AcquirePurpose::kEvacuation;
  while (true) {
    if (Block* block = TakePartlyFull(purpose, at_least); block != nullptr) return block;
    if (!evacuation && regions_kept_ > 0 && RegionsForMutators() == 0) return nullptr;
    if (Block* block = TakeFlipped(); block != nullptr) return block;
    if (Block* block = empty_.Pop(); block != nullptr) return block;
    if (Block* block = page_out_.PopYoungestInCore(); block != nullptr) return block;
    if (flipped_ > 0) {  // further on than TakeFlipped may look at a time
      lock_.Unlock();
      lock_.Lock();
      continue;
    }
    const Bytes last_resort = in_part_ ? Bytes(0) : last_resort_;
    const Bytes keep_free = evacuation ? last_resort : overdraft_;
    if (Block* block = TakeByDebit(keep_free); block != nullptr) return block;
    if (evacuation) {
      if (Block* block = TakeCondemned(); block != nullptr) return block;
      if (Block* block = TakeByDebit(Bytes(0) - hard_limit_slack_); block != nullptr) {
        return block;
      }
    }
    if (discarding_ == 0) return nullptr;
    // What is being given back is about to be paged out, or empty again.
    const int64_t seen = settled_batches_;
    const auto progress = [this, seen]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
      return settled_batches_ != seen;
    };
    lock_.Await(absl::Condition(&progress));
  }
}

// In a fixed space, what mutators allocate is not to pass for survivors.
Block* CopySpace::TakePartlyFull(AcquirePurpose purpose, Bytes at_least) {
  const int region = active_region();
  const bool survivors_too = !options_.fixed || purpose == AcquirePurpose::kEvacuation;
  return partly_full_.PopFirst(kPartlyFullTries, [=](const Block& block) {
    return (survivors_too || !block.is_survivor(region)) &&
           kRegionSize - Bytes(block.used(region)) >= at_least;
  });
}

// By address, the lowest first: evacuation and then mutators fill runs of neighbours, and what is
// not needed gathers at the high end. Over a cycle the cursor passes each header once. The bound is
// for a heap that has seen a peak: 12 GiB of blocks that are empty or paged out are 98,000 headers,
// each a cache miss, in front of the first flipped one, and all that acquire would wait.
Block* CopySpace::TakeFlipped() {
  for (int tries = kFlippedTries; flipped_ > 0 && tries > 0; --tries) {
    Block& block = frontier_.At(flipped_cursor_++);
    if (!IsFlipped(block)) continue;
    --flipped_;
    return &block;
  }
  return nullptr;
}

Block* CopySpace::TakeCondemned() {
  Block* block = page_out_.condemned().Pop();
  if (block != nullptr) bytes_to_page_out_ += kBlockSize;
  return block;
}

Block* CopySpace::TakeByDebit(Bytes keep_free) {
  if (page_out_.paged_out().empty()) return TakeFresh(keep_free);
  if (!DebitLocked(kBlockSize, keep_free)) return nullptr;
  return page_out_.paged_out().Pop();
}

Block* CopySpace::TakeFresh(Bytes keep_free) {
  if (options_.fixed) return nullptr;
  const Bytes price = kBlockSize + MetadataPerBlock(options_.field_logging);
  if (!DebitLocked(price, keep_free)) return nullptr;
  absl::StatusOr<Block*> block = frontier_.Take();
  if (block.ok()) return *block;
  last_failure_ = block.status();
  CreditLocked(price);
  return nullptr;
}

bool CopySpace::DebitLocked(Bytes amount, Bytes keep_free) {
  if (!ledger_.TryDebit(amount, keep_free)) return false;
  debited_ += amount;
  return true;
}

void CopySpace::CreditLocked(Bytes amount) {
  debited_ -= amount;
  ledger_.Credit(amount);
}

void CopySpace::ReturnBlock(Block* block, uint32_t used) {
  const int region = active_region();
  const uint32_t before = block->used(region);
  DCHECK_EQ(static_cast<int>(block->list()), static_cast<int>(BlockList::kOpen)) << *block;
  DCHECK_GE(used, before) << *block;
  DCHECK_LE(used, kRegionSize.size()) << *block;
  block->set_used(region, used);
  // Counts, all relaxed: they publish nothing, and are read as exact only when nobody changes them.
  allocated_.fetch_add(used - before, std::memory_order_relaxed);
  const Bytes room = kRegionSize - Bytes(used);
  if (room < kPartlyFullRoom && !block->any_retained()) {
    fragmentation_.fetch_add(room.count(), std::memory_order_relaxed);
    full_.Push(*block, BlockList::kFull);
    open_.fetch_sub(1, std::memory_order_relaxed);  // the list publishes the block, not the count
    return;
  }
  absl::MutexLock lock(&lock_);
  open_.fetch_sub(1, std::memory_order_relaxed);  // as above: the lock publishes the block
  if (block->any_retained()) {
    retained_.Push(*block, BlockList::kRetained);
    fragmentation_.fetch_add(FragmentationOf(*block).count(), std::memory_order_relaxed);
  } else if (used > 0) {
    partly_full_.Push(*block, BlockList::kPartlyFull);
  } else {
    empty_.Push(*block, BlockList::kEmpty);
    if (!in_cycle_) Condemn(/*restore_overdraft=*/false);
  }
}

int64_t CopySpace::FreeRegions() const {
  int64_t blocks = BlocksInCore();
  blocks +=
      std::max<int64_t>((ledger_.limit() - ledger_.used() - overdraft_) / kBlockSize, 0);
  return blocks;
}

CopySpace::Room CopySpace::room() const {
  absl::MutexLock lock(&lock_);
  return {kRegionSize * RegionsForMutators(), kRegionSize * regions_kept_};
}

int64_t CopySpace::RegionsKept() const {
  return regions_kept_ == least_regions_kept_ ? most_regions_kept_ : regions_kept_;
}

int64_t CopySpace::RegionsForMutators() const {
  return std::max<int64_t>(FreeRegions() - RegionsKept(), 0);
}

void CopySpace::NoteTakenForEvacuation() {
  ++taken_for_evacuation_;
  if (regions_kept_ > least_regions_kept_) --regions_kept_;
  if (most_regions_kept_ > least_regions_kept_) --most_regions_kept_;
}

Bytes CopySpace::kept_in_ledger() const {
  absl::MutexLock lock(&lock_);
  return kBlockSize * std::max<int64_t>(RegionsKept() - BlocksInCore(), 0);
}

void CopySpace::KeepForEvacuation(const Needs& needs, const MutatorsStopped&) {
  const auto regions = [](Bytes bytes) { return RoundUp(bytes, kRegionSize) / kRegionSize; };
  absl::MutexLock lock(&lock_);
  least_regions_kept_ = regions(needs.at_least);
  regions_kept_ = std::max(regions(needs.expected), least_regions_kept_ + 1);
  most_regions_kept_ = std::max(regions(needs.at_most), regions_kept_);
}

void CopySpace::KeepLess() {
  absl::MutexLock lock(&lock_);
  const int64_t beyond = regions_kept_ - least_regions_kept_;
  if (taken_for_evacuation_ <= beyond) return;
  // With one region more than the least, the bet on what is expected still stands; with none, it
  // has been lost.
  if (beyond > 1) {
    const int64_t enough = std::max<int64_t>({beyond / 2, taken_for_evacuation_ / 16, 1});
    regions_kept_ = least_regions_kept_ + std::min(beyond, enough);
  }
  const int64_t most = least_regions_kept_ + taken_for_evacuation_ / 8;
  most_regions_kept_ = std::max(std::min(most_regions_kept_, most), regions_kept_);
}

Bytes CopySpace::taken_for_evacuation() const {
  absl::MutexLock lock(&lock_);
  return kRegionSize * taken_for_evacuation_;
}

absl::Status CopySpace::last_failure() const {
  absl::MutexLock lock(&lock_);
  return last_failure_;
}

Bytes CopySpace::AllocatedIn(const Block& block) const {
  if (block.any_retained()) return Bytes(block.used(0)) + Bytes(block.used(1));
  return Bytes(block.used(active_region()));
}

Bytes CopySpace::retained_bytes() const {
  absl::MutexLock lock(&lock_);
  Bytes bytes;
  retained_.ForEach([&bytes](const Block& block) {
    for (int region = 0; region < kRegionsPerBlock; ++region) {
      if (block.retained(region)) bytes += Bytes(block.used(region));
    }
  });
  return bytes;
}

Bytes CopySpace::FragmentationOf(const Block& block) const {
  switch (block.list()) {
    case BlockList::kFull:
      return IsFlipped(block) ? Bytes(0) : kRegionSize - AllocatedIn(block);
    case BlockList::kRetained:
      return kBlockSize - AllocatedIn(block);
    default:
      return Bytes(0);
  }
}

BlockCounts CopySpace::counts() const {
  absl::MutexLock lock(&lock_);
  BlockCounts counts;
  // Relaxed: a count; what is open meanwhile, nobody may rely on.
  counts.open = open_.load(std::memory_order_relaxed);
  counts.empty = empty_.size();
  counts.partly_full = partly_full_.size();
  counts.full = full_.size();
  counts.flipped = flipped_;
  counts.retained = retained_.size();
  counts.condemned = page_out_.condemned().size();
  counts.discarding = discarding_;
  for (int age = 0; age < PageOutQueue::kAges; ++age) {
    counts.paged_out[age] = page_out_.age(age).size();
  }
  return counts;
}

AddressRange CopySpace::committed() const {
  absl::MutexLock lock(&lock_);
  return frontier_.committed();
}

Bytes CopySpace::debited() const {
  absl::MutexLock lock(&lock_);
  return debited_;
}

Bytes CopySpace::MetadataPerBlock(bool field_logging) {
  return field_logging ? kBlockHeaderSize + kLogBytesPerRegion * kRegionsPerBlock
                       : kBlockHeaderSize;
}

bool CopySpace::MayHoldObjects(const Block& block, int region) const {
  absl::MutexLock lock(&lock_);
  return block.retained(region) || block.failed(region) ||
         (region == active_region() && block.flips_at_acquire() == flips_);
}

void CopySpace::ForEachBlock(absl::FunctionRef<void(Block&)> visit) const {
  const SlabFrontier frontier = [this] {
    absl::MutexLock lock(&lock_);
    return frontier_;
  }();
  for (int64_t i = 0; i < frontier.taken(); ++i) visit(frontier.At(i));
}

}  // namespace ebb::copyspace
