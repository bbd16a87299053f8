// Peers: OpenJDK with one of its collectors. Not a subject in the words of bench/subjects.h, on
// which a workload's own program runs: a JVM runs bench/jvm/Rewire.java, which is bench/rewire.cc's
// program again. Its source is part of this program; each run compiles it, in a directory of its
// own.

#ifndef EBB_BENCH_JVM_PEER_H_
#define EBB_BENCH_JVM_PEER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/record.h"

namespace ebb::bench {

// zgc, shenandoah, g1.
const std::vector<std::string>& JvmPeers();
bool IsJvmPeer(std::string_view name);

// Ok if there are a Java compiler and a JVM with this collector; Unavailable, saying why, if not.
absl::Status CheckJvmPeer(std::string_view name);

// A RewireJob, and how it is to be run.
struct JvmRewireOptions {
  std::string peer = "";
  int64_t heap_bytes = 0;  // of -Xms and -Xmx; kLeastJvmHeapBytes if that is more
  uint32_t nodes = 0;
  int64_t steps = 0;
  int batch = 0;
  int64_t garbage_bytes = 0;  // a step
  uint64_t seed = 1;
  bool smoke = false;  // compiles little before the timed part
};

// What a JVM needs beside a graph of a few MiB; less than any heap of a full size.
inline constexpr int64_t kLeastJvmHeapBytes = int64_t{64} << 20;

// The usual fields, latency_ns, timed_collections and checksum, as from RunRewire. Pauses and
// collections are those since the program has warmed up.
absl::StatusOr<Record> RunRewireOnJvm(const JvmRewireOptions& options);

}  // namespace ebb::bench

#endif  // EBB_BENCH_JVM_PEER_H_
