// Domain: what detections leave alone, and questions about its objects.

#include <new>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "heap/rc/any_ptr.h"
#include "heap/rc/attached.h"
#include "heap/rc/cell.h"
#include "heap/rc/cell_table.h"
#include "heap/rc/counted_type.h"
#include "heap/rc/domain.h"
#include "heap/rc/domain_state.h"

namespace ebb::rc {

using internal::Cell;
using internal::CellChunk;
using internal::CountedObject;

namespace {

// Calls f(cell) for what each rc::Field of the object leads to.
template <typename F>
void ForEachReferent(const AnyPtr& object, F f) {
  const Ref<CountedObject> payload = object.cell()->Load();
  if (payload == nullptr) return;
  internal::ForEachField(internal::CountedTypeOf(payload), payload.bits(),
                         [&](auto, Cell& cell) { f(cell); });
}

AnyPtr Retained(Cell& cell) {
  cell.Retain();
  return AnyPtr::Adopt(&cell);
}

// question() on a thread that is attached, while no other one detects.
absl::Status Ask(Domain& domain, const char* what, absl::FunctionRef<absl::Status()> question) {
  internal::Attached attached(domain, what);
  if (!attached.status().ok()) return attached.status();
  return attached.owner().Ask(what, question);
}

absl::Status NoMemoryToAnswer(const char* what) {
  return internal::NoMemory(what, "no memory for the answer");
}

// The answer that ask(answer) gives.
template <typename F>
absl::StatusOr<std::vector<AnyPtr>> Answer(const char* what, F ask) {
  std::vector<AnyPtr> answer;
  try {
    if (absl::Status status = ask(answer); !status.ok()) return status;
  } catch (const std::bad_alloc&) {
    return NoMemoryToAnswer(what);
  }
  return answer;
}

}  // namespace

void Domain::Track(const AnyPtr& object) {
  if (object != nullptr) object.cell()->set_untracked(false);
}

void Domain::Untrack(const AnyPtr& object) {
  if (object != nullptr) object.cell()->set_untracked(true);
}

bool Domain::IsTracked(const AnyPtr& object) {
  return object != nullptr && !object.cell()->is_untracked();
}

// The heap's part comes first, as it may be refused.
absl::Status Domain::Freeze() {
  absl::Status status = state_->heap().Freeze();
  if (!status.ok() && !absl::IsResourceExhausted(status)) return status;
  try {
    state_->table().ForEachChunk([](CellChunk& chunk) {
      CellChunk::Marks& marks = chunk.MakeMarks();
      for (size_t i = 0; i < CellChunk::kCells; ++i) {
        if (chunk.owners[i].has_object()) marks.frozen.Set(i);
      }
    });
  } catch (const std::bad_alloc&) {
    status.Update(absl::ResourceExhaustedError(
        "ebb::rc::Domain::Freeze: no memory for marks: detections will look at some objects"));
  }
  return status;
}

void Domain::Unfreeze() {
  state_->table().ForEachChunk([](CellChunk& chunk) {
    if (CellChunk::Marks* marks = chunk.FindMarks(); marks != nullptr) marks->frozen.ClearAll();
  });
}

int64_t Domain::FreezeCount() const {
  int64_t count = 0;
  state_->table().ForEachChunk([&count](CellChunk& chunk) {
    if (CellChunk::Marks* marks = chunk.FindMarks(); marks != nullptr) {
      count += marks->frozen.Count();
    }
  });
  return count;
}

bool Domain::IsFinalized(const AnyPtr& object) {
  if (object == nullptr || !object.cell()->is_cleared()) return false;
  const Ref<CountedObject> payload = object.cell()->Load();
  return payload != nullptr && internal::CountedTypeOf(payload).finalize != nullptr;
}

absl::Status Domain::VisitObjects(absl::FunctionRef<bool(const AnyPtr&)> visit) {
  return VisitObjects("ebb::rc::Domain::VisitObjects", visit);
}

absl::Status Domain::VisitObjects(const char* what, absl::FunctionRef<bool(const AnyPtr&)> visit) {
  return Ask(*this, what, [&] {
    std::vector<CellChunk*> chunks;
    try {
      chunks = state_->table().Chunks();
    } catch (const std::bad_alloc&) {
      return NoMemoryToAnswer(what);
    }
    internal::SafepointNowAndThen safepoint;
    for (CellChunk* chunk : chunks) {
      for (Cell& cell : chunk->owners) {
        safepoint.Pass();
        if (cell.Load() == nullptr || !cell.TryRetain()) continue;
        if (!visit(AnyPtr::Adopt(&cell))) return absl::OkStatus();
      }
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<std::vector<AnyPtr>> Domain::Objects() {
  constexpr char kWhat[] = "ebb::rc::Domain::Objects";
  return Answer(kWhat, [&](std::vector<AnyPtr>& objects) {
    return VisitObjects(kWhat, [&](const AnyPtr& object) {
      objects.push_back(object);
      return true;
    });
  });
}

absl::StatusOr<std::vector<AnyPtr>> Domain::Referrers(absl::Span<const AnyPtr> objects) {
  constexpr char kWhat[] = "ebb::rc::Domain::Referrers";
  return Answer(kWhat, [&](std::vector<AnyPtr>& referrers) {
    absl::flat_hash_set<const Cell*> wanted;
    for (const AnyPtr& object : objects) wanted.insert(object.cell());
    return VisitObjects(kWhat, [&](const AnyPtr& object) {
      bool refers = false;
      ForEachReferent(object, [&](Cell& cell) { refers = refers || wanted.contains(&cell); });
      if (refers) referrers.push_back(object);
      return true;
    });
  });
}

absl::StatusOr<std::vector<AnyPtr>> Domain::Referents(absl::Span<const AnyPtr> objects) {
  constexpr char kWhat[] = "ebb::rc::Domain::Referents";
  return Answer(kWhat, [&](std::vector<AnyPtr>& referents) {
    return Ask(*this, kWhat, [&] {
      for (const AnyPtr& object : objects) {
        if (object == nullptr) continue;
        ForEachReferent(object, [&](Cell& cell) { referents.push_back(Retained(cell)); });
      }
      return absl::OkStatus();
    });
  });
}

void Domain::SetDebug(const DetectionDebug& debug) { state_->set_debug(debug); }

std::vector<AnyPtr> Domain::TakeGarbage() {
  const std::vector<Cell*> cells = state_->TakeGarbage();
  std::vector<AnyPtr> garbage;
  try {
    garbage.reserve(cells.size());
  } catch (const std::bad_alloc&) {
    for (Cell* cell : cells) cell->Release();  // to be found again
    throw;
  }
  for (Cell* cell : cells) garbage.push_back(AnyPtr::Adopt(cell));
  return garbage;
}

}  // namespace ebb::rc
