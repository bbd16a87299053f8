#include "bench/workload.h"

namespace ebb::bench {

const std::vector<Workload>& AllWorkloads() {
  static const auto* const workloads = new std::vector<Workload>{
      W1GcBench(),  W1GcBenchWithHoles(), W3Cache(),  W4Rewire(),
      W5aCopyOwn(), W5bCopyShared(),      W5cTrees(), W5dList(),
      W5eRings(),   W5fStores(),          W5gMixed(), W6aAllocateAndDrop(),
      W6bAllocateInWindow(), W7HeapSize(), W8Chase(), W10Tide(),
      PauseWorkload(), DropWorkload(), IdleWorkload()};
  return *workloads;
}

const Workload* FindWorkload(std::string_view name) {
  for (const Workload& workload : AllWorkloads()) {
    if (workload.name == name) return &workload;
  }
  return nullptr;
}

}  // namespace ebb::bench
