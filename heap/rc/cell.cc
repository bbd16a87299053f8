#include "heap/rc/cell.h"

#include <memory>

#include "absl/log/check.h"
#include "heap/rc/cell_table.h"
#include "heap/region_walk.h"

namespace ebb::rc::internal {

constinit thread_local ThreadIndex this_thread = kOwnsNothing;

static_assert(sizeof(Cell) == sizeof(uint32_t));
static_assert(sizeof(CellChunk) <= CellChunk::kBytes);
static_assert(CellChunk::kCells <= CellMarks::kMost);

void Cell::RetainSlow() {
  const ThreadIndex owner = owner_.load(std::memory_order_relaxed);  // as in Retain
  if (owner == kImmortal) return;  // read only: threads that share it do not contend
  // The owner's count has gone round.
  if (owner == this_thread) return MakeImmortal();
  // Relaxed: who has a reference adds one; nothing is published by that.
  const int64_t before = shared().fetch_add(kOne, std::memory_order_relaxed);
  if (CountIn(before) >= kMany) [[unlikely]]
    MakeImmortal();
}

void Cell::MakeImmortal() {
  // The flag first: whoever no longer finds the owner's index finds the flag as it changes the
  // word. Acquire, so that the index is not written before: a change of the word that comes before
  // the flag is a release, by a thread that cannot have read kImmortal by then.
  const int64_t before = shared().fetch_or(kForGood, std::memory_order_acquire);
  // The link of a list is there: whoever takes it out of that does the rest (BeginJudgement).
  if ((before & kWaiting) != 0) return;
  owner_.store(kImmortal, std::memory_order_relaxed);
}

int64_t Cell::Zero(int64_t next) const {
  return chunk().has_locals() ? next | kWaiting | kQuiet : next;
}

Cell::Outcome Cell::MergeZeroSlow(int64_t word) {
  int64_t next;
  do {
    if ((word & kForGood) != 0) {
      MakeImmortal();
      return Outcome::kAlive;
    }
    next = (word | kMerged) & ~kSuspect;  // inv.suspect
    if (CountIn(next) == 0) next = Zero(next);
    // Acq_rel: acquire as in MergeZero; release, for whoever will see the last reference go.
  } while (!shared().compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                           std::memory_order_acquire));
  return OutcomeOf(word, next);
}

Cell::Outcome Cell::ReleaseShared(ThreadIndex& owner) {
  // Acquire: pairs with the release of who merged. If this reads kNoOwner, then what was counted
  // before that, this thread's reference too, is in the word that is read next.
  owner = owner_.load(std::memory_order_acquire);
  if (owner == kImmortal) return Outcome::kAlive;
  // Acquire, as of each word that the exchange below fails with: pairs with the release of who
  // dropped references before, one of which a Local may have been made from; so Zero sees that.
  int64_t word = shared().load(std::memory_order_acquire);
  int64_t next;
  bool queue;
  do {
    if ((word & kForGood) != 0) return Outcome::kAlive;
    if (CountIn(word) <= -kMany) [[unlikely]] {
      // The owner has given away so many, and takes none out of its queue.
      MakeImmortal();
      return Outcome::kAlive;
    }
    queue = CountIn(word) == 0 && (word & (kMerged | kQueued)) == 0;
    next = (queue ? word | kQueued : word - kOne) & ~kSuspect;  // inv.suspect
    if (OutcomeOf(word, next) == Outcome::kDead) next = Zero(next);
    // Acq_rel: release, so that all that this thread did with the object comes before its
    // destruction by another; acquire, so that if this thread destroys it, that comes after all
    // that others did. Pairs with itself, MergeZero and MergeQueued.
  } while (!shared().compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                           std::memory_order_acquire));
  // inv.owner-holds: the word was not merged, and this thread's reference is not in a shared count
  // of zero; so it was in the owner's, and `owner` was loaded before that could go to zero.
  if (queue) return Outcome::kQueue;
  return OutcomeOf(word, next);
}

