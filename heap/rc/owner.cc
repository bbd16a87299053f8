#include "heap/rc/owner.h"

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/log/check.h"
#include "absl/log/log.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "heap/rc/counted_type.h"
#include "heap/rc/owner_queues.h"
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
// So many references of dead holders are counted down at once.
constexpr int64_t kReleasedAtOnce = 1024;
// How often Step looks at the clock.
constexpr int64_t kPerClockReading = 16;
constexpr char kNoOwner[] =
    "ebb::rc: neither a counted object nor a holder of any can be made on a thread without an "
    "Owner: make an rc::Owner, of the domain that it is to belong to, on this thread first";

}  // namespace

constinit thread_local Owner* Owner::newest = nullptr;

// Release, when it was not one of several that the owner has.
void Cell::ReleaseSlow(Cell& cell) {
  Outcome outcome;
  // What waits may be destroyed by its list's thread as soon as it has no reference.
  const CellTable& table = *cell.chunk().table;
  // Relaxed: as in Release, which has just counted down if it is this thread's.
  if (cell.owner_.load(std::memory_order_relaxed) == internal::this_thread) {
    outcome = cell.MergeZero();
  } else {
    internal::ThreadIndex owner;
    outcome = cell.ReleaseShared(owner);
    if (outcome == Outcome::kQueue) outcome = OwnerQueues::Get().Push(owner, cell);
  }
  if (outcome == Outcome::kDead) Owner::Died(cell);
  if (outcome == Outcome::kWaits) [[unlikely]]
    Owner::DiedAgain(table);
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
  OwnerQueues& queues = OwnerQueues::Get();  // made by the first who asks
  domain_->Add(tally_);
  if (domain_->coalescer() != nullptr) {
    absl::Cleanup remove = [this] { domain_->Remove(tally_); };
    log_ = &domain_->coalescer()->TakeLog();
    std::move(remove).Cancel();
  }
  // From here on no memory is needed.
  if (log_ != nullptr) internal::this_threads_log = log_;
  queues.Enter();
  locals_ = &OwnerQueues::Locals();
  older_ = std::exchange(newest, this);
}

Owner::~Owner() {
  const Owner* found = newest;
  while (found != nullptr && found != this) found = found->older_;
  CHECK(found != nullptr) << "an ebb::rc::Owner must be destroyed by the thread that made it";
  if (!IsOneOfSeveral()) {
    const bool forgotten =
        locals_->Forget([this](const Cell& cell) { return cell.chunk().table == &table_; });
    LOG_IF(ERROR, forgotten) << "an ebb::rc::Owner is destroyed before an ebb::rc::Local of its "
                                "thread, which reads as null from here on: make the Local after it";
  }
  while (Step()) {
  }
  OwnerQueues::Get().Leave(&Owner::Died);
  locals_ = &OwnerQueues::Locals();
  while (Step()) {
  }
  Owner** link = &newest;
  while (*link != this) link = &(*link)->older_;
  *link = older_;
  if (log_ != nullptr) {
    internal::this_threads_log = NewestLog();
    domain_->coalescer()->GiveLog(*log_);
  }
  // What could not be done here, in a NoSafepoint scope or since the mutator is blocked.
  dead_.PushAll(finalizable_);
  table_.AddOrphans({std::move(dead_), waiting_.TakeAll(), std::move(callbacks_)});
  table_.Give(free_);
  GiveFreed();
  domain_->Remove(tally_);
}

void Owner::ThrowNone() { throw MisuseError(kNoOwner); }

absl::StatusOr<Owner*> Owner::TryNewest() {
  if (newest == nullptr) return absl::FailedPreconditionError(kNoOwner);
  return newest;
}

Owner* Owner::Find(const CellTable& table) {
  Owner* owner = newest;
  while (owner != nullptr && &owner->table_ != &table) owner = owner->older_;
  return owner;
}

bool Owner::IsOneOfSeveral() const {
  int64_t count = 0;
  for (const Owner* owner = newest; owner != nullptr; owner = owner->older_) {
    if (&owner->table_ == &table_) ++count;
  }
  return count > 1;
}

internal::StoreLog* Owner::NewestLog() {
  for (const Owner* owner = newest; owner != nullptr; owner = owner->older_) {
    if (owner->log_ != nullptr) return owner->log_;
  }
  return nullptr;
}

bool Owner::IsEpochOfUse() const {
  return log_ != nullptr && (!waiting_.empty() || !dead_.empty() || !log_->empty() ||
                             domain_->coalescer()->has_left());
}

Owner::EagerPhase::EagerPhase(Owner& owner, bool wanted) : owner_(owner) {
  if (!wanted || owner.log_ == nullptr) return;
  const bool is_first = !owner.log_->is_eager();
  status_ = owner.domain_->coalescer()->BeginEager(*owner.log_);
  has_begun_ = status_.ok();
  // Stores that were not counted may have been of what waits.
  if (has_begun_ && is_first) owner.waiting_.MakeNewDue();
}

