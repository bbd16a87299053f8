// CopySpace: memory in blocks of two regions, of which one holds objects and the other waits to be
// copied to. The heap makes one for each space that moves its objects.
// Design: docs/design/copy_space.md

#ifndef EBB_COPYSPACE_COPY_SPACE_H_
#define EBB_COPYSPACE_COPY_SPACE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "copyspace/block.h"
#include "copyspace/block_list.h"
#include "copyspace/dense_slabs.h"
#include "copyspace/geometry.h"
#include "copyspace/ledger.h"
#include "copyspace/mutators_stopped.h"
#include "copyspace/page_out_queue.h"
#include "copyspace/slab.h"
#include "platform/fork.h"
#include "platform/range_releaser.h"
#include "platform/system.h"

namespace ebb::copyspace {

enum class AcquirePurpose {
  kMutator,     // leaves the overdraft alone
  kEvacuation,  // may use all there is; what it fills is marked as survivors
};

// Blocks by where they are.
struct BlockCounts {
  int64_t open = 0;
  int64_t empty = 0;  // the empty list, the in-core ages not included
  int64_t partly_full = 0;
  int64_t full = 0;
  int64_t flipped = 0;  // during a cycle: in use before its flip, and not acquired since
  int64_t retained = 0;
  int64_t condemned = 0;
  int64_t discarding = 0;
  // In-core ages, youngest first, and what is paged out.
  std::array<int64_t, PageOutQueue::kAges> paged_out = {};

  int64_t total() const;
  // Blocks the ledger is debited for.
  int64_t in_core() const { return total() - paged_out.back(); }
};

// Thread-safe. What needs a pause asks for the evidence. An amount of bytes is a multiple of
// kBlockSize wherever blocks are meant; others are rounded down to whole blocks unless said
// otherwise. The ledger and the system outlive the space.
class CopySpace {
 public:
  struct Options {
    // Slab-aligned reserved address space, not yet committed. The caller owns the reservation and
    // keeps it until the space is gone; as far as it is committed it stays so.
    AddressRange range = {};
    // At first: see Limit.
    Bytes overdraft = Bytes(0);
    Bytes hard_limit_slack = Bytes(0);
    bool field_logging = false;
    // A nursery: `range` is a power of two in size and aligned to it; all of it is committed and
    // all blocks are made (paged out) at creation, so that no acquire asks the system for anything.
    bool fixed = false;
    // Huge pages are asked for, in slabs of which nothing smaller than a run is given back. If not,
    // the space leaves the advice on its range as it is.
    bool dense_huge_pages = false;
    platform::ReleaseBackend release_backend = platform::ReleaseBackend::kAuto;
  };

  // InvalidArgument if `range` does not fit; for a fixed space also what the system or the ledger
  // refused.
  static absl::StatusOr<std::unique_ptr<CopySpace>> Create(platform::System& system, Ledger& ledger,
                                                           const Options& options);
  CopySpace(const CopySpace&) = delete;
  CopySpace& operator=(const CopySpace&) = delete;
  // No allocator is open. Credits the ledger with all the space holds.
  ~CopySpace();

  // --- Where an address is. A few instructions each; stable between pauses.

  bool Contains(uintptr_t address) const { return address - begin_ < size_; }
  // All addresses the space may ever have, and its slabs so far.
  AddressRange range() const { return options_.range; }
  AddressRange committed() const ABSL_LOCKS_EXCLUDED(lock_);

  // In the space, and bit 16 names the region that is not active. During a cycle that is
  // from-space, but for retained regions: see InFromSpace.
  bool InReserve(uintptr_t address) const {
    return Contains(address) && (address & kRegionBit) == reserve_bit_;
  }

  // During a cycle: the object must be evacuated (inv.from-space). With nothing retained, exactly
  // InReserve.
  bool InFromSpace(Reference object) const {
    if (!Contains(object)) return false;
    if ((object & kRegionBit) == reserve_bit_) return true;
    return has_retained_ && Block::Of(object).retained(RegionIndex(object));
  }