// What the owner counts, if that is `owner`; then it is the owner no more. 0 if there is none.
int64_t Cell::Disown(ThreadIndex owner) {
  if (owner_.load(std::memory_order_relaxed) != owner) return 0;  // as in Retain
  const int64_t owners = owners_count().load(std::memory_order_relaxed);
  owner_.store(kNoOwner, std::memory_order_release);  // as in MergeZero
  return owners;
}

Cell::Outcome Cell::MergeQueued(ThreadIndex owner) {
  // It may have been merged since it was queued: then the count that is taken out is the queue's.
  const int64_t owners = Disown(owner);
  int64_t word = shared().load(std::memory_order_acquire);  // as in ReleaseShared
  int64_t next;
  do {
    if ((word & kForGood) != 0 || owners >= kMany) {
      MakeImmortal();
      return Outcome::kAlive;
    }
    next = ((word + (owners - 1) * kOne) & ~(kQueued | kSuspect)) | kMerged;  // inv.suspect
    if (OutcomeOf(word, next) == Outcome::kDead) next = Zero(next);
    // Acq_rel: as in ReleaseShared.
  } while (!shared().compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                           std::memory_order_acquire));
  return OutcomeOf(word, next);
}

void Cell::RetainNamed() {
  // Relaxed: as in Retain.
  if (owner_.load(std::memory_order_relaxed) == this_thread) return Retain();
  int64_t word = shared().load(std::memory_order_relaxed);  // only to begin with
  do {
    if ((word & kForGood) != 0) return;
    // Relaxed: who names it gives it a reference; nothing is published by that.
  } while (
      !shared().compare_exchange_weak(word, (word + kOne) & ~kQuiet, std::memory_order_relaxed));
  if (CountIn(word) >= kMany) [[unlikely]]
    MakeImmortal();
}

// A cell that waits has no owner, whatever is in that place. As soon as it waits no more it may die
// by another thread, and be in that one's list: so this comes first. Relaxed: any value that is no
// index says the same, and the exchange that follows orders the next link.
void Cell::LeaveList() { owner_.store(kNoOwner, std::memory_order_relaxed); }

Cell::Verdict Cell::BeginJudgement() {
  LeaveList();
  int64_t word = shared().load(std::memory_order_relaxed);  // only to begin with
  bool alive;
  do {
    alive = CountIn(word) > 0 || (word & kForGood) != 0;
    // Acq_rel: release, of the place of the link, to who will find it dead; acquire, pairs with the
    // release of who dropped its references: a Local that was made from one of them is seen now.
  } while (!shared().compare_exchange_weak(word,
                                           alive ? word & ~(kWaiting | kQuiet) : word | kQuiet,
                                           std::memory_order_acq_rel, std::memory_order_relaxed));
  if ((word & kForGood) != 0) MakeImmortal();
  return alive ? Verdict::kAlive : Verdict::kWaits;
}

Cell::Verdict Cell::EndJudgement() {
  int64_t word = shared().load(std::memory_order_relaxed);  // only to begin with
  bool alive;
  do {
    alive = CountIn(word) > 0 || (word & kForGood) != 0;
    if (!alive && (word & kQuiet) == 0) return Verdict::kWaits;  // named by a Local again, maybe
    // Acq_rel: as in BeginJudgement; acquire too for what others did with the object, which comes
    // before its destruction.
  } while (!shared().compare_exchange_weak(word, word & ~(kWaiting | kQuiet),
                                           std::memory_order_acq_rel, std::memory_order_relaxed));
  if ((word & kForGood) != 0) MakeImmortal();
  return alive ? Verdict::kAlive : Verdict::kDead;
}

Cell::Verdict Cell::JudgeUnnamed() {
  Verdict verdict;
  do {
    verdict = BeginJudgement();
    if (verdict == Verdict::kWaits) verdict = EndJudgement();
  } while (verdict == Verdict::kWaits);  // an Upgrade came between
  return verdict;
}

