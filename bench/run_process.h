// RunProcess: one measured run in a process of its own, so that peak memory and a peer's state
// belong to that run alone.

#ifndef EBB_BENCH_RUN_PROCESS_H_
#define EBB_BENCH_RUN_PROCESS_H_

#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bench/record.h"
#include "bench/run_spec.h"

namespace ebb::bench {

// The option by which this program runs one spec and prints its result line.
inline constexpr char kOneRunFlag[] = "--one";
// And the one by which it says whether a peer can run.
inline constexpr char kProbeFlag[] = "--probe";

// Starts this program again for `spec` and reads its result. `tick` is called a few times a second
// while it runs. An error carries what the process printed in place of a result, or how it ended.
absl::StatusOr<Record> RunProcess(const RunSpec& spec, const std::function<void()>& tick);

// In the started process: runs the spec and prints the line. Returns the exit status: 0, 2 for a
// spec that makes no sense, kOutOfMemoryExit where the subject had no room for what was to be
// allocated, and 1 for any other failure.
inline constexpr int kOutOfMemoryExit = 3;
int RunOne(std::string_view spec_text);

// Ok if the peer can run here; Unavailable, saying why, if it cannot. Asks a process of its own, so
// that no peer is loaded into this one: ProbePeer is what that process does.
absl::Status PeerAvailable(const std::string& peer);
int ProbePeer(const std::string& peer);

}  // namespace ebb::bench

#endif  // EBB_BENCH_RUN_PROCESS_H_
