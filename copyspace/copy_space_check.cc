// CopySpace::CheckInvariants. Each check cites the invariant of the design page that it checks.

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "copyspace/copy_space.h"

namespace ebb::copyspace {
namespace {

absl::Status Broken(absl::string_view tag, const Block& block, absl::string_view what) {
  return absl::InternalError(absl::StrFormat("%s: %v: %s", tag, block, what));
}

absl::Status Differ(absl::string_view tag, absl::string_view what, int64_t recorded,
                    int64_t counted) {
  if (recorded == counted) return absl::OkStatus();
  return absl::InternalError(
      absl::StrFormat("%s: %s: recorded %d, counted %d", tag, what, recorded, counted));
}

// Sees that no block is met twice, and that each says which list it is on.
class ListWalk {
 public:
  void Walk(const BlockStack& stack, BlockList list) {
    Expect(list);
    stack.ForEach([this](Block& block) { Visit(block); });
    Compare(stack.size());
  }
  void Walk(const SharedBlockList& shared, BlockList list) {
    Expect(list);
    shared.ForEach([this](Block& block) { Visit(block); });
    Compare(shared.size());
  }

  const absl::Status& status() const { return status_; }
  int64_t visited() const { return static_cast<int64_t>(seen_.size()); }

 private:
  void Expect(BlockList list) {
    expected_ = list;
    count_ = 0;
  }
  void Visit(Block& block) {
    ++count_;
    if (!seen_.insert(&block).second) {
      status_.Update(Broken("inv.one-list", block, "met on two lists"));
    }
    if (block.list() != expected_) {
      status_.Update(Broken("inv.one-list", block,
                            absl::StrFormat("met on list %s", BlockListName(expected_))));
    }
  }
  void Compare(int64_t size) {
    status_.Update(Differ("inv.one-list", BlockListName(expected_), size, count_));
  }