ThreadIndex Cell::Suspect() {
  // Acquire: pairs with the release in Start, whose payload is the object; and with those of who
  // dropped references before: that they are no longer in any field.
  shared().fetch_or(kSuspect, std::memory_order_acquire);
  return owner_.load(std::memory_order_relaxed);  // a hint: MergeSuspect and CountOfSuspect decide
}

void Cell::MergeSuspect(ThreadIndex owner) {
  const int64_t owners = Disown(owner);
  if (owners == 0) return;  // inv.owner-holds: it is another's, or merged
  int64_t word = shared().load(std::memory_order_relaxed);  // only to begin with
  do {
    if ((word & kForGood) != 0 || owners >= kMany) return MakeImmortal();
    // Acq_rel: acquire as in Suspect; release, so that who sees it merged sees what the owner did.
  } while (!shared().compare_exchange_weak(word, (word + owners * kOne) | kMerged | kSuspect,
                                           std::memory_order_acq_rel, std::memory_order_relaxed));
}

int64_t Cell::CountOfSuspect(int64_t word) const {
  if ((word & (kSuspect | kForGood | kGone | kWaiting)) != kSuspect) return 0;
  if ((word & kMerged) != 0) return CountIn(word);
  // Relaxed: if it is the calling thread's index, that thread wrote it.
  if (owner_.load(std::memory_order_relaxed) != this_thread) return 0;
  return CountIn(word) + owners_count().load(std::memory_order_relaxed);
}

int64_t Cell::CountOfSuspect() const {
  // Acquire: pairs with the release of MergeSuspect; the payload is what the owner did before.
  return CountOfSuspect(shared().load(std::memory_order_acquire));
}

bool Cell::Condemn(int64_t count) {
  // Acquire, as of the exchange: pairs with the release of who dropped references: what they did
  // with the object comes before its destruction.
  int64_t word = shared().load(std::memory_order_acquire);
  do {
    if (count == 0 || CountOfSuspect(word) != count) return false;
    // Nobody can upgrade, or make a weak reference: who could has access, and is found by that.
    if (WeakIn(word) == 0) return true;
  } while (!shared().compare_exchange_weak(word, word | kCondemned, std::memory_order_acquire,
                                           std::memory_order_relaxed));
  return true;
}

bool Cell::IsStillCondemned(int64_t count) const {
  // Acquire: pairs with the release of who dropped references, as in Condemn.
  const int64_t word = shared().load(std::memory_order_acquire);
  return count > 0 && CountOfSuspect(word) == count &&
         ((word & kCondemned) != 0 || WeakIn(word) == 0);
}

bool Cell::is_condemned() const {
  // Relaxed: changed by the detecting thread, or under the lock of CellTable::PardonForUpgrade.
  return (shared().load(std::memory_order_relaxed) & kCondemned) != 0;
}

void Cell::Pardon() {
  // Relaxed: nothing is published.
  shared().fetch_and(~(kSuspect | kCondemned), std::memory_order_relaxed);
}

void Cell::Execute() {
  // Relaxed, all: the detecting thread alone knows the cell, but for weak references, which learn
  // no more from it than that it is dead.
  owner_.store(kNoOwner, std::memory_order_relaxed);
  int64_t word = shared().load(std::memory_order_relaxed);
  if (WeakIn(word) == 0) {
    return shared().store((word & kCleared) | kMerged, std::memory_order_relaxed);
  }
  // Relaxed: as above.
  while (!shared().compare_exchange_weak(word, (word & (kWeakMask | kCleared)) | kMerged,
                                         std::memory_order_relaxed)) {
  }
}

bool Cell::RetainCondemned() {
  int64_t word = shared().load(std::memory_order_relaxed);  // only to begin with
  do {
    if ((word & kCondemned) == 0 && WeakIn(word) != 0) return false;
    // Relaxed: nothing is published.
  } while (!shared().compare_exchange_weak(word, word + kOne, std::memory_order_relaxed));
  return true;
}

bool Cell::is_cleared() const {
  // Relaxed: it was set before whoever asks got a reference, or knew the cell alone.
  return (shared().load(std::memory_order_relaxed) & kCleared) != 0;
}

