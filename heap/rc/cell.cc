#include "heap/rc/cell.h"

namespace ebb::rc::internal {

constinit thread_local ThreadIndex this_thread = kOwnsNothing;

static_assert(sizeof(Cell) == sizeof(uint32_t));
static_assert(sizeof(CellChunk) <= CellChunk::kBytes);

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
  shared().fetch_or(kForGood, std::memory_order_acquire);
  owner_.store(kImmortal, std::memory_order_relaxed);
}

Cell::Outcome Cell::MergeZeroSlow(int64_t word) {
  do {
    if ((word & kForGood) != 0) {
      MakeImmortal();
      return Outcome::kAlive;
    }
    // Acq_rel: acquire as in MergeZero; release, for whoever will see the last reference go.
  } while (!shared().compare_exchange_weak(word, word | kMerged, std::memory_order_acq_rel,
                                           std::memory_order_acquire));
  return CountIn(word) == 0 ? Outcome::kDead : Outcome::kAlive;
}

Cell::Outcome Cell::ReleaseShared(ThreadIndex& owner) {
  // Acquire: pairs with the release of who merged. If this reads kNoOwner, then what was counted
  // before that, this thread's reference too, is in the word that is read next.
  owner = owner_.load(std::memory_order_acquire);
  if (owner == kImmortal) return Outcome::kAlive;
  int64_t word = shared().load(std::memory_order_relaxed);  // only to begin with
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
    next = queue ? word | kQueued : word - kOne;
    // Acq_rel: release, so that all that this thread did with the object comes before its
    // destruction by another; acquire, so that if this thread destroys it, that comes after all
    // that others did. Pairs with itself, MergeZero and MergeQueued.
  } while (!shared().compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                           std::memory_order_relaxed));
  // inv.owner-holds: the word was not merged, and this thread's reference is not in a shared count
  // of zero; so it was in the owner's, and `owner` was loaded before that could go to zero.
  if (queue) return Outcome::kQueue;
  return (next & kMerged) != 0 && CountIn(next) == 0 ? Outcome::kDead : Outcome::kAlive;
}

Cell::Outcome Cell::MergeQueued(ThreadIndex owner) {
  // It may have been merged since it was queued: then the count that is taken out is the queue's.
  int64_t owners = 0;
  if (owner_.load(std::memory_order_relaxed) == owner) {  // as in Retain
    owners = owners_count();
    owner_.store(kNoOwner, std::memory_order_release);  // as in MergeZero
  }
  int64_t word = shared().load(std::memory_order_relaxed);  // only to begin with
  int64_t next;
  do {
    if ((word & kForGood) != 0 || owners >= kMany) {
      MakeImmortal();
      return Outcome::kAlive;
    }
    next = ((word + (owners - 1) * kOne) & ~kQueued) | kMerged;
    // Acq_rel: as in ReleaseShared.
  } while (!shared().compare_exchange_weak(word, next, std::memory_order_acq_rel,
                                           std::memory_order_relaxed));
  return CountIn(next) == 0 ? Outcome::kDead : Outcome::kAlive;
}

bool Cell::Upgrade() {
  // Acquire, and before the word is: pairs with the release in set_next. If this is half a link,
  // the word says that the cell is dead.
  const ThreadIndex owner = owner_.load(std::memory_order_acquire);
  int64_t word = shared().load(std::memory_order_relaxed);  // only to begin with
  // Not merged, so there is an owner (a dead cell that a weak reference names is merged); and if
  // that is this thread, nobody can take the cell from it meanwhile.
  if ((word & (kMerged | kForGood)) == 0 && owner == this_thread && owners_count() < UINT32_MAX) {
    ++owners_count();
    return true;
  }
  do {
    if ((word & kForGood) != 0) return true;  // its release counts nothing either
    // inv.one-death. Not merged: there is an owner, and its merge, if it comes first, fails this
    // exchange.
    if ((word & kMerged) != 0 && CountIn(word) == 0) return false;
    // Acquire: the object's body, as a release of it, or its making, published it.
  } while (!shared().compare_exchange_weak(word, word + kOne, std::memory_order_acquire,
                                           std::memory_order_relaxed));
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
  // Acq_rel: of this and the ReleaseWeak of the last weak reference, exactly one sees the other's
  // change.
  return WeakIn(shared().fetch_or(kGone, std::memory_order_acq_rel)) == 0;
}

int64_t Cell::Count() const {
  // Relaxed, both: a snapshot.
  const ThreadIndex owner = owner_.load(std::memory_order_relaxed);
  const int64_t count = CountIn(shared().load(std::memory_order_relaxed));
  return owner == kNoOwner ? count : count + owners_count();
}

}  // namespace ebb::rc::internal