Owner::EagerPhase::~EagerPhase() {
  if (!has_begun_) return;
  owner_.domain_->coalescer()->EndEager(*owner_.log_);
}

bool Owner::MayDestroy() const { return Mutator::Current(domain_->heap()) == &mutator_; }

absl::StatusOr<Cell*> Owner::TakeCell() {
  if (absl::Status status = table_.Take(mutator_, free_); !status.ok()) return status;
  detection_due_ = domain_->IsDetectionDue();
  return &free_.Pop();
}

void Owner::StepIfDue() {
  if (--round_in_ <= 0) [[unlikely]]
    BeginRound();
  if (OwnerQueues::IsDrainDue() || table_.has_orphans() || !dead_.empty() || calls_due_ != 0)
      [[unlikely]] {
    StepSome(kPerObjectMade, absl::InfiniteDuration(), /*judges=*/!lazy_);
  }
  if (detection_due_) [[unlikely]] {
    detection_due_ = false;
    DetectIfFree();
  }
}

bool Owner::Step(int64_t objects, absl::Duration time) {
  if (destroying_ || !MayDestroy()) return false;
  const bool looks_at_all = !waiting_.has_due();  // before what is new becomes due
  // Others may have made this thread's objects wait, too: by their drops of what it owns.
  if (OwnerQueues::IsDrainDue() || table_.has_orphans()) TakeOver();
  const EagerPhase phase(*this, objects > 0 && IsEpochOfUse());
  if (looks_at_all) waiting_.MakeAllDue();
  return StepSome(objects, time, /*judges=*/true);
}

void Owner::Judge(int64_t cells) {
  AddDead(waiting_.JudgeDue(cells));
  AddDead(waiting_.JudgeNew(cells));
}

void Owner::BeginRound() {
  round_in_ = kMadePerRound;
  if (waiting_.empty() && log_ == nullptr) return;
  if (destroying_ || !MayDestroy()) return;
  const EagerPhase phase(*this, log_ != nullptr && IsEpochDue());
  if (!MayJudge()) return;
  waiting_.BeginRound();
  const int64_t others = dead_.size();
  AddDead(waiting_.JudgeDue(kDuePerRound));
  AddDead(waiting_.JudgeNew(log_ == nullptr ? kMadePerRound * kPerObjectMade : INT64_MAX));
  if (!lazy_) DestroyNew(others);
}

bool Owner::StepSome(int64_t objects, absl::Duration time, bool judges) {
  if (destroying_ || !MayDestroy()) return false;
  TakeOver();
  judges = judges && MayJudge();
  const bool timed = time != absl::InfiniteDuration();
  const int64_t start = timed ? platform::MonotonicNanos() : 0;
  const auto time_is_up = [&] {
    return timed && absl::Nanoseconds(platform::MonotonicNanos() - start) >= time;
  };
  int64_t looks = judges ? std::max(objects, internal::ZeroCountLists::kAtOnce) : 0;
  while (objects > 0 && !time_is_up()) {
    if (!dead_.empty()) {
      objects -= DestroyDead(0, timed ? std::min(objects, kPerClockReading) : objects, judges);
    } else if (looks > 0 && HasReady()) {
      const int64_t some = std::min(looks, internal::ZeroCountLists::kAtOnce);
      Judge(some);
      looks -= some;
    } else {
      break;
    }
  }
  CallWhatIsDue(objects, time_is_up);
  return !dead_.empty() || HasReady() || table_.has_orphans() || (calls_due_ != 0 && MayCall());
}

void Owner::TakeOver() {
  destroying_ = true;  // so that what dies here only joins the list
  OwnerQueues::Get().Drain(&Owner::Died);
  if (table_.has_orphans()) {
    CellTable::Orphans orphans = table_.TakeOrphans();
    dead_.PushAll(orphans.dead);
    waiting_.AddAll(std::move(orphans.waiting));
    // They died before the phase, maybe: a Field's uncounted reference may have been copied since.
    if (log_ != nullptr) waiting_.MakeNewDue();
    AddCalls(std::move(orphans.callbacks));
    domain_->holders().ReleaseDropped(kReleasedAtOnce);
  }
  destroying_ = false;
  dead_.PushAll(dropped_);
}

// Not while anything is called or set aside for a finalizer: a callback may be garbage itself.
bool Owner::MayCall() const {
  return !calling_ && !detecting_ && mutator_.CheckMayStop("a finalizer or WeakCallback").ok();
}

// What is called may make more calls due: those are for the next time.
void Owner::CallWhatIsDue(int64_t at_most, absl::FunctionRef<bool()> time_is_up) {
  for (int64_t calls = std::min(at_most, calls_due_); calls > 0; --calls) {
    if (time_is_up() || !CallOne()) return;
  }
}