  // Late in a cycle: where the object is, which is of this space; 0 if nobody has evacuated it, or
  // tried to. Acquires the copy.
  Reference SurvivorOf(Reference object) const;

  int active_region() const { return reserve_bit_ == 0 ? 1 : 0; }
  // Alternates from cycle to cycle; ForwardingWord's.
  int cycle_parity() const { return parity_; }
  // Some block is retained from an earlier cycle: then InReserve alone does not tell from-space.
  // Changes only in FinishCycle, which is to say in a pause.
  bool has_retained() const { return has_retained_; }

  // The object's region was filled by evacuation when it last became active. Memory that such a
  // block had left is given to mutators too, unless the space is fixed.
  bool IsSurvivor(Reference object) const {
    return Block::Of(object).is_survivor(RegionIndex(object));
  }

  // --- Cycles.

  // Begins a cycle: active and reserve change places and every block that is not retained has an
  // empty active region. No allocator is open. May wait for one batch of DiscardReserve. O(retained
  // blocks); O(blocks) if the reserve is poisoned, under AddressSanitizer.
  void Flip(const MutatorsStopped&) ABSL_LOCKS_EXCLUDED(lock_);

  // During a cycle: `object`, whose evacuation failed and whom the caller has claimed, stays where
  // it is, and so does all else in its region. To be called before ForwardingWord::Retain.
  void RetainRegionOf(Reference object);

  // After Flip, in its pause: this cycle evacuates as many regions as there is certainly room for,
  // other ones each time, and may use the last resort for that (see Limit). The others are retained
  // in this cycle, as they are (IsToStay). For one evacuating thread. O(blocks).
  void EvacuateInPart(const MutatorsStopped&) ABSL_LOCKS_EXCLUDED(lock_);
  // In such a cycle: whether `object`, which is in from-space, is not to be evacuated.
  static bool IsToStay(Reference object) { return Block::Of(object).failed(RegionIndex(object)); }

  // Ends the cycle: from-space is garbage, but for the regions retained in this cycle. Takes
  // retained blocks out of allocation, makes those of the cycle before ordinary ones if nothing
  // failed in them again, and condemns blocks for the requests to page out and for an overdraft
  // that was used. Allocators may be open. O(blocks).
  void FinishCycle(const MutatorsStopped&) ABSL_LOCKS_EXCLUDED(lock_);

  // During a cycle, once all its evacuation is over: nothing is retained from the last cycle and
  // nothing failed in this one, so that what a running mutator reads of the space can stay.
  bool CanFinishConcurrently() const;
  // FinishCycle for one thread while mutators run, if it can be finished concurrently. Nobody looks
  // at an object in from-space any more. The lock is held for short batches of the O(blocks).
  void FinishCycleConcurrently() ABSL_LOCKS_EXCLUDED(lock_);

  // --- Allocation; BumpAllocator's. O(1) but for partly full blocks without enough room and, over
  // a cycle, one look at each block's header.

