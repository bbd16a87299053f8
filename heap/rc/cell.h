// Cell: the side record of a counted object, and the protocol of its counts. Design:
// docs/design/counting.md

#ifndef EBB_HEAP_RC_CELL_H_
#define EBB_HEAP_RC_CELL_H_

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "heap/field.h"
#include "heap/rc/thread_index.h"
#include "heap/ref.h"

namespace ebb::rc::internal {

class CellTable;
struct CellChunk;

// What an address column refers to.
struct CountedObject {};

// Biased counts (Choi, Shull, Torrellas: Biased Reference Counting, PACT 2018; with the queue of
// PEP 703). An object's count is the sum of two: the owner's, which its thread changes without
// atomics, and the shared one, which everybody else changes, and which may be negative. Merging
// adds the first to the second, and then there is no owner.
//
// inv.owner-holds: a cell that has an owner has an owner's count of at least one, so it is alive;
// but for the owner that is merging it.
// inv.queue-holds: a reference dropped by another thread while the shared count is zero is not
// counted down: the owner's queue has it, and the cell lives until the owner takes it out.
// inv.one-death: exactly one thread sees a cell die: the owner whose count goes to zero and who
// sees a shared word of zero, or finds zero as it merges; or who takes a merged count from one to
// zero; or a detection that executes it. From then on Upgrade fails. What has a finalizer is given
// one more life, for that, once: by whom it died, who alone knows of it.
// inv.waiting: where there are Locals, a cell whose count goes to zero waits in one list, of whom
// it died by, and may be given a reference again meanwhile. It dies when its list's thread finds
// that no Local names it and that it has had no reference since before it looked
// (heap/rc/zero_count_lists.h).
//
// inv.suspect: whoever drops a reference of a cell makes it a suspect no more, in the same change
// of the word; but for an owner that it still has. See heap/rc/cycle_detector.h.
//
// Models: heap/rc/biased_counts.pml, heap/rc/weak_upgrade.pml, heap/rc/detection.pml,
// heap/rc/local.pml.
//
// A Cell is where its owner's index is; its other parts lie at the same place of other columns of
// its chunk. So threads that count one object do not write what others read: the owner writes its
// count, others write the shared one, and all read the index.
class Cell {
 public:
  enum class Outcome {
    kAlive,
    kDead,   // the caller is the one that reclaims it, or in whose list it waits
    kWaits,  // it waits in a list, and has no reference again
    kQueue,  // the caller hands the reference to the queue of `owner`
  };

  Cell() = default;  // free
  Cell(const Cell&) = delete;
  Cell& operator=(const Cell&) = delete;

  // One more reference; the caller holds one. Any thread.
  void Retain() {
    // Relaxed: an owner's index is written by its own thread, or by one that found its thread gone
    // and is ordered by a lock; any other value leads to the shared count, which is right for all.
    if (owner_.load(std::memory_order_relaxed) == this_thread) [[likely]] {
      if (ChangeOwnersCount(1) != 0) [[likely]]
        return;
    }
    RetainSlow();
  }
  // One reference less: the caller's.
  void Release() {
    // Relaxed: as above.
    if (owner_.load(std::memory_order_relaxed) == this_thread) [[likely]] {
      if (ChangeOwnersCount(-1) != 0) [[likely]]
        return;
    }
    ReleaseSlow(*this);
  }

  // What Release does when it is not one of several. By the owner, whose count is zero:
  Outcome MergeZero();
  // By any other thread.
  Outcome ReleaseShared(ThreadIndex& owner);
  // A reference that a queue has, taken out of the queue of `owner` by its thread, or when there is
  // no such thread any more.
  Outcome MergeQueued(ThreadIndex owner);

  // Weak references. Retain and release of one; true: the object has gone, and this was the last
  // that named its cell.
  void RetainWeak();
  bool ReleaseWeak();
  // One more reference, unless the cell is dead. By who holds a weak one.
  bool Upgrade();

  // From here on it is alive for good. Any thread that holds a reference.
  void MakeImmortal();

  // One more reference. By a thread of which a Local names it, so it may have none.
  void RetainNamed();
  // Whether it is in a list of those that Locals may name (inv.waiting). By who has just found it
  // dead, or is told that it may change.
  bool is_waiting() const;
  enum class Verdict {
    kAlive,  // it has references, and waits no more
    kWaits,
    kDead,  // as of Outcome: the caller is the one that reclaims it
  };
  // By its list's thread, who has taken it out. Around the look for Locals that name it: from the
  // first on, whoever gives it a reference shows; the second, if none named it.
  Verdict BeginJudgement();
  // In the place of the first, of one that nobody has looked at since it died.
  void LeaveList();
  Verdict EndJudgement();
  // Both, where there are no Locals any more. kAlive or kDead.
  Verdict JudgeUnnamed();