bool Owner::CallOne() {
  if (!MayCall()) return false;
  calling_ = true;
  const absl::Cleanup end = [this] { calling_ = false; };
  if (dead_.empty() && !waiting_.has_new() && !callbacks_.empty()) {
    --calls_due_;
    CallBack(*callbacks_.Pop());
    return true;
  }
  if (finalizable_.empty()) return false;
  --calls_due_;
  Cell& cell = finalizable_.Pop();
  cell.Revive();
  CallFinalizer(cell);
  return true;
}

void Owner::CallFinalizer(Cell& cell) {
  const internal::CountedType& type = internal::CountedTypeOf(cell.Load());
  internal::Tally::Add(tally_.finalized);
  try {
    type.finalize(&cell);
  } catch (...) {
    domain_->ReportException(Called::kFinalizer, type.name);
  }
}

void Owner::CallBack(internal::Callback& callback) {
  if (!callback.Take()) return;
  try {
    std::move(callback.call)();
  } catch (...) {
    domain_->ReportException(Called::kWeakCallback, "");
  }
  callback.call = nullptr;
  if (callback.cell.ReleaseWeak()) Free(callback.cell);
}

void Owner::AddCalls(internal::CallbackList callbacks) {
  calls_due_ += callbacks.size();
  callbacks_.Append(std::move(callbacks));
}

void Owner::Died(Cell& cell) {
  CellTable& table = *cell.chunk().table;
  Owner* owner = Find(table);
  if (owner == nullptr) {
    CellTable::Orphans orphan;
    (cell.is_waiting() ? orphan.waiting : orphan.dead).Push(cell);
    return table.AddOrphans(std::move(orphan));
  }
  const bool waits = cell.is_waiting();
  if (waits) owner->waiting_.Add(cell);
  if (owner->destroying_) {
    if (!waits) owner->dropped_.Append(cell);
    return;
  }
  const int64_t others = owner->dead_.size();
  if (!waits) owner->dead_.Push(cell);
  if (!owner->lazy_ && owner->MayDestroy()) owner->DestroyNew(others);
}

void Owner::DestroyNew(int64_t others) {
  if (HasReady()) Judge(INT64_MAX);
  DestroyDead(others, INT64_MAX, /*judges=*/true);
}

// It may have waited for long, and in this thread's list.
void Owner::DiedAgain(const CellTable& table) {
  Owner* owner = Find(table);
  if (owner == nullptr) return;
  // In a lazy domain too, where stores are coalesced: most that waits has had references since.
  if (!owner->lazy_ || owner->log_ != nullptr) owner->waiting_.MakeAllDue();
  if (owner->lazy_) return;
  if (!owner->destroying_ && owner->MayDestroy()) owner->DestroyNew(owner->dead_.size());
}

inline void Owner::Destroy(Cell& cell) {
  if (!table_.callbacks().empty()) [[unlikely]]
    AddCalls(table_.callbacks().TakeOf(cell));
  ebb::Field<CountedObject>& address = *cell.address();
  const Ref<CountedObject> object = address.load();
  const internal::CountedType& type = internal::CountedTypeOf(object);
  if (type.finalize != nullptr && !cell.is_cleared()) {
    ++calls_due_;
    return finalizable_.Append(cell);
  }
  if (type.destroy != nullptr) {
    try {
      type.destroy(object.bits());
    } catch (...) {
      domain_->ReportException(Called::kDestructor, type.name);
    }
  }
  address = nullptr;
  internal::Tally::Add(tally_.destroyed);
  if (cell.Finish()) GiveCell(cell);
}

int64_t Owner::DestroyDead(int64_t rest, int64_t objects, bool judges) {
  const NoSafepoint scope(mutator_);  // an object stays where it is while its destructor runs
  destroying_ = true;
  int64_t destroyed = 0;
  while (destroyed < objects && dead_.size() > rest) {
    Destroy(dead_.Pop());
    ++destroyed;
    // Down a list each leaves one: that is not worth a list.
    while (dropped_.size() == 1 && destroyed < objects && !HasReady()) {
      Destroy(dropped_.Pop());
      ++destroyed;
    }
    dead_.PushAll(dropped_);
    if (judges && HasReady()) [[unlikely]]
      Judge(INT64_MAX);
  }
  destroying_ = false;
  return destroyed;
}

void Owner::Free(Cell& cell) {
  CellTable& table = *cell.chunk().table;
  if (Owner* owner = Find(table); owner != nullptr) return owner->GiveCell(cell);
  const Cell* const one = &cell;
  table.Give({&one, 1});
}

void Owner::GiveCell(Cell& cell) {
  if (recent_.size() < static_cast<int64_t>(kMostRecent)) return recent_.Push(cell);
  given_[given_count_++] = &cell;
  if (given_count_ == kGivenAtOnce) [[unlikely]]
    GiveAll();
}

void Owner::GiveAll() {
  table_.Give(absl::MakeSpan(given_).first(given_count_));
  given_count_ = 0;
}

void Owner::GiveFreed() {
  while (!recent_.empty()) given_[given_count_++] = &recent_.Pop();
  GiveAll();
}

}  // namespace ebb::rc
