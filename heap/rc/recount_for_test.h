// What the tests' recount oracle knows: how many references there are to each object of a domain,
// found by looking at them all.

#ifndef EBB_HEAP_RC_RECOUNT_FOR_TEST_H_
#define EBB_HEAP_RC_RECOUNT_FOR_TEST_H_

#include <cstdint>
#include <map>

#include "absl/types/span.h"
#include "heap/rc/cell.h"
#include "heap/rc/cell_table.h"
#include "heap/rc/counted_type.h"
#include "heap/rc/domain.h"
#include "heap/rc/domain_state.h"
#include "heap/ref.h"

namespace ebb::rc::internal {

// Of each cell that has an object, dead or not, or is referred to: those of `held`, which are all
// references that are no Fields, or null, and all Fields of objects. A queue's are not found. By a
// thread with a Mutator of the heap, while no other thread uses the domain.
inline std::map<const Cell*, int64_t> Recount(Domain& domain, absl::Span<const Cell* const> held) {
  std::map<const Cell*, int64_t> counts;
  for (const Cell* cell : held) {
    if (cell != nullptr) ++counts[cell];
  }
  for (CellChunk* chunk : domain.state()->table().Chunks()) {
    for (const Cell& cell : chunk->owners) {
      const Ref<CountedObject> object = cell.Load();
      if (object == nullptr) continue;
      counts.try_emplace(&cell, 0);
      ForEachField(CountedTypeOf(object), object.bits(),
                   [&](auto, const Cell& target) { ++counts[&target]; });
    }
  }
  return counts;
}

}  // namespace ebb::rc::internal

#endif  // EBB_HEAP_RC_RECOUNT_FOR_TEST_H_