  // Cycle detection (heap/rc/cycle_detector.h).
  //
  // Makes it a suspect, until a reference to it is dropped or it starts anew. Any cell, dead and
  // free ones too; any thread. Returns its owner: a hint, and no index if the cell is in a list.
  ThreadIndex Suspect();
  // Merges it, and makes it a suspect again, if `owner` owns it. By that thread, or under its
  // queue's lock when there is none.
  void MergeSuspect(ThreadIndex owner);
  // A suspect's count, if it is merged or the calling thread's own; else 0.
  int64_t CountOfSuspect() const;
  // Makes a suspect that has so many references, one at least, condemned: it dies, unless an
  // Upgrade comes first (CellTable::PardonForUpgrade). Where there is no weak reference nothing is
  // written.
  bool Condemn(int64_t count);
  // Whether it is condemned, and since then no reference was counted up or down.
  bool IsStillCondemned(int64_t count) const;
  // One more reference, unless it is condemned no more. By the detecting thread, which condemned
  // it.
  bool RetainCondemned();
  // Of what weak references name.
  bool is_condemned() const;
  // Neither condemned nor a suspect any more.
  void Pardon();
  // What is condemned for good dies. By the detecting thread, which alone knows it but for weak
  // references.
  void Execute();

  // Finalizers (docs/design/finalization.md). Its weak references are cleared: it was found dead,
  // or to be garbage, and is left to finalizers. No Upgrade succeeds any more.
  bool is_cleared() const;
  // What is condemned for good is alive, and cleared. By the detecting thread, which alone knows it
  // but for weak references.
  void Clear();
  // What is dead is alive, with one reference, and cleared. By who alone knows it but for weak
  // references.
  void Revive();

  // What detections leave alone (Domain::Untrack, Freeze). A hint, unless the caller has a
  // reference.
  bool is_untracked() const;
  void set_untracked(bool untracked) const;
  bool IsLeftAlone() const;
  // One more reference, unless it is free or dead. While no other thread counts.
  bool TryRetain();

  // For Resize. Whether the caller's reference is the only one of any kind, for certain: false of
  // an object that another thread owns, or that is immortal. is_named(): whether a Local names it.
  bool IsHeldOnce(absl::FunctionRef<bool()> is_named);
  // One more reference, which is for the queue of `owner`: another thread, which merges the cell as
  // it takes it out. False if no other thread is the owner, or its queue has one already.
  bool RetainForQueue(ThreadIndex& owner);

  // Around the cell's life, by who alone knows of it.
  // One reference, of the calling thread if it owns anything.
  void Start();
  // The object has gone. True: no weak reference is left either, so the cell is free.
  bool Finish();

  // What a dead or free cell is linked by in a list; undefined until it has been set.
  Cell* next() const;
  void set_next(Cell* next);

  // The object, through the load barrier; null when the domain has gone. By attached threads.
  Ref<CountedObject> Load() const;
  // Whether there is one. Any thread.
  bool has_object() const;
  // Where its address is; null when the domain has gone.
  Field<CountedObject>* address() const;
  CellChunk& chunk() const;
  size_t index() const;  // in its chunk

  // How many references it has; of an immortal one: very many. Exact by its owner, or when no other
  // thread counts.
  int64_t Count() const;

 private:
  // The shared word: nine flags, the number of weak references, and the shared count, which is
  // signed and so in the upper half. One word, so that each step of the protocol is one atomic
  // change. Zero: there is an owner, and no reference but its own.
  static constexpr int64_t kQueued = 1;      // the owner's queue has a reference
  static constexpr int64_t kMerged = 2;      // there is no owner: the shared count is all there is
  static constexpr int64_t kGone = 4;        // the object has been destroyed
  static constexpr int64_t kForGood = 8;     // immortal
  static constexpr int64_t kSuspect = 16;    // a detection suspects it: inv.suspect
  static constexpr int64_t kCondemned = 32;  // it dies unless an Upgrade comes first
  static constexpr int64_t kCleared = 64;    // inv.cleared
  static constexpr int64_t kWaiting = 128;   // inv.waiting
  static constexpr int64_t kQuiet = 256;     // since a look began, no Local gave a reference
  static constexpr int64_t kOneWeak = 512;
  static constexpr int64_t kOne = int64_t{1} << 32;
  // Past these a counter is stuck for good, and its cell or object with it. Far below where a field
  // would overflow: threads that have passed the check may still add a few.
  static constexpr int64_t kManyWeak = int64_t{1} << 22;
  static constexpr int64_t kMany = int64_t{1} << 30;
  static constexpr int64_t CountIn(int64_t word) { return word >> 32; }
  static constexpr int64_t kWeakMask = (kOne - 1) & -kOneWeak;
  static constexpr int64_t WeakIn(int64_t word) { return (word & kWeakMask) / kOneWeak; }

