// Walks over the objects of a region, back to back from its begin (inv.region-parsable). For the
// collector and the verifier, while mutators are stopped.

#ifndef EBB_HEAP_REGION_WALK_H_
#define EBB_HEAP_REGION_WALK_H_

#include <cstdint>

#include "copyspace/block.h"
#include "copyspace/copy_space.h"
#include "copyspace/forwarding_word.h"
#include "copyspace/geometry.h"
#include "heap/type_info.h"

namespace ebb::internal {

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

}  // namespace ebb::internal

#endif  // EBB_HEAP_REGION_WALK_H_
