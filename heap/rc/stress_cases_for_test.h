// The cases of the stress tests of counting: those of concurrent cycles, in domains that count each
// store, and in coalesced ones.

#ifndef EBB_HEAP_RC_STRESS_CASES_FOR_TEST_H_
#define EBB_HEAP_RC_STRESS_CASES_FOR_TEST_H_

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "heap/concurrent_for_test.h"
#include "heap/rc/rc.h"
#include "heap/stress_for_test.h"

namespace ebb::rc {

struct StressCase : ConcurrentCase {
  Stores stores = Stores::kEager;

  Options options() const {
    Options options = ConcurrentCase::options();
    options.field_logging = stores == Stores::kCoalesced;
    return options;
  }
  DomainOptions domain_options() const {
    return {.reclaim = concurrent_workers == 2 ? Reclaim::kLazy : Reclaim::kPrompt,
            .stores = stores};
  }
};

inline std::string StressCaseName(const testing::TestParamInfo<StressCase>& info) {
  return std::string(info.param.name) +
         (info.param.stores == Stores::kCoalesced ? "Coalesced" : "");
}

inline std::vector<StressCase> StressCases() {
  std::vector<StressCase> cases;
  for (const ConcurrentCase& concurrent : ConcurrentCases()) {
    for (const Stores stores : {Stores::kEager, Stores::kCoalesced}) {
      cases.push_back({concurrent, stores});
    }
  }
  return cases;
}

// A thread's lives, until the time is up: each with an Owner, and of 300 steps. step(owner, i);
// drop_all(), where the heap is full.
template <typename Step, typename DropAll>
void LiveByOwners(Heap& heap, Domain& domain, const Threads& threads, Step step, DropAll drop_all) {
  while (!threads.time_is_up()) {
    Mutator mutator(heap);
    Owner owner(domain, mutator);
    for (int i = 0; i < 300; ++i) {
      try {
        step(owner, i);
      } catch (const HeapExhausted&) {
        drop_all();
      }
    }
  }
}

}  // namespace ebb::rc

#endif  // EBB_HEAP_RC_STRESS_CASES_FOR_TEST_H_