  Outcome MergeZeroSlow(int64_t word);
  // `next`, the word of a merged cell without references, as it is when it dies: waiting if there
  // are Locals.
  int64_t Zero(int64_t next) const;
  // What a change of the word from `before` to `next` was.
  static Outcome OutcomeOf(int64_t before, int64_t next) {
    if ((next & kMerged) == 0 || CountIn(next) != 0) return Outcome::kAlive;
    return (before & kWaiting) == 0 ? Outcome::kDead : Outcome::kWaits;
  }
  int64_t Disown(ThreadIndex owner);
  int64_t CountOfSuspect(int64_t word) const;
  bool IsCountedOnce(int64_t word) const;
  bool FinishSlow();
  [[gnu::noinline]] void RetainSlow();
  [[gnu::noinline]] static void ReleaseSlow(Cell& cell);  // in owner.cc: reclaims

  // Relaxed, and not one change: only the owner writes it, and who else reads it (Count)
  // concludes nothing from it.
  std::atomic<uint32_t>& owners_count() const;
  uint32_t ChangeOwnersCount(int by);
  std::atomic<int64_t>& shared() const;

  std::atomic<ThreadIndex> owner_ = kNoOwner;
};

// What cycle detection leaves alone in a chunk, by a cell's index. Relaxed, all: who marks an
// object has a reference to it, or is told that it may be late (Domain::Freeze).
class CellMarks {
 public:
  // Relaxed: see above.
  void Set(size_t index) { words_[index / 64].fetch_or(Bit(index), std::memory_order_relaxed); }
  void Clear(size_t index) { words_[index / 64].fetch_and(~Bit(index), std::memory_order_relaxed); }
  void ClearAll() {
    // Relaxed: as all.
    for (std::atomic<uint64_t>& word : words_) word.store(0, std::memory_order_relaxed);
  }
  bool Test(size_t index) const {
    // Relaxed: as all.
    return (words_[index / 64].load(std::memory_order_relaxed) & Bit(index)) != 0;
  }
  int64_t Count() const {
    int64_t count = 0;
    for (const std::atomic<uint64_t>& word : words_) {
      count += std::popcount(word.load(std::memory_order_relaxed));  // as all
    }
    return count;
  }

 private:
  static uint64_t Bit(size_t index) { return uint64_t{1} << (index % 64); }

  static constexpr size_t kWords = 128;  // for CellChunk::kCells
  std::array<std::atomic<uint64_t>, kWords> words_ = {};

 public:
  static constexpr size_t kMost = 64 * kWords;
};

// Cells in aligned pieces of memory, column by column. They outlive the heap of their objects for
// as long as references name them; the addresses are an array in that heap, which is long enough to
// be a large object: it does not move, and the collector traces it as any other.
struct CellChunk {
  static constexpr size_t kBytes = size_t{128} << 10;
  static constexpr size_t kHeaderBytes = 256;
  static constexpr size_t kCells = (kBytes - kHeaderBytes) / 16;