  // A block whose active region has room for `at_least`: partly full (no survivors' for mutators,
  // if the space is fixed), else (during a cycle) flipped, else empty, else paged out (youngest age
  // first), else fresh. Null if there is none, no debit for it, or (for mutators) none but what is
  // kept for evacuation. May wait for a batch of pages being given back, or commit a slab.
  Block* AcquireBlock(AcquirePurpose purpose, Bytes at_least) ABSL_LOCKS_EXCLUDED(lock_);
  // `used` bytes of the active region now hold objects.
  void ReturnBlock(Block* block, uint32_t used) ABSL_LOCKS_EXCLUDED(lock_);
  // Empty active regions, about: how much mutators can still allocate before the next flip, and how
  // much is kept for evacuation. O(1).
  struct Room {
    Bytes for_mutators;
    Bytes for_evacuation;
  };
  Room room() const ABSL_LOCKS_EXCLUDED(lock_);
  // In the pause of a flip beside which mutators will run on: until the cycle ends, part of the
  // active regions is kept from them: what evacuation is expected to need, less the regions that it
  // has taken. When but `at_least` is left of that, it needs more than was expected, and what it
  // may need `at_most` is kept, less what it has taken. More than there is: all is kept.
  struct Needs {
    Bytes expected;
    Bytes at_least;
    Bytes at_most;
  };
  void KeepForEvacuation(const Needs& needs, const MutatorsStopped&) ABSL_LOCKS_EXCLUDED(lock_);
  // Nothing that must be evacuated was known a moment ago. If more has been taken than is still
  // kept beyond `at_least`, evacuation is nearly over: half of what is kept beyond becomes
  // mutators', but a sixteenth of what has been taken, and a region, stay. `at_most` falls to
  // `at_least` and an eighth of what has been taken, if that is less.
  void KeepLess() ABSL_LOCKS_EXCLUDED(lock_);
  // Empty regions that evacuation has taken since the last flip.
  Bytes taken_for_evacuation() const ABSL_LOCKS_EXCLUDED(lock_);
  // How much of what is kept has no block yet, but only room in the ledger.
  Bytes kept_in_ledger() const ABSL_LOCKS_EXCLUDED(lock_);
  // Why the last AcquireBlock that gave null did so, if the system refused memory or the address
  // range is used up; OK if it was the ledger.
  absl::Status last_failure() const ABSL_LOCKS_EXCLUDED(lock_);

  // --- Accounting. Exact whenever no allocator is open.

  // In active regions and in retained blocks; during a cycle, not in from-space otherwise.
  Bytes allocated_bytes() const { return Bytes(allocated_.load(std::memory_order_relaxed)); }
  // Of these, in regions that are retained. Between cycles. O(retained blocks).
  Bytes retained_bytes() const ABSL_LOCKS_EXCLUDED(lock_);
  // In the same regions as allocated_bytes, room that cannot be allocated before the next cycle:
  // what is left of full blocks, and of both regions of retained ones.
  Bytes fragmentation() const { return Bytes(fragmentation_.load(std::memory_order_relaxed)); }
  BlockCounts counts() const ABSL_LOCKS_EXCLUDED(lock_);
  // Debited from the ledger by this space: its in-core blocks and its blocks' metadata.
  Bytes debited() const ABSL_LOCKS_EXCLUDED(lock_);
  // For one block of a space, once: its header, and its field-logging bits.
  static Bytes MetadataPerBlock(bool field_logging);

  // --- Sizing and page-out. A Status other than OK means that pages could not be given back;
  // nothing is lost, and the next tick tries again.

  // Asks for `amount` to be paged out: at once as far as empty blocks go, the rest at the end of
  // the next cycle.
  absl::Status Shrink(Bytes amount) ABSL_LOCKS_EXCLUDED(lock_);
  // Takes back up to `amount` of what Shrink has not yet paged out; returns how much that was. The
  // space grows beyond that by itself, as far as the ledger lets it.
  Bytes Expand(Bytes amount) ABSL_LOCKS_EXCLUDED(lock_);
  // The ledger's limit and the margins on both sides of it, at once. `overdraft` below it is kept
  // free of mutators' blocks, from the next cycle's end on at the latest; evacuation may use it,
  // but for the `last_resort`, and when it is gone as well go up to `hard_limit_slack` beyond the
  // limit. The last resort is for EvacuateInPart.
  struct Limit {
    Bytes limit;
    Bytes overdraft;
    Bytes last_resort = Bytes(0);
    Bytes hard_limit_slack;
  };
  void SetLimit(const Limit& limit) ABSL_LOCKS_EXCLUDED(lock_);
  // What Shrink was asked for and has not yet found blocks for.
  Bytes bytes_to_page_out() const ABSL_LOCKS_EXCLUDED(lock_);