  absl::flat_hash_set<const Block*> seen_;
  BlockList expected_ = BlockList::kOpen;
  int64_t count_ = 0;
  absl::Status status_;
};

}  // namespace

absl::Status CopySpace::CheckInvariants() const {
  absl::MutexLock lock(&lock_);
  AwaitKernel();
  for (int64_t i = 0; i < frontier_.taken(); ++i) {
    const Block& block = frontier_.At(i);
    if (absl::Status status = CheckBlock(block); !status.ok()) return status;
    if (absl::Status status = CheckMarks(block); !status.ok()) return status;
  }
  if (absl::Status status = CheckLists(); !status.ok()) return status;
  return CheckSums();
}

// inv.list-contents: what the list a block is on says of it.
absl::Status CopySpace::CheckBlock(const Block& block) const {
  constexpr absl::string_view kTag = "inv.list-contents";
  const int active = active_region();
  const Bytes used(block.used(active));
  const Bytes reserve_used(block.used(1 - active));
  const auto possible = [](Bytes used) {
    return used <= kRegionSize && used % Bytes(8) == Bytes(0);
  };
  if (!possible(used) || !possible(reserve_used)) {
    return Broken("inv.region-parsable", block, "no possible amount of used bytes");
  }
  if (!in_cycle_ && !block.any_retained() && reserve_used > Bytes(0)) {
    return Broken("inv.reserve-untouched", block, "objects in the reserve, but not retained");
  }
  const bool flipped = IsFlipped(block);
  if (flipped && !in_cycle_) return Broken(kTag, block, "flipped, but there is no cycle");
  if (flipped && used > Bytes(0)) {
    return Broken(kTag, block, "flipped, but objects in the active region");
  }
  // What the list says of a flipped block's contents was said before the flip.
  const Bytes listed = flipped ? reserve_used : used;
  const bool empty = used == Bytes(0) && reserve_used == Bytes(0);
  switch (block.list()) {
    case BlockList::kOpen:
      break;
    case BlockList::kEmpty:
      if (used > Bytes(0)) return Broken(kTag, block, "objects in the active region");
      break;
    case BlockList::kPartlyFull:
      if (listed == Bytes(0) || kRegionSize - listed < kPartlyFullRoom) {
        return Broken(kTag, block, "empty, or as good as full");
      }
      break;
    case BlockList::kFull:
      if (kRegionSize - listed >= kPartlyFullRoom) return Broken(kTag, block, "has room");
      break;
    case BlockList::kRetained:
      if (!block.any_retained()) return Broken(kTag, block, "neither region is retained");
      return absl::OkStatus();
    case BlockList::kCondemned:
    case BlockList::kDiscarding:
      if (!empty) return Broken(kTag, block, "not empty");
      break;
    case BlockList::kPagedOut:
      if (!empty) return Broken(kTag, block, "not empty");
      if (!block.known_zero(0) || !block.known_zero(1)) {
        return Broken("inv.known-zero", block, "not known to be zero");
      }
      break;
  }
  if (block.any_retained() && block.list() != BlockList::kOpen) {
    return Broken("inv.retained", block, "retained, but not on the retained list");
  }
  return absl::OkStatus();
}

// inv.retained: failures happen in from-space only, and leave marks that the space knows of.
absl::Status CopySpace::CheckMarks(const Block& block) const {
  if (block.any_retained() && !has_retained_) {
    return Broken("inv.retained", block, "retained, but has_retained() is false");
  }
  for (int region = 0; region < kRegionsPerBlock; ++region) {
    if (!block.failed(region)) continue;
    const bool from_space = in_cycle_ && (region != active_region() || block.retained(region));
    if (!from_space) return Broken("inv.retained", block, "failed, but not in from-space");
    if (block.used(region) == 0) return Broken("inv.retained", block, "failed, but no object");
  }
  return absl::OkStatus();
}

absl::Status CopySpace::CheckLists() const {
  ListWalk walk;
  walk.Walk(empty_, BlockList::kEmpty);
  walk.Walk(partly_full_, BlockList::kPartlyFull);
  walk.Walk(full_, BlockList::kFull);
  walk.Walk(retained_, BlockList::kRetained);
  walk.Walk(page_out_.condemned(), BlockList::kCondemned);
  for (int age = 0; age <= PageOutQueue::kOldestInCore; ++age) {
    walk.Walk(page_out_.age(age), BlockList::kEmpty);
  }
  walk.Walk(page_out_.age(PageOutQueue::kPagedOut), BlockList::kPagedOut);
  if (!walk.status().ok()) return walk.status();

  constexpr absl::string_view kTag = "inv.one-list";
  int64_t open = 0;
  int64_t flipped = 0;
  for (int64_t i = 0; i < frontier_.taken(); ++i) {
    const Block& block = frontier_.At(i);
    if (block.list() == BlockList::kOpen) ++open;
    if (!IsFlipped(block)) continue;
    ++flipped;
    if (i < flipped_cursor_) return Broken(kTag, block, "flipped, but TakeFlipped has passed it");
  }
  // Relaxed: no thread acquires or returns blocks meanwhile, and who says so has ordered those
  // before.
  absl::Status status = Differ(kTag, "open blocks", open_.load(std::memory_order_relaxed), open);
  status.Update(Differ(kTag, "flipped blocks", flipped_, flipped));
  status.Update(Differ(kTag, "blocks on lists, open or flipped", frontier_.taken(),
                       walk.visited() + open + flipped));
  return status;
}

// inv.conservation: the running sums are what a count gives.
absl::Status CopySpace::CheckSums() const {
  constexpr absl::string_view kTag = "inv.conservation";
  Bytes allocated;
  Bytes fragmentation;
  int64_t in_core = 0;
  for (int64_t i = 0; i < frontier_.taken(); ++i) {
    const Block& block = frontier_.At(i);
    allocated += AllocatedIn(block);
    fragmentation += FragmentationOf(block);
    if (block.list() != BlockList::kPagedOut) ++in_core;
  }
  absl::Status status =
      Differ(kTag, "allocated bytes", allocated_bytes().count(), allocated.count());
  status.Update(
      Differ(kTag, "fragmentation", this->fragmentation().count(), fragmentation.count()));
  const Bytes debited =
      kBlockSize * in_core + MetadataPerBlock(options_.field_logging) * frontier_.taken();
  status.Update(Differ(kTag, "debited bytes", debited_.count(), debited.count()));
  if (ledger_.used() < debited_) {
    status.Update(absl::InternalError(
        absl::StrFormat("%s: the ledger has %v in use, less than this space's %v", kTag,
                        ledger_.used(), debited_)));
  }
  const bool empty_left = !empty_.empty() || !page_out_.age(0).empty() ||
                          !page_out_.age(1).empty() || !page_out_.age(2).empty();
  if (!in_cycle_ && bytes_to_page_out_ >= kBlockSize && empty_left) {
    status.Update(absl::InternalError(absl::StrFormat(
        "inv.request: %v are to be paged out, yet there are empty blocks", bytes_to_page_out_)));
  }
  return status;
}

}  // namespace ebb::copyspace
