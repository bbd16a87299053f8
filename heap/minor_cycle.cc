#include "heap/minor_cycle.h"

#include <atomic>
#include <utility>

#include "absl/base/attributes.h"
#include "heap/align.h"
#include "heap/mutator.h"
#include "heap/region_walk.h"

namespace ebb::internal {

using copyspace::AcquirePurpose;
using copyspace::ForwardingWord;
using copyspace::Reference;

MinorCounts MinorCycle::Run(const std::vector<Mutator*>& mutators, Survivors survivors,
                            const copyspace::MutatorsStopped& stopped) {
  counts_ = MinorCounts();
  promote_all_ = survivors == Survivors::kPromote;
  may_promote_ = true;

  const platform::Bytes in_nursery = nursery_.allocated_bytes();
  nursery_.Flip(stopped);
  ForwardRoots(mutators);
  ForwardRemembered();
  Drain();
  ClearWeakRoots();
  CloseAllocators();
  if (counts_.retained_objects > 0) MakeRetainedRegionsParsable(nursery_);
  nursery_.FinishCycle(stopped);
  counts_.left_bytes = (in_nursery - nursery_.retained_bytes()).count();
  return counts_;
}

void MinorCycle::ForwardRoots(const std::vector<Mutator*>& mutators) {
  const auto forward = [this](std::atomic<uintptr_t>& slot) {
    ForwardEdge<Holder::kYoung>(reinterpret_cast<uintptr_t>(&slot));
  };
  for (Mutator* mutator : mutators) mutator->ForEachLocal(forward);
  RootTable::Scan(roots_).Visit(forward);
}

// Every edge is forgotten, and remembered again if its target stays young: ForwardEdge decides, in
// one place.
void MinorCycle::ForwardRemembered() {
  const auto forward = [this](uintptr_t edge) {
    spaces_.Forget(edge);
    ForwardEdge<Holder::kOld>(edge);
  };
  remembered_.TakeEach([&](const EdgeChunk& chunk) {
    for (size_t i = 0; i < chunk.count; ++i) {
      if (i + kEdgesAhead < chunk.count) {
        const uintptr_t ahead = chunk.edges[i + kEdgesAhead];
        __builtin_prefetch(reinterpret_cast<const void*>(ahead), /*rw=*/1);
        spaces_.PrefetchLogBit(ahead);
      }
      forward(chunk.edges[i]);
    }
  });
  // What has just been remembered again is visited once more, and remembered a third time.
  if (remembered_.TakeOverflow()) spaces_.ForEachRemembered(forward);
}

// The table of docs/design/generations.md#the-remembered-set: an edge in a promoted or an old
// object is remembered if its target stays young, and only then.
//
// A worker that traces the copy space may load the same edge; it stores only where it finds a
// reference into that space's from-space, which here is none. Release: pairs with its acquire; the
// payload is the header of the block that the copy is in.
template <MinorCycle::Holder kHolder>
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void MinorCycle::ForwardEdge(uintptr_t edge) {
  // Relaxed: what is young was published by the pause.
  const Reference reference = Slot(edge).load(std::memory_order_relaxed);
  if (!spaces_.InNursery(reference)) return;
  Reference to = reference;
  if (nursery_.InFromSpace(reference)) {
    to = Evacuate(reference);
    Slot(edge).store(to, std::memory_order_release);  // see above
  }
  if constexpr (kHolder == Holder::kOld) {
    if (spaces_.InNursery(to) && spaces_.Remember(edge)) edges_.Add(edge);
  }
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline Reference MinorCycle::Evacuate(Reference from) {
  ForwardingWord& word = ForwardingWord::Of(from);
  const ForwardingWord::Snapshot seen = word.LoadPlain();
  if (seen.is_forwarded()) return seen.forwarded();
  if (!seen.claimable_in(nursery_.cycle_parity())) return from;  // retained in this cycle
  const TypeInfo& type = *reinterpret_cast<const TypeInfo*>(seen.type());
  const size_t bytes = type.ObjectBytes(from);
  uintptr_t header = 0;
  if (!type.align16 && rules_.all_ordinary()) [[likely]] {
    header = (MayPromote(from) ? promoted_ : survivors_).TryAllocate(bytes);
  }
  if (header == 0) [[unlikely]] {
    header = AllocateSlow(from, type, bytes);
    if (header == 0) {
      nursery_.RetainRegionOf(from);
      word.RetainPlain(seen.type(), nursery_.cycle_parity());
      ++counts_.retained_objects;
      Push(from, type, /*original=*/0);
      return from;
    }
  }
  const Reference to = header + kHeaderBytes;
  __builtin_prefetch(reinterpret_cast<const void*>(to + kCopyAhead), /*rw=*/1);
  ForwardingWord::Of(to).Initialize(seen.type());
  CopyPayload(to, from, bytes - kHeaderBytes);
  word.CommitPlain(to);
  Push(to, type, from);
  return to;
}

uintptr_t MinorCycle::AllocateIn(copyspace::CopySpace& space, AcquirePurpose purpose,
                                 copyspace::BumpAllocator& allocator, const TypeInfo& type,
                                 size_t bytes) {
  for (;;) {
    if (uintptr_t header = AllocateAligned(allocator, bytes, type.align16); header != 0) {
      return header;
    }
    if (!allocator.Refill(space, purpose, bytes + AlignmentPadding(type.align16))) return 0;
  }
}

// What evacuation is to have in the copy space is left alone while the nursery has room.
uintptr_t MinorCycle::AllocateSlow(Reference from, const TypeInfo& type, size_t bytes) noexcept {
  if (rules_.IsToFail(from)) return 0;
  uintptr_t header = 0;
  if (MayPromote(from)) {
    header = AllocateIn(spaces_.copy(), AcquirePurpose::kMutator, promoted_, type, bytes);
    if (header != 0) return header;
    may_promote_ = false;
  }
  header = AllocateIn(nursery_, AcquirePurpose::kEvacuation, survivors_, type, bytes);
  if (header != 0) return header;
  return AllocateIn(spaces_.copy(), AcquirePurpose::kEvacuation, promoted_, type, bytes);
}

void MinorCycle::Push(Reference object, const TypeInfo& type, Reference original) {
  if (!type.has_references()) return;
  if (stack_size_ < kStackCapacity) [[likely]] {
    stack_[stack_size_++] = object;
  } else if (original != 0) {
    overflow_.Push(original);
  } else {
    rescan_ = true;
  }
}

bool MinorCycle::Pop(Reference& object) {
  if (stack_size_ > 0) {
    object = stack_[--stack_size_];
    return true;
  }
  if (overflow_.empty()) return false;
  object = ForwardingWord::Of(overflow_.Pop()).LoadPlain().forwarded();
  return true;
}

void MinorCycle::Drain() {
  for (;;) {
    Reference object;
    while (window_size_ < kWindow && Pop(object)) {
      const TypeInfo& type = TypeOf(object);
      if (type.kind != ObjectKind::kArray) PrefetchReferents(type, object);
      window_[(window_begin_ + window_size_++) % kWindow] = object;
    }
    if (window_size_ > 0) {
      object = window_[window_begin_];
      window_begin_ = (window_begin_ + 1) % kWindow;
      --window_size_;
      Scan(object);
    } else if (std::exchange(rescan_, false)) {
      ForEachRetained(nursery_, [this](Reference retained) { Scan(retained); });
    } else {
      return;
    }
  }
}

void MinorCycle::Scan(Reference object) {
  if (spaces_.InNursery(object)) {
    ScanAs<Holder::kYoung>(object);
  } else {
    ScanAs<Holder::kOld>(object);
  }
}

template <MinorCycle::Holder kHolder>
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void MinorCycle::ScanAs(Reference object) {
  ForEachReferenceOf(TypeOf(object), object, [this](uintptr_t edge) ABSL_ATTRIBUTE_ALWAYS_INLINE {
    ForwardEdge<kHolder>(edge);
  });
}

void MinorCycle::ClearWeakRoots() {
  RootTable::Scan(weak_roots_).VisitStored([this](std::atomic<uintptr_t>& slot) {
    const Reference reference = slot.load(std::memory_order_relaxed);  // as ForwardEdge
    if (!spaces_.InNursery(reference)) return false;
    const Reference now = nursery_.SurvivorOf(reference);
    if (now != reference) slot.store(now, std::memory_order_release);  // as ForwardEdge
    return spaces_.InNursery(now);
  });
  const auto survivor_of = [this](Reference young) { return nursery_.SurvivorOf(young); };
  const auto is_young = [this](Reference object) { return spaces_.InNursery(object); };
  watches_.ForEach([&](DeathWatch& watch) { watch.AfterMinorCycle(survivor_of, is_young); });
}

void MinorCycle::CloseAllocators() {
  survivors_.Close(nursery_);
  promoted_.Close(spaces_.copy());
  counts_.promoted_bytes = promoted_.TakeAllocated().count();
  counts_.evacuated_bytes = counts_.promoted_bytes + survivors_.TakeAllocated().count();
  edges_.HandOver();
}

void MinorCycle::ForEachLeft(absl::FunctionRef<void(Reference)> visit) const {
  ForEachLiveAfterCycle(nursery_, visit);
}

void MinorCycle::AlignWithCopySpace(const copyspace::MutatorsStopped& stopped) {
  if (anything_left() || nursery_.active_region() == spaces_.copy().active_region()) return;
  nursery_.Flip(stopped);
  nursery_.FinishCycle(stopped);
}

}  // namespace ebb::internal
