#include "heap/rc/cycle_detector.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <new>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/time/clock.h"
#include "heap/rc/counted_type.h"
#include "heap/rc/owner_queues.h"
#include "heap/region_walk.h"

namespace ebb::rc::internal {

namespace {

// Of an object that lives whatever its Fields say.
constexpr int32_t kManyFromOutside = int32_t{1} << 30;
constexpr int32_t kEndOfList = -1;
// A look at so many cells or objects takes some 20 microseconds: then a safepoint.
constexpr int64_t kBetweenSafepoints = 1024;

int32_t Clamp(int64_t count) {
  return static_cast<int32_t>(std::min<int64_t>(count, kManyFromOutside));
}

}  // namespace

// A cell's in the side arrays.
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

CycleDetector::~CycleDetector() {
  for (const std::unique_ptr<SuspectChunk>& side : chunks_) side->chunk->suspects = nullptr;
}

absl::Status CycleDetector::Run(absl::Duration patience, CellList& dead) {
  const absl::Time start = absl::Now();
  try {
    MakeSideArrays();
    CountFromOutside();
    MarkAlive();
    MakeSuspects(patience);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        "no memory to look for cycles of counted objects, 9 bytes an object: try again later, or "
        "raise the process's memory limit");
  }
  RecordCounts();
  SpareWhatIsReferredTo();
  Condemn();
  Execute(dead);
  figures_.time = absl::Now() - start;
  return absl::OkStatus();
}

void CycleDetector::MakeSideArrays() {
  for (CellChunk* chunk : table_.Chunks()) {
    SuspectChunk& side = *chunks_.emplace_back(std::make_unique<SuspectChunk>());
    side.chunk = chunk;
    side.number = static_cast<int32_t>(chunks_.size() - 1);
    chunk->suspects = &side;
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
  absl::flat_hash_map<ThreadIndex, std::shared_ptr<OwnerQueues::MergeRequest>> requests;
  ForEachFound([&](Place place) {
    ++figures_.suspects;
    const ThreadIndex owner = place.cell().Suspect();
    // An odd one is a link: it is dead.
    if (owner == kNoOwner || owner == this_thread || owner == kImmortal || owner % 2 != 0) return;
    std::shared_ptr<OwnerQueues::MergeRequest>& request = requests[owner];
    if (request == nullptr) request = std::make_shared<OwnerQueues::MergeRequest>();
    request->cells.push_back(&place.cell());
  });
  OwnerQueues& queues = OwnerQueues::Get();
  for (const auto& [owner, request] : requests) queues.RequestMerge(owner, request);
  const Blocking blocking(mutator_);
  const absl::Time deadline = absl::Now() + patience;
  for (const auto& [owner, request] : requests) {
    if (!request->done.WaitForNotificationWithDeadline(deadline)) {
      queues.CancelMerge(owner, *request);
    }
  }
}

void CycleDetector::RecordCounts() {
  ForEachFound([this](Place place) {
    place.count() = Clamp(place.cell().CountOfSuspect());
    if (place.count() == 0) Spare(place);
  });
}

// What was spared may have had other Fields when its references were last subtracted; so all is
// subtracted again, until only what is still kFound was.
void CycleDetector::SpareWhatIsReferredTo() {
  for (bool spared = true; spared;) {
    spared = false;
    ForEachFound([](Place place) { place.outside() = place.count(); });
    ForEachFound([this](Place place) {
      ForEachField(place.cell(), [](auto, Place target) {
        if (target.state() == State::kFound) --target.outside();
      });
    });
    ForEachFound([&](Place place) {
      if (place.outside() == 0) return;
      Spare(place);
      spared = true;
    });
  }
}

// A suspect that is not condemned has been copied or dropped: somebody refers to it, or did. Who
// upgrades a weak reference to one that is condemned revokes that.
void CycleDetector::Condemn() {
  table_.BeginTrial();
  bool all = true;
  ForEachFound([&](Place place) {
    if (place.cell().Condemn(place.count())) return;
    Spare(place);
    all = false;
  });
  int64_t revoked = 0;
  while (!(all && table_.EndTrial(revoked))) {
    SpareWhatIsReferredTo();
    all = true;
    ForEachFound([&](Place place) {
      if (place.cell().IsCondemned(place.count())) return;
      Spare(place);
      all = false;
    });
  }
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
    // Acquire: pairs with the release in Reference::Exchange; the payload is the cell's chunk. Of
    // one that the object was made with, address() has acquired it.
    Cell* target = field.load(std::memory_order_acquire);
    if (target == nullptr) continue;
    CellChunk& chunk = target->chunk();
    if (chunk.table != &table_ || chunk.suspects == nullptr) continue;
    f(field, Place(*chunk.suspects, static_cast<size_t>(target - chunk.owners.data())));
  }
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
  if (++steps_ % kBetweenSafepoints == 0) mutator_.Safepoint();
}

}  // namespace ebb::rc::internal
