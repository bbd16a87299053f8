// What the tests of threads beside concurrent cycles share: the heaps they run on.

#ifndef EBB_HEAP_CONCURRENT_FOR_TEST_H_
#define EBB_HEAP_CONCURRENT_FOR_TEST_H_

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "heap/heap_for_test.h"

namespace ebb {

// One way of making rare events common beside the program.
struct ConcurrentCase {
  const char* name;
  int concurrent_workers = 1;
  StressOptions stress = {};
  int64_t max_bytes = 12 << 20;

  Options options() const {
    Options options{.max_bytes = max_bytes,
                    .collector = CollectorUnderTest(),
                    .nursery_bypass = false,
                    .workers = 2,
                    .concurrent_workers = concurrent_workers,
                    .page_out_tick = absl::Milliseconds(10)};
    options.stress = stress;
    options.read_environment = false;
    return options;
  }
  friend void PrintTo(const ConcurrentCase& c, std::ostream* out) { *out << c.name; }
};

inline std::string CaseName(const testing::TestParamInfo<ConcurrentCase>& info) {
  return info.param.name;
}

inline std::vector<ConcurrentCase> ConcurrentCases() {
  return {
      {.name = "OneWorker"},
      {.name = "TwoWorkers", .concurrent_workers = 2},
      {.name = "EvacuationsFail", .concurrent_workers = 2, .stress = {.fail_evacuation = 5}},
      {.name = "MostEvacuationsFail", .stress = {.fail_evacuation = 2, .poison = true}},
      {.name = "TinyWorklists", .concurrent_workers = 2, .stress = {.worklist_capacity = 1}},
      {.name = "FromSpaceTraps", .stress = {.protect_from_space = true}},
      {.name = "Verified",
       .concurrent_workers = 2,
       .stress = {.fail_evacuation = 50, .worklist_capacity = 3, .poison = true, .verify = true}},
      {.name = "AllocationsCollect", .stress = {.collect_every = 20}},
      {.name = "TinyHeap", .max_bytes = 2 << 20},
  };
}

}  // namespace ebb

#endif  // EBB_HEAP_CONCURRENT_FOR_TEST_H_
