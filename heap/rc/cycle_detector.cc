#include "heap/rc/cycle_detector.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <new>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/log/log.h"
#include "heap/rc/counted_type.h"
#include "heap/ref.h"
#include "platform/clock.h"

namespace ebb::rc::internal {

namespace {

// Of an object that lives whatever its Fields say.
constexpr int32_t kManyFromOutside = int32_t{1} << 30;
constexpr int32_t kEndOfList = -1;
// So many objects are looked at between two safepoints: some 20 microseconds. At least one chunk's
// states are.
constexpr int64_t kLooksBetweenSafepoints = 1024;
// How long the thread waits for others before it looks whether a pause is wanted of its other
// heaps.
constexpr absl::Duration kWaitBetweenSafepoints = absl::Microseconds(200);

int32_t Clamp(int64_t count) {
  return static_cast<int32_t>(std::min<int64_t>(count, kManyFromOutside));
}

}  // namespace

// A cell's entry in the side arrays.
class CycleDetector::Place {
 public:
  Place(SuspectChunk& chunk, size_t index) : chunk_(&chunk), index_(index) {}
  // By its number among all.
  Place(const std::vector<std::unique_ptr<SuspectChunk>>& chunks, int32_t number)
      : Place(*chunks[number / CellChunk::kCells], number % CellChunk::kCells) {}

  Cell& cell() const { return chunk_->chunk->owners[index_]; }
  State& state() const { return chunk_->states[index_]; }
  int32_t& outside() const { return chunk_->outside[index_]; }
  int32_t& count() const { return chunk_->counts[index_]; }
  int32_t number() const {
    return chunk_->number * static_cast<int32_t>(CellChunk::kCells) + static_cast<int32_t>(index_);
  }

