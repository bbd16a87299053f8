// Walks over the objects of a region, back to back from its begin (inv.region-parsable). For the
// collector and the verifier, while mutators are stopped.

#ifndef EBB_HEAP_REGION_WALK_H_
#define EBB_HEAP_REGION_WALK_H_

#include <atomic>
#include <cstdint>

#include "absl/base/attributes.h"
#include "copyspace/block.h"
#include "copyspace/copy_space.h"
#include "copyspace/forwarding_word.h"
#include "copyspace/geometry.h"
#include "heap/type_info.h"

namespace ebb::internal {

// The reference field at `edge`.
inline std::atomic<uintptr_t>& Slot(uintptr_t edge) {
  return *reinterpret_cast<std::atomic<uintptr_t>*>(edge);
}

// Of an object that is neither forwarded nor being evacuated.
inline const TypeInfo& TypeOf(copyspace::Reference object) {
  return *reinterpret_cast<const TypeInfo*>(copyspace::ForwardingWord::Of(object).TypeBits());
}

// Calls visit(edge) for each reference of the object, an array's elements included.
template <typename Visit>
void ForEachReferenceOf(const TypeInfo& type, copyspace::Reference object, Visit&& visit) {
  if (type.kind != ObjectKind::kArray) [[likely]] {
    return ForEachReference(type, object, visit);
  }
  if (!type.has_references()) return;
  const uint64_t length = TypeInfo::ArrayLength(object);
  const uintptr_t elements = type.ArrayElements(object);
  for (uint64_t i = 0; i < length; ++i) {
    ForEachReference(type, elements + i * type.element_bytes, visit);
  }
}

// Prefetches the headers of what `place` refers to, which is an object or an element of that type.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void PrefetchReferents(const TypeInfo& type, uintptr_t place) {
  ForEachReference(type, place, [](uintptr_t edge) {
    // Relaxed: only a hint comes of it.
    const copyspace::Reference referent =
        Slot(edge).load(std::memory_order_relaxed);
    __builtin_prefetch(reinterpret_cast<const void*>(referent - kHeaderBytes), /*rw=*/1);
  });
}

// Calls visit(object, snapshot of its header word, type) for each object of the region, fillers
// included. Of a forwarded object the type and size are those of its copy: the worklists may have
// overwritten its body.
template <typename Visit>
void ForEachObject(const copyspace::Block& block, int region, Visit&& visit) {
  using copyspace::ForwardingWord;
  const uintptr_t begin = block.region_begin(region);
  const uintptr_t end = begin + block.used(region);
  for (uintptr_t header = begin; header < end;) {
    const copyspace::Reference object = header + kHeaderBytes;
    const ForwardingWord::Snapshot word = ForwardingWord::Of(object).LoadPlain();
    const copyspace::Reference body = word.is_forwarded() ? word.forwarded() : object;
    const auto& type =
        *reinterpret_cast<const TypeInfo*>(ForwardingWord::Of(body).TypeBits());
    visit(object, word, type);
    header += type.ObjectBytes(body);
  }
}

// Calls visit(object) for each object whose evacuation failed in this cycle.
template <typename Visit>
void ForEachRetained(const copyspace::CopySpace& space, Visit&& visit) {
  space.ForEachBlock([&](copyspace::Block& block) {
    for (int region = 0; region < copyspace::kRegionsPerBlock; ++region) {
      if (!block.failed(region)) continue;
      ForEachObject(block, region, [&](auto object, auto word, const TypeInfo&) {
        if (word.retained_in(space.cycle_parity())) visit(object);
      });
    }
  });
}

// After a cycle in a pause, in that pause: calls visit(object) for each object that it has found
// alive and that moves.
template <typename Visit>
void ForEachLiveAfterCycle(const copyspace::CopySpace& space, Visit&& visit) {
  space.ForEachBlock([&](copyspace::Block& block) {
    for (int region = 0; region < copyspace::kRegionsPerBlock; ++region) {
      const bool retained = block.retained(region);
      if (!retained && region != space.active_region()) continue;
      ForEachObject(block, region, [&](auto object, auto word, const TypeInfo& type) {
        if (retained && !word.retained_in(space.cycle_parity())) return;
        if (type.kind != ObjectKind::kFiller) visit(object);
      });
    }
  });
}

// inv.region-parsable, also of a region that was evacuated in part: what has left it becomes a
// plain dead object again, of the same size. (Its word leads to a copy that the next cycle moves,
// and the tracer may have used the body's first word, an array's length, as a link. The number of
// an object's extra bytes is further on.) So does what an earlier cycle retained and this one did
// not reach: in the next one its word would say that it was.
void MakeRetainedRegionsParsable(const copyspace::CopySpace& space);

}  // namespace ebb::internal

#endif  // EBB_HEAP_REGION_WALK_H_
