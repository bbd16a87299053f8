// W4, rewire: a graph of 2 M nodes whose edges are redirected at random. Stores and barriers: it
// allocates little, so what counts is what a store costs and how long a batch of steps can take.

#include <cstdint>
#include <string>

#include "bench/rewire.h"
#include "bench/subjects.h"
#include "bench/workload.h"

namespace ebb::bench {
namespace {

constexpr RewireJob kFull = {.nodes = 2'000'000, .steps = 50'000'000, .batch = 1000};
constexpr RewireJob kSmoke = {.nodes = 20'000, .steps = 500'000, .batch = 1000};

absl::StatusOr<Record> Run(const RunSpec& spec) {
  return RunRewire(spec, spec.smoke ? kSmoke : kFull);
}

}  // namespace

Workload W4Rewire() {
  Workload workload;
  workload.name = "W4";
  workload.about = "redirect random edges of a graph; latency of batches of 1,000 steps";
  workload.peers = Peers();
  workload.peers.emplace_back(kNoBarrier);
  workload.default_peers = {"boehm", "mimalloc", std::string(kNoBarrier)};
  workload.collectors = Collectors();
  workload.heap_multiples = {3};
  workload.bars = {
      {.of = "latency_ns.p999", .at_most = 1, .collector = "concurrent", .heap_multiple = 3,
       .limit = 250e3},
      {.of = "latency_ns.max", .at_most = 1, .collector = "concurrent", .heap_multiple = 3,
       .limit = 1.5e6, .least_counts = true},
      {.of = "wall_s", .at_most = 1, .collector = "concurrent", .heap_multiple = 3,
       .peer = "boehm"},
      // What barriers cost where no load need forward, nor any store be logged.
      {.of = "wall_s", .at_most = 1.04, .heap_multiple = 3, .peer = std::string(kNoBarrier)},
      MinorPauseBar(3),
  };
  workload.details = {"timed_collections", "latency_ns.p50", "latency_ns.p99", "latency_ns.p999",
                      "latency_ns.max"};
  workload.run = &Run;
  return workload;
}

}  // namespace ebb::bench