 private:
  SuspectChunk* chunk_;
  size_t index_;
};

template <typename F>
absl::Status CycleDetector::RunTimed(F f) {
  const int64_t start = platform::MonotonicNanos();
  const absl::Cleanup end = [&] {
    for (const auto& [owner, request] : requests_) OwnerQueues::Get().CancelMerge(owner, *request);
    requests_.clear();
    figures_.time += absl::Nanoseconds(platform::MonotonicNanos() - start);
  };
  try {
    f();
  } catch (const std::bad_alloc&) {
    chunks_.clear();  // so that there is memory for the message
    return absl::ResourceExhaustedError(
        "no memory to look for cycles of counted objects, 9 bytes a cell: try again later, or "
        "raise the process's memory limit");
  }
  return absl::OkStatus();
}

absl::Status CycleDetector::Look(absl::Duration patience) {
  return RunTimed([&] {
    MakeSideArrays();
    CountFromOutside();
    MarkAlive();
    figures_.suspects = MakeRoomForCells();
    MakeSuspects(patience);
    Decide();
  });
}

absl::Status CycleDetector::LookAgain(absl::Duration patience) {
  return RunTimed([&] {
    for (const std::unique_ptr<SuspectChunk>& side : chunks_) {
      Mutator::SafepointOfThread();
      for (State& state : side->states) {
        state = state == State::kAside ? State::kFound : State::kAlive;
      }
    }
    MakeRoomForCells();
    MakeSuspects(patience);
    Decide();
  });
}

void CycleDetector::Decide() {
  RecordCounts();
  SpareWhatIsReferredTo();
  Condemn();
  SetFinalizableAside();
  Execute();
}

void CycleDetector::MakeSideArrays() {
  for (CellChunk* chunk : table_.Chunks()) {
    Mutator::SafepointOfThread();  // the arrays' pages are faulted in
    SuspectChunk& side = *chunks_.emplace_back(std::make_unique<SuspectChunk>());
    side.chunk = chunk;
    side.number = static_cast<int32_t>(chunks_.size() - 1);
    by_chunk_[chunk] = &side;
  }
}

// Each object's count, less the Fields that lead to it: racy, and only a first look.
void CycleDetector::CountFromOutside() {
  for (const std::unique_ptr<SuspectChunk>& side : chunks_) {
    for (size_t i = 0; i < CellChunk::kCells; ++i) {
      SafepointNowAndThen();
      const Place place(*side, i);
      const Ref<CountedObject> object = place.cell().Load();
      if (object == nullptr || place.cell().IsLeftAlone()) continue;
      ++figures_.visited;
      const CountedType& type = CountedTypeOf(object);
      if (type.finalize != nullptr) ++with_finalizer_;
      if (type.is_uncollectable) ++uncollectable_;
      place.state() = State::kFound;
      place.outside() += place.cell().is_waiting() ? kManyFromOutside : Clamp(place.cell().Count());
      ForEachField(place.cell(), [](auto, Place target) { --target.outside(); });
    }
  }
}

void CycleDetector::MarkAlive() {
  ForEachNamed([this](Place place) { MarkFrom(place, State::kAlive, [](Cell&) {}); });
  ForEachFound([this](Place place) {
    if (place.outside() > 0) MarkFrom(place, State::kAlive, [](Cell&) {});
  });
}

// For all that may be set aside. How many are found.
int64_t CycleDetector::MakeRoomForCells() {
  size_t found = 0;
  ForEachFound([&found](Place) { ++found; });
  finalizable_.clear();
  if (with_finalizer_ > 0) finalizable_.reserve(found);
  if (uncollectable_ > 0 || debug_.save_all) kept_.reserve(kept_.size() + found);
  return static_cast<int64_t>(found);
}

// inv.suspect holds for what is still kFound, once its owner has merged it.
void CycleDetector::MakeSuspects(absl::Duration patience) {
  ForEachFound([this](Place place) {
    const ThreadIndex owner = place.cell().Suspect();
    if (owner == this_thread || !IsIndex(owner)) return;
    std::shared_ptr<OwnerQueues::MergeRequest>& request = requests_[owner];
    if (request == nullptr) request = std::make_shared<OwnerQueues::MergeRequest>();
    request->cells.push_back(&place.cell());
  });
  if (!requests_.empty()) AwaitMerges(patience);
}

void CycleDetector::AwaitMerges(absl::Duration patience) {
  {
    const Blocking blocking(mutator_);
    for (const auto& [owner, request] : requests_) {
      OwnerQueues::Get().RequestMerge(owner, request);
    }
  }
  const int64_t start = platform::MonotonicNanos();
  for (const auto& [owner, request] : requests_) {
    for (bool done = false; !done;) {
      Mutator::SafepointOfThread();
      const absl::Duration left = patience - absl::Nanoseconds(platform::MonotonicNanos() - start);
      const Blocking blocking(mutator_);
      done = request->done.WaitForNotificationWithTimeout(
                 std::clamp(left, absl::ZeroDuration(), kWaitBetweenSafepoints)) ||
             left <= absl::ZeroDuration();
    }
    OwnerQueues::Get().CancelMerge(owner, *request);  // so that what comes later is no suspect
  }
}

void CycleDetector::RecordCounts() {
  SpareUnless([](Place place) {
    place.count() = Clamp(place.cell().CountOfSuspect());
    return place.count() > 0 && !place.cell().IsLeftAlone();
  });
}

// Of a kind of which there was none when all were counted: made since then, in a cell of another
// object. There is no room for it to be set aside.
bool CycleDetector::IsUnexpected(const CountedType& type) const {
  return (type.finalize != nullptr && with_finalizer_ == 0) ||
         (type.is_uncollectable && uncollectable_ == 0);
}

// What was spared may have had other Fields when its references were last subtracted; so all is
// subtracted again, until only what is still kFound was.
void CycleDetector::SpareWhatIsReferredTo() {
  for (bool spared = true; spared;) {
    ForEachFound([](Place place) { place.outside() = place.count(); });
    ForEachFound([this](Place place) {
      const CountedType* type = ForEachField(place.cell(), [](auto, Place target) {
        if (target.state() == State::kFound) --target.outside();
      });
      if (type != nullptr && IsUnexpected(*type)) place.outside() = kManyFromOutside;
    });
    spared = !SpareUnless([](Place place) { return place.outside() == 0; });
  }
}

// A suspect that is not condemned has been copied or dropped: somebody refers to it, or did. Who
// upgrades a weak reference to one that is condemned pardons it.
void CycleDetector::Condemn() {
  table_.BeginCondemning();
  bool all = SpareUnless([](Place place) { return place.cell().Condemn(place.count()); });
  int64_t pardoned = 0;
  while (!(all && SpareWhatIsNamed() && KeepUncollectable() && table_.EndCondemning(pardoned))) {
    SpareWhatIsReferredTo();
    all = SpareUnless([](Place place) { return place.cell().IsStillCondemned(place.count()); });
  }
}

// By Locals. Whether there was nothing to spare.
bool CycleDetector::SpareWhatIsNamed() {
  bool none = true;
  ForEachNamed([&](Place place) {
    Spare(place);
    none = false;
  });
  return none;
}

// Whether there was nothing to keep.
bool CycleDetector::KeepUncollectable() {
  if (uncollectable_ == 0 && !debug_.save_all) return true;
  const auto take = [this](const CountedType& type, Cell& cell) {
    if (!type.is_uncollectable && !debug_.save_all) return false;
    if (!cell.RetainCondemned()) return false;
    LOG_IF(INFO, debug_.uncollectable) << "garbage that is kept: " << type.name;
    return true;
  };
  return SetAside(kept_, &Detection::kept, take, [this](Place place) { Spare(place); });
}

// All of them first: what one of them leads to may have a finalizer too.
void CycleDetector::SetFinalizableAside() {
  if (with_finalizer_ == 0) return;
  const auto take = [this](const CountedType& type, Cell& cell) {
    if (type.finalize == nullptr || cell.is_cleared()) return false;
    LOG_IF(INFO, debug_.collectable) << "garbage that is finalized: " << type.name;
    cell.Retain();
    return true;
  };
  SetAside(finalizable_, &Detection::finalized, take, [this](Place place) {
    MarkFrom(place, State::kAside, [this](Cell& cell) {
      cell.Clear();
      if (!table_.callbacks().empty()) callbacks_.Append(table_.callbacks().TakeOf(cell));
    });
  });
}

template <typename Take, typename F>
bool CycleDetector::SetAside(std::vector<Cell*>& cells, int64_t Detection::* figure, Take take,
                             F f) {
  const size_t before = cells.size();
  ForEachFound([&](Place place) {
    Cell& cell = place.cell();
    if (take(CountedTypeOf(cell.Load()), cell)) cells.push_back(&cell);
  });
  figures_.*figure += static_cast<int64_t>(cells.size() - before);
  for (size_t i = before; i < cells.size(); ++i) {
    const Place place(*Find(&cells[i]->chunk()), cells[i]->index());
    if (place.state() == State::kFound) f(place);
  }
  return cells.size() == before;
}

template <typename F>
bool CycleDetector::SpareUnless(F f) {
  bool all = true;
  ForEachFound([&](Place place) {
    if (f(place)) return;
    Spare(place);
    all = false;
  });
  return all;
}

void CycleDetector::Spare(Place place) {
  MarkFrom(place, State::kAlive, [](Cell& cell) { cell.Pardon(); });
}

// Fields that lead from dead to dead are null from here on, and nothing is counted for that.
void CycleDetector::Execute() {
  ForEachFound([&](Place place) {
    ForEachField(place.cell(), [](std::atomic_ref<Cell*> field, Place target) {
      // Relaxed: only who destroys the object reads it again, ordered by the list.
      if (target.state() == State::kFound) field.store(nullptr, std::memory_order_relaxed);
    });
    LOG_IF(INFO, debug_.collectable)
        << "garbage that is destroyed: " << CountedTypeOf(place.cell().Load()).name;
    ++figures_.collected;
    place.cell().Execute();
    dead_.Append(place.cell());
  });
}

template <typename F>
void CycleDetector::ForEachFound(F f) {
  for (const std::unique_ptr<SuspectChunk>& side : chunks_) {
    Mutator::SafepointOfThread();
    for (size_t i = 0; i < CellChunk::kCells; ++i) {
      if (side->states[i] != State::kFound) continue;
      SafepointNowAndThen();
      f(Place(*side, i));
    }
  }
}

template <typename F>
void CycleDetector::ForEachNamed(F f) {
  OwnerQueues::Get().ForEachNamed([&](Cell* cell) {
    SuspectChunk* const side = Find(&cell->chunk());
    if (side == nullptr) return;
    const Place place(*side, cell->index());
    if (place.state() == State::kFound) f(place);
  });
}

template <typename F>
const CountedType* CycleDetector::ForEachField(Cell& cell, F f) {
  const Ref<CountedObject> object = cell.Load();
  if (object == nullptr) return nullptr;
  const CountedType& type = CountedTypeOf(object);
  for (uint32_t i = 0; i < type.field_count; ++i) {
    const std::atomic_ref<Cell*> field(
        *reinterpret_cast<Cell**>(object.bits() + type.field_offsets[i]));
    // Relaxed: what is read of the target is in chunks that this thread knows.
    Cell* target = FieldTarget(field.load(std::memory_order_relaxed));
    if (target == nullptr) continue;
    SuspectChunk* const side = Find(&target->chunk());
    if (side != nullptr) f(field, Place(*side, target->index()));
  }
  return &type;
}

SuspectChunk* CycleDetector::Find(const CellChunk* chunk) {
  if (last_found_.first != chunk) {
    const auto found = by_chunk_.find(chunk);
    if (found == by_chunk_.end()) return nullptr;
    last_found_ = *found;
  }
  return last_found_.second;
}

template <typename F>
void CycleDetector::MarkFrom(Place root, State state, F f) {
  int32_t list = kEndOfList;
  const auto mark = [&](Place place) {
    place.state() = state;
    place.outside() = std::exchange(list, place.number());
    f(place.cell());
  };
  mark(root);
  while (list != kEndOfList) {
    const Place place(chunks_, list);
    list = place.outside();
    SafepointNowAndThen();
    ForEachField(place.cell(), [&](auto, Place target) {
      if (target.state() == State::kFound) mark(target);
    });
  }
}

void CycleDetector::SafepointNowAndThen() {
  if (++steps_ % kLooksBetweenSafepoints == 0) Mutator::SafepointOfThread();
}

}  // namespace ebb::rc::internal
