// The pauses of a JVM's collector, from the log that -Xlog:safepoint writes with the decoration
// timenanos. Used by bench/jvm_peer.cc.
//
// Why this log, and not the lines "Pause ..." of -Xlog:gc: it holds for every collector, is exact
// to the nanosecond, and its total is what pause_ns means for Ebb and Boehm, from the request to
// stop to the world's having been started again. A "Pause" line leaves out how long the stopping
// took.

#ifndef EBB_BENCH_SAFEPOINT_LOG_H_
#define EBB_BENCH_SAFEPOINT_LOG_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace ebb::bench {

struct SafepointLog {
  // Of each pause: in all, and until every thread had stopped.
  std::vector<int64_t> pause_ns;
  std::vector<int64_t> time_to_safepoint_ns;

  // Of the operations whose names begin with `collector`, those that ended at `since_ns` or later,
  // by the clock of System.nanoTime. The others (deoptimization, biased locks, exit) are no pauses
  // of the collector: leaving them out is to the JVM's advantage. InvalidArgument for a line that
  // is not understood, so that another version's format is not taken for a log without pauses.
  static absl::StatusOr<SafepointLog> Parse(std::string_view log, std::string_view collector,
                                            int64_t since_ns);
};

}  // namespace ebb::bench

#endif  // EBB_BENCH_SAFEPOINT_LOG_H_
