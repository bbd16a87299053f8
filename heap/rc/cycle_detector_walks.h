// The walks of a CycleDetector: over its side arrays, and over what objects lead to.

#ifndef EBB_HEAP_RC_CYCLE_DETECTOR_WALKS_H_
#define EBB_HEAP_RC_CYCLE_DETECTOR_WALKS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "heap/mutator.h"
#include "heap/rc/counted_type.h"
#include "heap/rc/cycle_detector.h"
#include "heap/rc/owner_queues.h"
#include "heap/ref.h"
#include "heap/region_walk.h"

namespace ebb::rc::internal {

// Of a list through the counts of a SuspectChunk.
inline constexpr int32_t kEndOfList = -1;
// So many cells ahead the objects are prefetched: their own order may be any.
inline constexpr size_t kPrefetchDistance = 16;

template <typename F>
void CycleDetector::ForEachFound(F f) {
  ForEachIn(State::kFound, f);
}

template <typename F>
void CycleDetector::ForEachIn(State state, F f) {
  for (SuspectChunk& side : chunks_) {
    if (!in_pause()) Mutator::SafepointOfThread();
    for (size_t i = 0; i < CellChunk::kCells; ++i) {
      if (side.states[i] != state) continue;
      PassSafepoint();
      Prefetch(side, i + kPrefetchDistance);
      f(Place(side, i));
    }
  }
}

// A hint: where the object is, or was before it moved.
inline void CycleDetector::Prefetch(const SuspectChunk& side, size_t index) {
  if (index >= CellChunk::kCells) return;
  const Field<CountedObject>* object = side.chunk->owners[index].address();
  if (object == nullptr) return;
  // Relaxed: nothing is read on its strength.
  __builtin_prefetch(reinterpret_cast<const void*>(
      ebb::internal::Slot(reinterpret_cast<uintptr_t>(object)).load(std::memory_order_relaxed)));
}

template <typename F>
void CycleDetector::ForEachNamed(F f) {
  OwnerQueues::Get().ForEachNamed([&](Cell* cell) {
    if (IsFound(*cell)) f(PlaceOf(*cell));
  });
}

template <typename F>
const CountedType* CycleDetector::ForEachField(Cell& cell, F f) {
  const Ref<CountedObject> object = cell.Load();
  if (object == nullptr) return nullptr;
  const CountedType& type = CountedTypeOf(object);
  internal::ForEachField(type, object.bits(), [&](std::atomic_ref<Cell*> field, Cell& target) {
    SuspectChunk* const side = Find(&target.chunk());
    if (side != nullptr) f(field, Place(*side, target.index()));
  });
  return &type;
}

template <typename F>
void CycleDetector::MarkFrom(Place root, State state, F f) {
  root.state() = state;
  root.count() = kEndOfList;
  f(root.cell());
  MarkAll(root.number(), state, f);
}

template <typename F>
void CycleDetector::MarkAll(int32_t list, State state, F f) {
  const auto mark = [&](Place place) {
    if (place.state() != State::kFound) return;
    place.state() = state;
    place.count() = std::exchange(list, place.number());
    f(place.cell());
  };
  do {
    while (list != kEndOfList) {
      const Place place(chunks_, list);
      list = place.count();
      PassSafepoint();
      ForEachField(place.cell(), [&](auto, Place target) { mark(target); });
      if (in_pause()) reachable_->Add(place.cell().Load().bits());
    }
    if (!in_pause()) return;
    reachable_->Trace([&](uintptr_t object) {
      const CountedType* const type = ebb::internal::TypeOf(object).counted;
      if (type == nullptr) return;
      internal::ForEachField(*type, object, [&](auto, Cell& target) {
        if (IsFound(target)) mark(PlaceOf(target));
      });
    });
  } while (list != kEndOfList);
}

}  // namespace ebb::rc::internal

#endif  // EBB_HEAP_RC_CYCLE_DETECTOR_WALKS_H_
