// Rewire: a measured run over a graph that is changed at random, for W4 and W7. A table holds nodes
// of four edges; a step redirects a random edge to a random node, and every 20th step puts a new
// node into a random place of the table instead. Latency is that of batches of steps.

#ifndef EBB_BENCH_REWIRE_H_
#define EBB_BENCH_REWIRE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "bench/record.h"
#include "bench/run_spec.h"

namespace ebb::bench {

struct RewireJob {
  uint32_t nodes = 0;  // in the table; from 1 to kMostNodes
  int64_t steps = 0;   // a multiple of batch, as batch is of kStepsPerNode
  int batch = 0;
  bool garbage = false;  // kGarbageBytes at every step, dropped at once

  static constexpr int kDegree = 4;
  static constexpr int kStepsPerNode = 20;
  static constexpr int64_t kGarbageBytes = 512;
  // Edges are drawn from a 32-bit number.
  static constexpr int64_t kMostNodes = (int64_t{1} << 32) / kDegree;

  // Bytes of our representation that are alive at most (but for chance, which in a large graph is
  // little): table, nodes, and nodes that are no longer in the table but have edges to them.
  int64_t LiveBytes() const;
  // The nodes of a job of `steps` steps whose LiveBytes are at most `live_bytes`, and nearly that.
  static uint32_t NodesFor(int64_t live_bytes, int64_t steps);
};

// Builds the graph, and collects; then runs the steps, timed, on a thread that is pinned to a
// processor; then checks the graph. Beside the usual fields, the result has latency_ns (of
// batches), timed_collections (those during the steps), and checksum: of the graph at the end,
// which is the same for every subject.
absl::StatusOr<Record> RunRewire(const RunSpec& spec, const RewireJob& job);

}  // namespace ebb::bench

#endif  // EBB_BENCH_REWIRE_H_
