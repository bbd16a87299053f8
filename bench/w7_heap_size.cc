// W7, heap size: W4's graph and 512 bytes of garbage a step, on live heaps from 64 MiB to 4 GiB.
// What a pause and a batch of steps take should not depend on the size, under an allocation rate
// that a concurrent collector must keep up with.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "bench/rewire.h"
#include "bench/subjects.h"
#include "bench/workload.h"

namespace ebb::bench {
namespace {

constexpr int64_t kMiB = 1 << 20;
constexpr int64_t kSmallest = 64 * kMiB;
constexpr int64_t kLargest = 4096 * kMiB;
constexpr double kHeapMultiple = 3;

// As many for every size: in a heap of a fixed multiple, a byte of garbage costs the collector the
// same work whatever the size.
constexpr int64_t kSteps = 10'000'000;
constexpr int kBatch = 100;
// A smoke run has this much less of a graph, and fewer steps.
constexpr int64_t kSmokeDivisor = 128;
constexpr int64_t kSmokeSteps = 120'000;
// Threads' regions and the collector's tables are no longer small beside a heap of less.
constexpr int64_t kLeastSmokeLive = int64_t{2} << 20;

absl::StatusOr<Record> Run(const RunSpec& spec) {
  const int64_t live =
      spec.smoke ? std::max(spec.live_bytes / kSmokeDivisor, kLeastSmokeLive) : spec.live_bytes;
  const int64_t steps = spec.smoke ? kSmokeSteps : kSteps;
  return RunRewire(spec, {.nodes = RewireJob::NodesFor(live, steps),
                          .steps = steps,
                          .batch = kBatch,
                          .garbage = true});
}

// What issue 3 asks of the concurrent collector at one size.
void AddBars(int64_t live_bytes, std::vector<Bar>& bars) {
  const Bar at_this_size = {
      .collector = "concurrent", .heap_multiple = kHeapMultiple, .live_bytes = live_bytes};
  auto add = [&](const char* of, double limit, bool least_counts) {
    Bar& bar = bars.emplace_back(at_this_size);
    bar.of = of;
    bar.at_most = 1;
    bar.limit = limit;
    bar.least_counts = least_counts;
  };
  add("pause_ns.max", 0.5e6, true);
  add("pause_ns.p999", 0.2e6, false);
  add("latency_ns.max", 10e6, true);
  add("latency_ns.p999", 1e6, false);
  Bar& wall = bars.emplace_back(at_this_size);
  wall.of = "wall_s";
  wall.at_most = 2;
  wall.peer_collector = "parallel";
  // "At or below both", in the same run. The median decides: the least ratio would be that of the
  // round in which the peer lost a slice.
  for (const char* peer : {"zgc", "shenandoah"}) {
    Bar& bar = bars.emplace_back(at_this_size);
    bar.of = "pause_ns.max";
    bar.at_most = 1;
    bar.peer = peer;
  }
}

}  // namespace

Workload W7HeapSize() {
  Workload workload;
  workload.name = "W7";
  workload.about = "W4's changes and 512 bytes of garbage a step, on live heaps of several sizes";
  workload.peers = Peers();
  workload.default_peers = {"mimalloc", "zgc", "shenandoah"};
  workload.collectors = Collectors();
  workload.heap_multiples = {kHeapMultiple};
  workload.live_sizes = {kSmallest, 256 * kMiB, 1024 * kMiB, kLargest};
  for (int64_t live_bytes : workload.live_sizes) AddBars(live_bytes, workload.bars);
  for (const auto& [of, limit] :
       {std::pair("latency_ns.max", 3e6), std::pair("latency_ns.p999", 0.5e6)}) {
    workload.bars.push_back({.of = of,
                             .at_most = 1,
                             .collector = "generational",
                             .heap_multiple = kHeapMultiple,
                             .live_bytes = 1024 * kMiB,
                             .limit = limit});
  }
  // "The pause": the usual one and the longest.
  for (const char* of : {"pause_ns.p50", "pause_ns.max"}) {
    workload.bars.push_back({.of = of,
                             .at_most = 1.3,
                             .collector = "concurrent",
                             .heap_multiple = kHeapMultiple,
                             .live_bytes = kLargest,
                             .peer_live_bytes = kSmallest});
  }
  workload.details = {"timed_collections", "pause_ns.p999",   "latency_ns.p50",
                      "latency_ns.p99",    "latency_ns.p999", "latency_ns.max"};
  workload.run = &Run;
  return workload;
}

}  // namespace ebb::bench
