#include "heap/rc/cycle_detector.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <new>
#include <string_view>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/log/log.h"
#include "absl/types/span.h"
#include "heap/rc/counted_type.h"
#include "heap/rc/cycle_detector_walks.h"
#include "heap/rc/holder_table.h"
#include "heap/rc/no_memory.h"
#include "heap/ref.h"
#include "heap/region_walk.h"
#include "platform/clock.h"

namespace ebb::rc::internal {

namespace {

// Of an object that lives whatever its Fields say.
constexpr int32_t kMany = int32_t{1} << 30;
constexpr char kWhat[] = "ebb::rc::Domain::Collect";
// How long the thread waits for others before it looks whether a pause is wanted of its other
// heaps.
constexpr absl::Duration kWaitBetweenSafepoints = absl::Microseconds(200);

absl::Status NoMemoryToDetect(std::string_view why) {
  return NoMemory(
      "no memory to look for cycles of counted objects, 5 bytes a cell: try again later, or raise "
      "the process's memory limit",
      why);
}

int32_t Clamp(int64_t count) { return static_cast<int32_t>(std::min<int64_t>(count, kMany)); }

}  // namespace

absl::Status CycleDetector::RunTimed(absl::FunctionRef<absl::Status()> f) {
  const int64_t start = platform::MonotonicNanos();
  const absl::Cleanup end = [&] {
    for (const auto& [owner, request] : requests_) {
      // Null if there was no memory for it.
      if (request != nullptr) OwnerQueues::Get().CancelMerge(owner, *request);
    }
    requests_.clear();
    figures_.time += absl::Nanoseconds(platform::MonotonicNanos() - start);
  };
  try {
    return f();
  } catch (const std::bad_alloc&) {
    chunks_.Clear();  // so that there is memory for the message
    return NoMemoryToDetect("std::bad_alloc");
  }
}

absl::Status CycleDetector::Look(absl::Duration patience, bool mixed) {
  return RunTimed([&] {
    if (absl::Status status = MakeSideArrays(); !status.ok()) return status;
    if (mixed) {
      if (absl::Status status = LookAtHolders(); !status.ok()) return status;
    }
    CountFromOutside();
    MarkAlive();
    DecideAboutHolders();
    MakeRoomForCells();
    figures_.suspects = MakeSuspects(patience);
    return Decide();
  });
}

absl::Status CycleDetector::LookAgain(absl::Duration patience) {
  return RunTimed([&] {
    for (SuspectChunk& side : chunks_) {
      Mutator::SafepointOfThread();
      for (State& state : side.states) {
        state = state == State::kAside ? State::kFound : State::kAlive;
      }
    }
    MakeRoomForCells();
    MakeSuspects(patience);
    return Decide();
  });
}

absl::Status CycleDetector::Decide() {
  if (holders_at_stake_) {
    const auto decide = [this](auto& stopped) { return DecideInPause(stopped); };
    if (absl::Status status = heap_.RunBetweenCycles(kWhat, decide); !status.ok()) return status;
  } else {
    DecideWhatIsGarbage();
  }
  LogWhatIsSetAside();
  Execute();
  return absl::OkStatus();
}

void CycleDetector::DecideWhatIsGarbage() {
  CountInside();
  Condemn();
  SetFinalizableAside();
}

absl::Status CycleDetector::DecideInPause(ebb::internal::StoppedHeap& stopped) {
  const int64_t start = platform::MonotonicNanos();
  const absl::Cleanup end = [&] {
    reachable_.reset();
    figures_.pause += absl::Nanoseconds(platform::MonotonicNanos() - start);
  };
  try {
    reachable_.emplace();
    holders_.MakeRoomToEmpty();
    MarkFromRoots(stopped);
    DecideWhatIsGarbage();
    EmptyDeadHolders(stopped);
    return absl::OkStatus();
  } catch (const std::bad_alloc&) {
    PardonAll();
    throw;
  }
}

void CycleDetector::PardonAll() {
  ForEachFound([](Place place) { place.cell().Pardon(); });
  ForEachAside([](Place place) { place.cell().Pardon(); });
  for (Cell* cell : TakeFinalizable()) cell->Release();
  for (; kept_.size() > kept_before_; kept_.pop_back()) kept_.back()->Release();
  for (int64_t pardoned = 0; !table_.EndCondemning(pardoned);) {
  }
}

// In a pause all threads but this one are at a safepoint.
void CycleDetector::PassSafepoint() {
  if (!in_pause()) safepoint_.Pass();
}

absl::Status CycleDetector::MakeSideArrays() {
  const std::vector<CellChunk*> chunks = table_.Chunks();
  by_chunk_.reserve(chunks.size());
  if (absl::Status status = chunks_.Make(chunks); !status.ok()) {
    return NoMemoryToDetect(status.message());
  }
  for (SuspectChunk& side : chunks_) by_chunk_[side.chunk] = &side;
  return absl::OkStatus();
}

// Where there are holders, in a pause, O(their number): while a cycle moves them they cannot be
// read.
absl::Status CycleDetector::LookAtHolders() {
  if (holders_.size() == 0) return absl::OkStatus();
  return heap_.RunBetweenCycles(kWhat, [this](ebb::internal::StoppedHeap&) {
    holders_.ForEach([this](const CountedType& type, uintptr_t holder) {
      internal::ForEachField(type, holder,
                             [this](auto, Cell& target) { held_.push_back(&target); });
    });
    return absl::OkStatus();
  });
}

// Each object's count, less the Fields that lead to it: racy, and only a first look.
void CycleDetector::CountFromOutside() {
  for (SuspectChunk& side : chunks_) {
    for (size_t i = 0; i < CellChunk::kCells; ++i) {
      safepoint_.Pass();
      Prefetch(side, i + kPrefetchDistance);
      const Place place(side, i);
      const Ref<CountedObject> object = place.cell().Load();
      if (object == nullptr || place.cell().IsLeftAlone()) continue;
      ++figures_.visited;
      const CountedType& type = CountedTypeOf(object);
      if (type.finalize != nullptr) ++with_finalizer_;
      if (type.is_uncollectable) ++uncollectable_;
      place.state() = State::kFound;
      place.count() += place.cell().is_waiting() ? kMany : Clamp(place.cell().Count());
      ForEachField(place.cell(), [](auto, Place target) { --target.count(); });
    }
  }
  for (Cell* cell : held_) {
    safepoint_.Pass();
    if (SuspectChunk* side = Find(&cell->chunk()); side != nullptr) --side->counts[cell->index()];
  }
}

void CycleDetector::MarkAlive() {
  ForEachNamed([this](Place place) { MarkFrom(place, State::kAlive, [](Cell&) {}); });
  ForEachFound([this](Place place) {
    if (place.count() > 0) MarkFrom(place, State::kAlive, [](Cell&) {});
  });
}

// A cycle that passes through a holder passes through a suspect that leads to a traced object, and
// that to another. Where there is none, what holders refer to lives for this time.
void CycleDetector::DecideAboutHolders() {
  if (std::ranges::none_of(held_, [this](Cell* cell) { return IsFound(*cell); })) return;
  ForEachFound([this](Place place) {
    holders_at_stake_ = holders_at_stake_ || LeadsToTraced(place.cell());
  });
  if (holders_at_stake_) return;
  for (Cell* cell : held_) {
    if (IsFound(*cell)) MarkFrom(PlaceOf(*cell), State::kAlive, [](Cell&) {});
  }
}

// Whether a traced reference of its object leads to one that has references itself.
bool CycleDetector::LeadsToTraced(const Cell& cell) {
  const Ref<CountedObject> object = cell.Load();
  if (object == nullptr) return false;
  bool leads = false;
  ForEachReference(ebb::internal::TypeOf(object.bits()), object.bits(), [&](uintptr_t edge) {
    const uintptr_t target = ebb::internal::LoadReference(ebb::internal::Slot(edge));
    if (target == 0) return;
    const TypeInfo& type = ebb::internal::TypeOf(target);
    leads = leads || type.has_references() || type.counted != nullptr;
  });
  return leads;
}

CycleDetector::Place CycleDetector::PlaceOf(const Cell& cell) {
  return Place(*Find(&cell.chunk()), cell.index());
}

bool CycleDetector::IsFound(const Cell& cell) {
  SuspectChunk* const side = Find(&cell.chunk());
  return side != nullptr && side->states[cell.index()] == State::kFound;
}

// Of this domain's objects those that are no suspects lead to something, besides what the heap
// knows as roots. Suspects that are reached, through holders too, are none any more.
void CycleDetector::MarkFromRoots(ebb::internal::StoppedHeap& stopped) {
  for (const SuspectChunk& side : chunks_) reachable_->AddAlone(side.chunk->AddressArray());
  stopped.ForEachRoot([this](std::atomic<uintptr_t>& slot) {
    reachable_->Add(slot.load(std::memory_order_relaxed));  // in a pause
  });
  for (SuspectChunk& side : chunks_) {
    for (size_t i = 0; i < CellChunk::kCells; ++i) {
      if (side.states[i] != State::kFound) reachable_->Add(side.chunk->owners[i].Load().bits());
    }
  }
  MarkAll(kEndOfList, State::kAlive, [](Cell& cell) { cell.Pardon(); });
}

// What only garbage leads to is garbage: it must not be got at any more, but by destructors.
void CycleDetector::EmptyDeadHolders(ebb::internal::StoppedHeap& stopped) {
  stopped.ForEachWeak([this](std::atomic<uintptr_t>& slot) {
    // Relaxed, both: in a pause.
    if (!reachable_->IsReached(slot.load(std::memory_order_relaxed))) {
      slot.store(0, std::memory_order_relaxed);
    }
  });
  figures_.holders +=
      holders_.EmptyIf([this](uintptr_t holder) { return !reachable_->IsReached(holder); },
                       [this](const Cell& target) { return IsFound(target); });
}

// For all that may be set aside.
void CycleDetector::MakeRoomForCells() {
  finalizable_.clear();
  kept_before_ = kept_.size();
  const bool keeps = uncollectable_ > 0 || debug_.save_all;
  if (with_finalizer_ == 0 && !keeps) return;
  size_t found = 0;
  ForEachFound([&found](Place) { ++found; });
  if (with_finalizer_ > 0) finalizable_.reserve(found);
  if (keeps) kept_.reserve(kept_.size() + found);
}

// inv.suspect holds for what is still kFound, once its owner has merged it. How many were found.
int64_t CycleDetector::MakeSuspects(absl::Duration patience) {
  int64_t found = 0;
  ForEachFound([&](Place place) {
    ++found;
    const ThreadIndex owner = place.cell().Suspect();
    if (place.cell().IsLeftAlone()) return Spare(place);
    if (owner == this_thread || !IsIndex(owner)) return;
    std::shared_ptr<OwnerQueues::MergeRequest>& request = requests_[owner];
    if (request == nullptr) request = std::make_shared<OwnerQueues::MergeRequest>();
    request->cells.push_back(&place.cell());
  });
  if (!requests_.empty()) {
    AwaitMerges(patience);
    SpareUnless([](Place place) { return place.cell().CountOfSuspect() > 0; });
  }
  return found;
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

// Of a kind of which there was none when all were counted: made since then, in a cell of another
// object. There is no room for it to be set aside.
bool CycleDetector::IsUnexpected(const CountedType& type) const {
  return (type.finalize != nullptr && with_finalizer_ == 0) ||
         (type.is_uncollectable && uncollectable_ == 0);
}

// The references to suspects that are in suspects' Fields, or in those of holders that nothing else
// leads to.
void CycleDetector::CountInside() {
  ForEachFound([](Place place) { place.count() = 0; });
  ForEachFound([this](Place place) {
    const CountedType* type = ForEachField(place.cell(), [](auto, Place target) {
      if (target.state() == State::kFound) ++target.count();
    });
    if (type != nullptr && IsUnexpected(*type)) place.count() = kMany;  // more than it has
  });
  if (!in_pause()) return;
  holders_.ForEach([this](const CountedType& type, uintptr_t holder) {
    if (reachable_->IsReached(holder)) return;
    internal::ForEachField(type, holder, [this](auto, Cell& target) {
      if (IsFound(target)) ++PlaceOf(target).count();
    });
  });
}

// A suspect that has another count is referred to from elsewhere, or it has been dropped by
// somebody. What is spared may have had other Fields when they were counted; so all is counted
// again, until only what is still kFound was. Who upgrades a weak reference to what is condemned
// pardons it.
bool CycleDetector::IsStillCondemned(Place place) {
  return place.cell().IsStillCondemned(place.count());
}

void CycleDetector::Condemn() {
  table_.BeginCondemning();
  bool all = SpareUnless([](Place place) { return place.cell().Condemn(place.count()); });
  int64_t pardoned = 0;
  while (!(all && SpareWhatIsNamed() && KeepUncollectable() && table_.EndCondemning(pardoned))) {
    CountInside();
    all = SpareUnless(&IsStillCondemned);
  }
}

// By Locals. Whether there was nothing to spare. A Local may have made a reference before it was
// looked for, and ended: that is seen afterwards.
bool CycleDetector::SpareWhatIsNamed() {
  const auto has_locals = [](const SuspectChunk& side) { return side.chunk->has_locals(); };
  if (std::ranges::none_of(chunks_, has_locals)) return true;
  bool none = true;
  ForEachNamed([&](Place place) {
    Spare(place);
    none = false;
  });
  return none && SpareUnless(&IsStillCondemned);
}

// Whether there was nothing to keep.
bool CycleDetector::KeepUncollectable() {
  if (uncollectable_ == 0 && !debug_.save_all) return true;
  const auto take = [this](const CountedType& type, Cell& cell) {
    if (!type.is_uncollectable && !debug_.save_all) return false;
    return cell.RetainCondemned();
  };
  return SetAside(kept_, &Detection::kept, take, [this](Place place) { Spare(place); });
}

// All of them first: what one of them leads to may have a finalizer too.
void CycleDetector::SetFinalizableAside() {
  if (with_finalizer_ == 0) return;
  const auto take = [](const CountedType& type, Cell& cell) {
    if (type.finalize == nullptr || cell.is_cleared()) return false;
    cell.Retain();
    return true;
  };
  const auto mark = [this](Place place) { MarkFrom(place, State::kAside, [](Cell&) {}); };
  if (SetAside(finalizable_, &Detection::finalized, take, mark)) return;
  // From here on no memory is needed.
  ForEachAside([this](Place place) {
    place.cell().Clear();
    if (!table_.callbacks().empty()) {
      callbacks_.Append(table_.callbacks().TakeOf(place.cell()));
    }
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
    const Place place = PlaceOf(*cells[i]);
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

// Not where it is decided, which may be in a pause: a program's log may want to use the heap.
void CycleDetector::LogWhatIsSetAside() const {
  const auto name = [](const Cell* cell) { return CountedTypeOf(cell->Load()).name; };
  if (debug_.uncollectable) {
    for (const Cell* cell : absl::MakeSpan(kept_).subspan(kept_before_)) {
      LOG(INFO) << "garbage that is kept: " << name(cell);
    }
  }
  if (debug_.collectable) {
    for (const Cell* cell : finalizable_) LOG(INFO) << "garbage that is finalized: " << name(cell);
  }
}

// Fields that lead from dead to dead are null from here on, and nothing is counted for that. All of
// them before the first object is destroyed: a process that forks then has no Field that leads to a
// cell which is used again.
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

SuspectChunk* CycleDetector::Find(const CellChunk* chunk) {
  if (last_found_.first != chunk) {
    const auto found = by_chunk_.find(chunk);
    if (found == by_chunk_.end()) return nullptr;
    last_found_ = *found;
  }
  return last_found_.second;
}

}  // namespace ebb::rc::internal