  // The background tick's first task for this space: what is still empty grows older. What a cycle
  // frees is in the youngest age at once, so it is given back in the second tick after that.
  void AdvancePageOutAges() ABSL_LOCKS_EXCLUDED(lock_);
  // The tick's last: gives the pages of condemned blocks and of the oldest in-core age back.
  absl::Status DiscardOldest() ABSL_LOCKS_EXCLUDED(lock_);
  // Calls of AdvancePageOutAges since the last cycle's end; 0 during a cycle.
  int64_t ticks_since_cycle() const ABSL_LOCKS_EXCLUDED(lock_);
  // Gives the pages of all condemned and up to `at_most` of other empty blocks back now, outside of
  // cycles those of whole runs first.
  absl::Status PageOutNow(Bytes at_most) ABSL_LOCKS_EXCLUDED(lock_);
  // Between cycles: gives the pages of the reserve regions of blocks in use back. They stay
  // debited: the next cycle needs them. Ends early, without an error, when a cycle begins.
  absl::Status DiscardReserve() ABSL_LOCKS_EXCLUDED(lock_);

  // With dense_huge_pages, after a cycle: slabs that have lost huge pages, since pages of theirs
  // were given back before its flip, may have them again if they are in core again. The lock is
  // taken for one slab's headers at a time. O(slabs), and O(blocks) of those that have lost them.
  void AdviseDenseSlabs() ABSL_LOCKS_EXCLUDED(lock_, releaser_lock_);

  // --- Around a fork, between cycles, with mutators stopped. No page-out is under way meanwhile.
  void AtFork(platform::ForkStep step);

  // --- Checking.

  // What must hold (the design page's inv.* tags); the message names the block. No thread acquires
  // or returns blocks meanwhile. O(blocks).
  absl::Status CheckInvariants() const ABSL_LOCKS_EXCLUDED(lock_);
  // All blocks, by address. Headers are stable only while mutators are stopped.
  void ForEachBlock(absl::FunctionRef<void(Block&)> visit) const ABSL_LOCKS_EXCLUDED(lock_);
  // Whether there may be objects in the region that are not in from-space. While blocks are
  // acquired beside it. If not, its field-logging bits say nothing.
  bool MayHoldObjects(const Block& block, int region) const ABSL_LOCKS_EXCLUDED(lock_);

  // Between cycles: kNone forbids access to the reserve regions that anything was ever in, but for
  // those of retained blocks; one system call each. kReadWrite allows access everywhere; it must
  // have succeeded before the next Flip. When forbidding fails, access is allowed again; should
  // that fail too, kReadWrite is still owed.
  absl::Status ProtectReserve(platform::Access access, const MutatorsStopped&)
      ABSL_LOCKS_EXCLUDED(lock_);
  // Between cycles: fills those regions with kPoisonByte as far as anything was ever in them; under
  // AddressSanitizer forbids access to them until the next Flip.
  void PoisonReserve(const MutatorsStopped&) ABSL_LOCKS_EXCLUDED(lock_);

  // A block that is returned with at least this much room goes to the partly full list.
  static constexpr Bytes kPartlyFullRoom = platform::KiB(8);
  // A word of these is no valid address, nor a header word.
  static constexpr unsigned char kPoisonByte = 0xEC;

 private:
  // Bounds how long an acquire waits for page-out, and a flip for DiscardReserve.
  static constexpr size_t kBatchBlocks = 256;
  // Empty blocks of each list looked at for whole runs, under the lock.
  static constexpr int64_t kRunTries = 1024;
  // Partly full blocks looked at for one with enough room.
  static constexpr int kPartlyFullTries = 4;
  // Headers that DiscardReserve, an acquire, and FinishCycleConcurrently look at under the lock at
  // a time: all that acquire wait for them, and a flip for the first.
  static constexpr int kReserveTries = 256;
  static constexpr int kFlippedTries = 256;
  static constexpr int64_t kFinishBlocks = 64;

  CopySpace(platform::System& system, Ledger& ledger, const Options& options);

  void AdviseAtFirst() ABSL_LOCKS_EXCLUDED(releaser_lock_);
  absl::Status MakeAllBlocks() ABSL_LOCKS_EXCLUDED(lock_);

