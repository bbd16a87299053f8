#include "heap/rc/cycle_detector.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <new>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "heap/rc/counted_type.h"
#include "heap/ref.h"
#include "heap/region_walk.h"
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

absl::Status CycleDetector::Run(absl::Duration patience, CellList& dead) {
  const int64_t start = platform::MonotonicNanos();
  const absl::Cleanup cancel = [this] {
    for (const auto& [owner, request] : requests_) OwnerQueues::Get().CancelMerge(owner, *request);
  };
  try {
    MakeSideArrays();
    CountFromOutside();
    MarkAlive();
    MakeSuspects(patience);
  } catch (const std::bad_alloc&) {
    chunks_.clear();  // so that there is memory for the message
    return absl::ResourceExhaustedError(
        "no memory to look for cycles of counted objects, 9 bytes a cell: try again later, or "
        "raise "
        "the process's memory limit");
  }
  RecordCounts();
  SpareWhatIsReferredTo();
  Condemn();
  Execute(dead);
  figures_.time = absl::Nanoseconds(platform::MonotonicNanos() - start);
  return absl::OkStatus();
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
      if (place.cell().Load() == nullptr) continue;
      ++figures_.visited;
      place.state() = State::kFound;
      place.outside() += Clamp(place.cell().Count());
      ForEachField(place.cell(), [](auto, Place target) { --target.outside(); });
    }
  }
}

void CycleDetector::MarkAlive() {
  ForEachFound([this](Place place) {
    if (place.outside() > 0) MarkAliveFrom(place, [](Cell&) {});
  });
}

// inv.suspect holds for what is still kFound, once its owner has merged it.
void CycleDetector::MakeSuspects(absl::Duration patience) {
  ForEachFound([this](Place place) {
    ++figures_.suspects;
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
    return place.count() > 0;
  });
}

// What was spared may have had other Fields when its references were last subtracted; so all is
// subtracted again, until only what is still kFound was.
void CycleDetector::SpareWhatIsReferredTo() {
  for (bool spared = true; spared;) {
    ForEachFound([](Place place) { place.outside() = place.count(); });
    ForEachFound([this](Place place) {
      ForEachField(place.cell(), [](auto, Place target) {
        if (target.state() == State::kFound) --target.outside();
      });
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
  while (!(all && table_.EndCondemning(pardoned))) {
    SpareWhatIsReferredTo();
    all = SpareUnless([](Place place) { return place.cell().IsStillCondemned(place.count()); });
  }
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
  MarkAliveFrom(place, [](Cell& cell) { cell.Pardon(); });
}

// Fields that lead from dead to dead are null from here on, and nothing is counted for that.
void CycleDetector::Execute(CellList& dead) {
  ForEachFound([&](Place place) {
    ForEachField(place.cell(), [](std::atomic_ref<Cell*> field, Place target) {
      // Relaxed: only who destroys the object reads it again, ordered by the list.
      if (target.state() == State::kFound) field.store(nullptr, std::memory_order_relaxed);
    });
    ++figures_.collected;
    place.cell().Execute();
    dead.Append(place.cell());
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
void CycleDetector::ForEachField(Cell& cell, F f) {
  const Ref<CountedObject> object = cell.Load();
  if (object == nullptr) return;
  const CountedType& type = *ebb::internal::TypeOf(object.bits()).counted;
  for (uint32_t i = 0; i < type.field_count; ++i) {
    const std::atomic_ref<Cell*> field(
        *reinterpret_cast<Cell**>(object.bits() + type.field_offsets[i]));
    // Relaxed: what is read of the target is in chunks that this thread knows.
    Cell* target = field.load(std::memory_order_relaxed);
    if (target == nullptr) continue;
    SuspectChunk* const side = Find(&target->chunk());
    if (side != nullptr) f(field, Place(*side, target->index()));
  }
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
void CycleDetector::MarkAliveFrom(Place root, F f) {
  int32_t list = kEndOfList;
  const auto mark = [&](Place place) {
    place.state() = State::kAlive;
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
