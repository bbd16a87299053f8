#include "heap/rc/owner.h"

#include <algorithm>
#include <exception>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/log/check.h"
#include "absl/log/log.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "heap/rc/counted_type.h"
#include "heap/rc/owner_queues.h"
#include "heap/region_walk.h"
#include "platform/clock.h"

namespace ebb::rc {

using internal::Cell;
using internal::CellList;
using internal::CellTable;
using internal::CountedObject;
using internal::OwnerQueues;

namespace {

// So many objects that wait are destroyed for each that is made: more than one, so that a thread
// that drops as fast as it makes keeps up.
constexpr int64_t kPerObjectMade = 4;
// A thread keeps up to so many free cells for itself.
constexpr int64_t kMostFree = 2 * internal::CellChunk::kCells;
// So many are destroyed between two safepoints, where there may be safepoints.
constexpr int64_t kDestroyedBetweenSafepoints = 256;
// How long an automatic detection waits for threads that own suspects.
constexpr absl::Duration kPatienceOfAutomatic = absl::Milliseconds(1);
// How long Collect waits for its turn before it looks whether somebody waits for it.
constexpr absl::Duration kWaitForTurn = absl::Microseconds(200);
// How often Step looks at the clock.
constexpr int64_t kPerClockReading = 16;

}  // namespace

constinit thread_local Owner* Owner::newest = nullptr;

// Release, when it was not one of several that the owner has.
void Cell::ReleaseSlow(Cell& cell) {
  Outcome outcome;
  // Relaxed: as in Release, which has just counted down if it is this thread's.
  if (cell.owner_.load(std::memory_order_relaxed) == internal::this_thread) {
    outcome = cell.MergeZero();
  } else {
    internal::ThreadIndex owner;
    outcome = cell.ReleaseShared(owner);
    if (outcome == Outcome::kQueue) outcome = OwnerQueues::Get().Push(owner, cell);
  }
  if (outcome == Outcome::kDead) Owner::Died(cell);
}

Owner::Owner(Domain& domain, Mutator& mutator)
    : mutator_(mutator),
      domain_(domain.state()),
      table_(domain_->table()),
      lazy_(domain_->options().reclaim == Reclaim::kLazy) {
  if (Mutator::Current(domain_->heap()) != &mutator) {
    throw MisuseError(
        "ebb::rc::Owner: its Mutator must be the calling thread's, of the domain's heap, and not "
        "suspended: make an ebb::Mutator of that heap on this thread first");
  }
  domain_->Add(tally_);
  OwnerQueues::Get().Enter();
  older_ = std::exchange(newest, this);
}

Owner::~Owner() {
  const Owner* found = newest;
  while (found != nullptr && found != this) found = found->older_;
  CHECK(found != nullptr) << "an ebb::rc::Owner must be destroyed by the thread that made it";
  Step();
  OwnerQueues::Get().Leave(&Owner::Died);
  Step();
  Owner** link = &newest;
  while (*link != this) link = &(*link)->older_;
  *link = older_;
  // What could not be destroyed here, since the mutator is blocked.
  while (!dead_.empty()) table_.AddOrphan(dead_.Pop());
  table_.Give(std::move(free_));
  domain_->Remove(tally_);
}

void Owner::ThrowNone() {
  throw MisuseError(
      "ebb::rc::MakePtr on a thread without an Owner: make an rc::Owner, of the domain that the "
      "object is to belong to, on this thread first");
}

Owner* Owner::Find(const CellTable& table) {
  Owner* owner = newest;
  while (owner != nullptr && &owner->table_ != &table) owner = owner->older_;
  return owner;
}

bool Owner::MayDestroy() const { return Mutator::Current(domain_->heap()) == &mutator_; }

absl::StatusOr<Cell*> Owner::TakeCell() {
  absl::StatusOr<CellList> cells = table_.Take(mutator_);
  if (!cells.ok()) return std::move(cells).status();
  free_.PushAll(*cells);
  detection_due_ = domain_->IsDetectionDue();
  return &free_.Pop();
}

void Owner::StepIfDue() {
  if (OwnerQueues::IsDrainDue() || table_.has_orphans() || !dead_.empty()) [[unlikely]] {
    Step(kPerObjectMade);
  }
  if (detection_due_) [[unlikely]] {
    detection_due_ = false;
    DetectIfFree();
  }
}

// Whoever is at it already does it for all.
void Owner::DetectIfFree() {
  const internal::DomainState::DetectionTurn turn(*domain_, absl::ZeroDuration());
  if (!turn.has_begun() || !domain_->IsDetectionDue() || !CheckMayDetect().ok()) return;
  const absl::Status status = DetectCycles(turn, kPatienceOfAutomatic).status();
  if (!status.ok()) LOG_FIRST_N(WARNING, 10) << status;
}

absl::StatusOr<Detection> Owner::Collect(absl::Duration patience) {
  if (absl::Status status = CheckMayDetect(); !status.ok()) return status;
  Step();  // what waits to be destroyed may refer to something
  for (;;) {
    std::optional<internal::DomainState::DetectionTurn> turn;
    {
      const Blocking blocking(mutator_);
      turn.emplace(*domain_, kWaitForTurn);
    }
    if (turn->has_begun()) return DetectCycles(*turn, patience);
    // The one that is at it may wait for this thread; so may a pause of another heap.
    Step(/*objects=*/0);
    Mutator::SafepointOfThread();
  }
}

absl::Status Owner::CheckMayDetect() const {
  constexpr char kWhat[] = "ebb::rc::Domain::Collect";
  if (destroying_) {
    return absl::FailedPreconditionError(
        absl::StrCat(kWhat, " in the destructor of a counted object: call it outside"));
  }
  return mutator_.CheckMayStop(kWhat);
}

absl::StatusOr<Detection> Owner::DetectCycles(const internal::DomainState::DetectionTurn& turn,
                                              absl::Duration patience) {
  CellList dead;
  const absl::Cleanup keep = [&] { dead_.PushAll(dead); };  // if something is thrown
  absl::StatusOr<Detection> detection = domain_->DetectCycles(turn, mutator_, patience, dead);
  dead_.PushAll(dead);
  while (!lazy_ && !dead_.empty()) {
    DestroyDead(0, kDestroyedBetweenSafepoints);
    Mutator::SafepointOfThread();
  }
  return detection;
}

bool Owner::Step(int64_t objects, absl::Duration time) {
  if (destroying_ || !MayDestroy()) return !dead_.empty();
  destroying_ = true;  // so that what dies here only joins the list
  OwnerQueues::Get().Drain(&Owner::Died);
  destroying_ = false;
  dead_.PushAll(dropped_);
  if (table_.has_orphans()) {
    CellList orphans = table_.TakeOrphans();
    dead_.PushAll(orphans);
  }
  const bool timed = time != absl::InfiniteDuration();
  const int64_t start = timed ? platform::MonotonicNanos() : 0;
  while (objects > 0 && !dead_.empty()) {
    if (timed && absl::Nanoseconds(platform::MonotonicNanos() - start) >= time) break;
    const int64_t now = timed ? std::min(objects, kPerClockReading) : objects;
    DestroyDead(0, now);
    objects -= now;
  }
  return !dead_.empty();
}

void Owner::Died(Cell& cell) {
  CellTable& table = *cell.chunk().table;
  Owner* owner = Find(table);
  if (owner == nullptr) return table.AddOrphan(cell);
  if (owner->destroying_) return owner->dropped_.Append(cell);
  owner->dead_.Push(cell);
  if (!owner->lazy_ && owner->MayDestroy()) {
    owner->DestroyDead(owner->dead_.size() - 1, INT64_MAX);
  }
}

inline void Owner::Destroy(Cell& cell) {
  ebb::Field<CountedObject>& address = *cell.address();
  const Ref<CountedObject> object = address.load();
  const internal::CountedType& type = *ebb::internal::TypeOf(object.bits()).counted;
  if (type.destroy != nullptr) {
    try {
      type.destroy(object.bits());
    } catch (const std::exception& error) {
      LOG(ERROR) << "the destructor of a counted object has thrown: " << error.what();
    } catch (...) {
      LOG(ERROR) << "the destructor of a counted object has thrown something";
    }
  }
  address = nullptr;
  internal::Tally::Add(tally_.destroyed);
  if (cell.Finish()) GiveCell(cell);
}

void Owner::DestroyDead(int64_t rest, int64_t objects) {
  const NoSafepoint scope(mutator_);  // an object stays where it is while its destructor runs
  destroying_ = true;
  for (; objects > 0 && dead_.size() > rest; --objects) {
    Destroy(dead_.Pop());
    dead_.PushAll(dropped_);
  }
  destroying_ = false;
}

void Owner::Free(Cell& cell) {
  CellTable& table = *cell.chunk().table;
  if (Owner* owner = Find(table); owner != nullptr) return owner->GiveCell(cell);
  CellList one;
  one.Push(cell);
  table.Give(std::move(one));
}

void Owner::GiveCell(Cell& cell) {
  free_.Push(cell);
  if (free_.size() > kMostFree) [[unlikely]]
    table_.Give(std::exchange(free_, CellList()));
}

}  // namespace ebb::rc