  // Acquire, step by step. Each gives null if its source has nothing.
  Block* AcquireLocked(AcquirePurpose purpose, Bytes at_least) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Empty active regions that can be acquired, the overdraft left alone. About: what is being paged
  // out may come back.
  int64_t FreeRegions() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  int64_t BlocksInCore() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_) {
    return empty_.size() + flipped_ + page_out_.in_core();
  }
  void NoteTakenForEvacuation() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  int64_t RegionsKept() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  int64_t RegionsForMutators() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  Block* TakePartlyFull(AcquirePurpose purpose, Bytes at_least)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Looks at kFlippedTries headers at most.
  Block* TakeFlipped() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  Block* TakeCondemned() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  Block* TakeByDebit(Bytes keep_free) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  Block* TakeFresh(Bytes keep_free) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Retains what EvacuateInPart does not choose of the regions `region`; returns what is left.
  Bytes ChooseInPart(int region, Bytes room) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  bool DebitLocked(Bytes amount, Bytes keep_free) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void CreditLocked(Bytes amount) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);

  // The block's share of allocated_bytes and fragmentation.
  Bytes AllocatedIn(const Block& block) const;
  Bytes FragmentationOf(const Block& block) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);

  // The block was partly full or full before this cycle's flip and nobody has acquired it since:
  // its active region is empty, and it is on no list, whatever its header says.
  bool IsFlipped(const Block& block) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void PullFailed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // The blocks [begin, end) by address.
  void FinishBlocks(int64_t begin, int64_t end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void FinishBlock(Block& block);
  // Both are for pauses.
  void ClearUsage();
  void AddUsage(const Block& block) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);

  static constexpr int64_t kNoBound = std::numeric_limits<int64_t>::max();
  // Condemns empty blocks for bytes_to_page_out_ and, if `restore_overdraft`, for the overdraft.
  // False if it stopped because it had condemned `at_most` blocks.
  bool Condemn(bool restore_overdraft, int64_t at_most = kNoBound)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // What the ledger lacks, once all that is leaving has left, for the whole overdraft to be free.
  Bytes OverdraftShortage() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  Block* PopOldestEmpty() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Of the empty blocks, up to `at_most` that whole runs consist of, for paging out.
  BlockStack TakeFreeRuns(int64_t at_most) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  // Between cycles: how many blocks of the run are empty and in core, if none is in use. 0 for a
  // slab's first run.
  int64_t EmptyInFreeRun(uintptr_t run) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  int64_t flips() const ABSL_LOCKS_EXCLUDED(lock_);
  bool IsDenseSlab(int64_t slab) const ABSL_LOCKS_EXCLUDED(lock_);
  // `blocks` are counted in discarding_; those that could not be discarded go back to where
  // `origin` says: the condemned ones, or (kEmpty) the oldest in-core age.
  absl::Status DiscardAll(BlockStack blocks, BlockList origin) ABSL_LOCKS_EXCLUDED(lock_);
  void SettleBatch(BlockStack batch, bool discarded, BlockList origin)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  absl::Status DiscardPages(absl::Span<const AddressRange> ranges)
      ABSL_LOCKS_EXCLUDED(lock_, releaser_lock_);

  // One DiscardReserve's way through the blocks.
  struct ReserveWalk {
    int64_t flips = 0;  // flips_ at its begin
    int64_t cursor = 0;
    std::array<Block*, kBatchBlocks> blocks;
    size_t blocks_found = 0;
  };
  // Finds some blocks and counts them as a batch; it may find none. False at the end.
  bool NextReserveBatch(ReserveWalk& walk) ABSL_LOCKS_EXCLUDED(lock_);
  bool ReserveInUse(const Block& block) const;
  // Until no batch of DiscardReserve is in the kernel; nor anything else.
  void AwaitReserve() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void AwaitKernel() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  absl::Status AllowAccess() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  void UnpoisonReserve() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);

  absl::Status CheckBlock(const Block& block) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  absl::Status CheckMarks(const Block& block) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  absl::Status CheckLists() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);
  absl::Status CheckSums() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(lock_);

  // Read without the lock, also by the load barriers of running mutators; written with it in a
  // pause: the pause orders them. FinishCycleConcurrently leaves all of them as they are.
  const uintptr_t begin_;
  const uintptr_t size_;
  uintptr_t reserve_bit_ = kRegionBit;
  int parity_ = 0;
  bool has_retained_ = false;

  const Options options_;
  platform::System& system_;
  Ledger& ledger_;

  mutable absl::Mutex lock_;
  SlabFrontier frontier_ ABSL_GUARDED_BY(lock_);
  BlockStack empty_ ABSL_GUARDED_BY(lock_);
  BlockStack partly_full_ ABSL_GUARDED_BY(lock_);
  BlockStack retained_ ABSL_GUARDED_BY(lock_);
  PageOutQueue page_out_ ABSL_GUARDED_BY(lock_);
  int64_t discarding_ ABSL_GUARDED_BY(lock_) = 0;       // blocks on list kDiscarding
  int64_t settled_batches_ ABSL_GUARDED_BY(lock_) = 0;  // of those, given back or not
  int64_t reserve_batches_ ABSL_GUARDED_BY(lock_) = 0;  // of DiscardReserve, in the kernel
  int64_t advising_ ABSL_GUARDED_BY(lock_) = 0;         // calls of AdviseDenseSlabs
  int64_t regions_kept_ ABSL_GUARDED_BY(lock_) = 0;     // for evacuation, in this cycle
  int64_t least_regions_kept_ ABSL_GUARDED_BY(lock_) = 0;
  int64_t most_regions_kept_ ABSL_GUARDED_BY(lock_) = 0;
  int64_t taken_for_evacuation_ ABSL_GUARDED_BY(lock_) = 0;  // regions, since the last flip
  bool in_cycle_ ABSL_GUARDED_BY(lock_) = false;
  bool reserve_protected_ ABSL_GUARDED_BY(lock_) = false;
  bool reserve_poisoned_ ABSL_GUARDED_BY(lock_) = false;
  int64_t flips_ ABSL_GUARDED_BY(lock_) = 0;
  int64_t flipped_ ABSL_GUARDED_BY(lock_) = 0;         // blocks that are
  int64_t flipped_cursor_ ABSL_GUARDED_BY(lock_) = 0;  // no block below this index is flipped
  int64_t ticks_since_cycle_ ABSL_GUARDED_BY(lock_) = 0;
  Bytes overdraft_ ABSL_GUARDED_BY(lock_);         // see Limit
  Bytes last_resort_ ABSL_GUARDED_BY(lock_);       // likewise
  Bytes hard_limit_slack_ ABSL_GUARDED_BY(lock_);  // likewise
  bool in_part_ ABSL_GUARDED_BY(lock_) = false;    // see EvacuateInPart
  int64_t in_part_cursor_ ABSL_GUARDED_BY(lock_) = 0;  // the index of the block to begin with
  Bytes bytes_to_page_out_ ABSL_GUARDED_BY(lock_);
  Bytes debited_ ABSL_GUARDED_BY(lock_);
  absl::Status last_failure_ ABSL_GUARDED_BY(lock_);

  // One thread at a time talks to the kernel; nothing that allocates, returns or flips takes it.
  absl::Mutex releaser_lock_ ABSL_ACQUIRED_BEFORE(lock_);
  const std::unique_ptr<platform::RangeReleaser> releaser_ ABSL_PT_GUARDED_BY(releaser_lock_);
  std::unique_ptr<DenseSlabs> dense_slabs_ ABSL_GUARDED_BY(releaser_lock_);  // or null

  // Pushed and counted by many threads without the lock; on cache lines of their own.
  alignas(64) SharedBlockList full_;
  alignas(64) std::atomic<int64_t> allocated_{0};
  std::atomic<int64_t> fragmentation_{0};
  std::atomic<int64_t> open_{0};
  std::atomic<int64_t> failed_regions_{0};  // in this cycle
};

}  // namespace ebb::copyspace

#endif  // EBB_COPYSPACE_COPY_SPACE_H_