void Cell::Clear() {
  // First of the two, so that an Upgrade sees the one or the other. Relaxed: nothing is published.
  shared().fetch_or(kCleared, std::memory_order_relaxed);
  Pardon();
}

void Cell::Revive() {
  owner_.store(kNoOwner, std::memory_order_relaxed);  // as in Execute, all
  int64_t word = shared().load(std::memory_order_relaxed);
  while (!shared().compare_exchange_weak(word, (word & kWeakMask) | kOne | kMerged | kCleared,
                                         std::memory_order_relaxed)) {
  }
}

CellChunk::Marks& CellChunk::MakeMarks() {
  if (Marks* there = FindMarks(); there != nullptr) return *there;
  auto made = std::make_unique<Marks>();
  Marks* before = nullptr;
  // Acq_rel: this thread's marks are published, or another's found.
  if (!marks.compare_exchange_strong(before, made.get(), std::memory_order_acq_rel,
                                     std::memory_order_acquire)) {
    return *before;
  }
  return *made.release();
}

uintptr_t CellChunk::AddressArray() const {
  constexpr const TypeInfo& kType = kArrayTypeInfo<ebb::Field<CountedObject>>;
  // Relaxed: see `addresses`.
  return reinterpret_cast<uintptr_t>(addresses.load(std::memory_order_relaxed)) -
         kType.ArrayElements(0);
}

bool Cell::is_untracked() const {
  const CellChunk::Marks* marks = chunk().FindMarks();
  return marks != nullptr && marks->untracked.Test(index());
}

void Cell::set_untracked(bool untracked) const {
  if (untracked) {
    chunk().MakeMarks().untracked.Set(index());
  } else if (CellChunk::Marks* marks = chunk().FindMarks(); marks != nullptr) {
    marks->untracked.Clear(index());
  }
}

bool Cell::has_object() const {
  const Field<CountedObject>* object = address();
  // Relaxed: a snapshot.
  return object != nullptr &&
         ebb::internal::Slot(reinterpret_cast<uintptr_t>(object)).load(std::memory_order_relaxed) !=
             0;
}

bool Cell::TryRetain() {
  // Relaxed, both: no other thread counts.
  const int64_t word = shared().load(std::memory_order_relaxed);
  const bool alive =
      (word & (kForGood | kWaiting)) != 0 ||
      ((word & kMerged) != 0 ? CountIn(word) > 0 : IsIndex(owner_.load(std::memory_order_relaxed)));
  if (alive) RetainNamed();
  return alive;
}

bool Cell::Upgrade() {
  // Relaxed: only this thread's own index decides anything, and this thread has written it.
  const ThreadIndex owner = owner_.load(std::memory_order_relaxed);
  int64_t word = shared().load(std::memory_order_relaxed);  // only to begin with
  // Not merged, so there is an owner (a dead cell that a weak reference names is merged); and if
  // that is this thread, nobody can take the cell from it meanwhile.
  if ((word & (kMerged | kForGood | kCondemned | kCleared)) == 0 && owner == this_thread &&
      owners_count().load(std::memory_order_relaxed) < UINT32_MAX) {
    ChangeOwnersCount(1);
    return true;
  }
  for (;;) {
    if ((word & kCleared) != 0) return false;
    if ((word & kForGood) != 0) return true;  // its release counts nothing either
    // inv.one-death. Not merged: there is an owner, and its merge, if it comes first, fails this
    // exchange. Waiting: its judge will see the reference.
    if ((word & (kMerged | kWaiting)) == kMerged && CountIn(word) == 0) return false;
    if ((word & kCondemned) != 0) [[unlikely]] {
      if (!chunk().table->PardonForUpgrade(*this)) return false;
      word = shared().load(std::memory_order_relaxed);  // only to begin with
      continue;
    }
    // Acquire: the object's body, as a release of it, or its making, published it.
    if (shared().compare_exchange_weak(word, (word + kOne) & ~kQuiet, std::memory_order_acquire,
                                       std::memory_order_relaxed)) {
      break;
    }
  }
  if (CountIn(word) >= kMany) [[unlikely]]
    MakeImmortal();
  return true;
}

