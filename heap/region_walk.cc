#include "heap/region_walk.h"

#include <cstring>

namespace ebb::internal {

using copyspace::ForwardingWord;
using copyspace::Reference;

void MakeRetainedRegionsParsable(const copyspace::CopySpace& space) {
  const int parity = space.cycle_parity();
  space.ForEachBlock([=](copyspace::Block& block) {
    for (int region = 0; region < copyspace::kRegionsPerBlock; ++region) {
      if (!block.failed(region)) continue;
      ForEachObject(block, region, [=](Reference object, auto word, const TypeInfo& type) {
        if (word.retained_in(parity)) return;
        if (word.is_forwarded() && type.kind == ObjectKind::kArray) {
          std::memcpy(reinterpret_cast<void*>(object),
                      reinterpret_cast<const void*>(word.forwarded()), sizeof(uint64_t));
        }
        ForwardingWord::Of(object).Initialize(reinterpret_cast<uintptr_t>(&type));
      });
    }
  });
}

}  // namespace ebb::internal
