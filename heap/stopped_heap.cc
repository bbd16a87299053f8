#include "heap/stopped_heap.h"

#include "heap/mutator.h"

namespace ebb::internal {

void StoppedHeap::ForEachRoot(Visit visit) const {
  for (Mutator* mutator : mutators_) mutator->ForEachLocal(visit);
  RootTable::Scan(roots_).Visit(visit);
}

}  // namespace ebb::internal