  CellTable* table = nullptr;
  uint32_t number = 0;  // among the table's, under its lock
  // Element 0 of the address column; null once the domain has gone. Relaxed: it is set before a
  // cell of the chunk is published, and nulled when nobody uses the domain any more.
  std::atomic<Field<CountedObject>*> addresses = nullptr;
  // Null until the first is marked; then it stays.
  struct Marks {
    CellMarks untracked;
    CellMarks frozen;
  };
  std::atomic<Marks*> marks = nullptr;
  // `table`, where a Local may name a cell; null if none can. Relaxed: it is set before such a
  // Local is, and so before the reference that this was made from goes; who counts the last one
  // sees it as it sees that.
  std::atomic<const CellTable*> named_by_locals = nullptr;
  bool has_locals() const {
    return named_by_locals.load(std::memory_order_relaxed) != nullptr;  // see above
  }
  // Relaxed: nobody else knows the chunk any more.
  ~CellChunk() { delete marks.load(std::memory_order_relaxed); }
  // Acquire: pairs with the release in MakeMarks; the payload is the marks.
  Marks* FindMarks() const { return marks.load(std::memory_order_acquire); }
  // May throw std::bad_alloc.
  Marks& MakeMarks();
  // The array that `addresses` is in.
  uintptr_t AddressArray() const;
  alignas(kHeaderBytes) std::array<Cell, kCells> owners;
  std::array<std::atomic<uint32_t>, kCells> owners_counts = {};
  std::array<std::atomic<int64_t>, kCells> shared = {};
};

inline CellChunk& Cell::chunk() const {
  return *reinterpret_cast<CellChunk*>(reinterpret_cast<uintptr_t>(this) &
                                       ~(CellChunk::kBytes - 1));
}
inline size_t Cell::index() const { return static_cast<size_t>(this - chunk().owners.data()); }
inline std::atomic<uint32_t>& Cell::owners_count() const {
  // The columns are equally wide, so this is the cell's address and a constant.
  constexpr size_t kDistance = offsetof(CellChunk, owners_counts) - offsetof(CellChunk, owners);
  return *reinterpret_cast<std::atomic<uint32_t>*>(reinterpret_cast<uintptr_t>(this) + kDistance);
}
inline uint32_t Cell::ChangeOwnersCount(int by) {
  std::atomic<uint32_t>& count = owners_count();
  // Relaxed: see owners_count.
  const uint32_t changed = count.load(std::memory_order_relaxed) + static_cast<uint32_t>(by);
  count.store(changed, std::memory_order_relaxed);
  return changed;
}
inline std::atomic<int64_t>& Cell::shared() const { return chunk().shared[index()]; }
inline bool Cell::IsLeftAlone() const {
  const CellChunk::Marks* marks = chunk().FindMarks();
  return marks != nullptr && (marks->untracked.Test(index()) || marks->frozen.Test(index()));
}
inline Field<CountedObject>* Cell::address() const {
  // Relaxed: see `addresses`.
  Field<CountedObject>* first = chunk().addresses.load(std::memory_order_relaxed);
  return first == nullptr ? nullptr : first + index();
}
inline Ref<CountedObject> Cell::Load() const {
  const Field<CountedObject>* object = address();
  return object == nullptr ? Ref<CountedObject>() : object->load();
}

inline bool Cell::is_waiting() const {
  // Relaxed: who found it dead set the flag, or nothing is read on its strength.
  return (shared().load(std::memory_order_relaxed) & kWaiting) != 0;
}

inline void Cell::Start() {
  // Relaxed: who publishes a reference to the cell publishes these too.
  const bool owned = this_thread != kOwnsNothing;
  owners_count().store(owned ? 1 : 0, std::memory_order_relaxed);
  // Release: pairs with the acquire in Suspect, by a thread that has no reference; the payload is
  // the object. Where it is, the store into the address column publishes, which follows.
  shared().store(owned ? 0 : kOne | kMerged, std::memory_order_release);
  owner_.store(owned ? this_thread : kNoOwner, std::memory_order_relaxed);
}

inline Cell::Outcome Cell::MergeZero() {
  // Release: pairs with the acquire in ReleaseShared; the payload is what has been counted so far.
  owner_.store(kNoOwner, std::memory_order_release);
  // Acquire: pairs with the release in ReleaseShared of whoever brought the word to this value: all
  // that other threads did with the object comes before its destruction. A zero says that nobody
  // else has any reference, weak or not: none but a detection can be changing the word, and a
  // suspect's flag means nothing in a dead cell.
  const int64_t word = shared().load(std::memory_order_acquire);
  if (word == 0 && !chunk().has_locals()) return Outcome::kDead;
  return MergeZeroSlow(word);
}

inline bool Cell::Finish() {
  if (CellChunk::Marks* marks = chunk().FindMarks(); marks != nullptr) [[unlikely]] {
    marks->untracked.Clear(index());
    marks->frozen.Clear(index());
  }
  // Acquire: pairs with the release in ReleaseWeak. A zero has no flag: the owner found no other
  // reference of any kind.
  return shared().load(std::memory_order_acquire) == 0 || FinishSlow();
}

// The link takes the places of the owner's index and count, which mean nothing in a cell without
// counted references. It is odd, and so no index: who looks for the owner of a cell that may be
// dead finds none. Relaxed: lists are a thread's own, or under a lock.
inline Cell* Cell::next() const {
  const uintptr_t low = owner_.load(std::memory_order_relaxed) & ~ThreadIndex{1};
  return reinterpret_cast<Cell*>(uintptr_t{owners_count().load(std::memory_order_relaxed)} << 32 |
                                 low);
}

inline void Cell::set_next(Cell* next) {
  const uintptr_t bits = reinterpret_cast<uintptr_t>(next);
  // Relaxed: as in next.
  owner_.store(static_cast<uint32_t>(bits) | 1, std::memory_order_relaxed);
  owners_count().store(static_cast<uint32_t>(bits >> 32), std::memory_order_relaxed);
}

}  // namespace ebb::rc::internal

#endif  // EBB_HEAP_RC_CELL_H_