void Cell::RetainWeak() {
  int64_t word = shared().load(std::memory_order_relaxed);  // only to begin with
  do {
    if (WeakIn(word) >= kManyWeak) return;
    // Relaxed: who has a reference adds one.
  } while (!shared().compare_exchange_weak(word, word + kOneWeak, std::memory_order_relaxed));
}

bool Cell::ReleaseWeak() {
  int64_t word = shared().load(std::memory_order_relaxed);  // only to begin with
  do {
    if (WeakIn(word) >= kManyWeak) return false;
    // Acq_rel: what this thread did with the cell comes before its next use; pairs with itself and
    // with Finish.
  } while (!shared().compare_exchange_weak(word, word - kOneWeak, std::memory_order_acq_rel,
                                           std::memory_order_relaxed));
  return (word & kGone) != 0 && WeakIn(word) == 1;
}

bool Cell::FinishSlow() {
  // Acquire: as in Finish. Without a weak reference nobody can make one.
  if (WeakIn(shared().load(std::memory_order_acquire)) == 0) return true;
  // Acq_rel: of this and the ReleaseWeak of the last weak reference, exactly one sees the other's
  // change.
  return WeakIn(shared().fetch_or(kGone, std::memory_order_acq_rel)) == 0;
}

bool Cell::IsCountedOnce(int64_t word) const {
  if ((word & kForGood) != 0 || WeakIn(word) != 0) return false;
  // There is no owner, whatever is in that place.
  if ((word & kMerged) != 0) return CountIn(word) == 1;
  // Relaxed, both: as in Retain.
  if (owner_.load(std::memory_order_relaxed) != this_thread) return false;
  return CountIn(word) + int64_t{owners_count().load(std::memory_order_relaxed)} == 1;
}

// What is read may be late, but not in part: the owner's count is this thread's own, or in the word
// with the rest. So at some moment there was no other reference; and whoever makes one has it from
// the caller's, or from a Local. Who has it from a Local takes kQuiet away: it is there for the
// same reason as in a judgement (docs/design/deferral.md), and nobody judges what has a reference.
bool Cell::IsHeldOnce(absl::FunctionRef<bool()> is_named) {
  // Acquire: pairs with the releases in ReleaseShared, MergeZeroSlow, MergeQueued and ReleaseWeak;
  // the payload is all that others did with the object, Locals they made of it among that.
  if (!IsCountedOnce(shared().load(std::memory_order_acquire))) return false;
  if (!chunk().has_locals()) return true;
  // Acq_rel: acquire as above, and release too, so that is_named() comes between the two changes.
  const bool once = IsCountedOnce(shared().fetch_or(kQuiet, std::memory_order_acq_rel));
  const bool named = is_named();
  const int64_t word = shared().fetch_and(~kQuiet, std::memory_order_acq_rel);
  return once && !named && (word & kQuiet) != 0 && IsCountedOnce(word);
}

// As if there were a second reference, dropped while the shared count was zero, and the first one
// copied since.
bool Cell::RetainForQueue(ThreadIndex& owner) {
  // Acquire: as in ReleaseShared.
  owner = owner_.load(std::memory_order_acquire);
  if (!IsIndex(owner) || owner == this_thread) return false;
  int64_t word = shared().load(std::memory_order_relaxed);  // only to begin with
  do {
    if ((word & (kForGood | kMerged | kQueued)) != 0) return false;
    // Relaxed: who has a reference adds one, and drops none.
  } while (
      !shared().compare_exchange_weak(word, (word + kOne) | kQueued, std::memory_order_relaxed));
  return true;
}

int64_t Cell::Count() const {
  // Relaxed, both: a snapshot.
  const ThreadIndex owner = owner_.load(std::memory_order_relaxed);
  if (owner == kImmortal) return kMany;
  const int64_t count = CountIn(shared().load(std::memory_order_relaxed));
  return IsIndex(owner) ? count + owners_count().load(std::memory_order_relaxed) : count;
}

}  // namespace ebb::rc::internal
