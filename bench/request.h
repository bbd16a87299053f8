// Request: what the command line asks for.

#ifndef EBB_BENCH_REQUEST_H_
#define EBB_BENCH_REQUEST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "bench/run_spec.h"
#include "bench/workload.h"

namespace ebb::bench {

struct Request {
  // Empty: the main job, which is W1 on two mutators, concurrent, without peers.
  std::vector<const Workload*> workloads;
  int rounds = 0;                                 // 0: the default, see Rounds
  std::optional<std::vector<std::string>> peers;  // nothing: each workload's own
  std::vector<double> heap_multiples;             // empty: each workload's own
  std::vector<int64_t> live_sizes;                // empty: each workload's own
  std::vector<int> threads;                       // empty: each workload's own
  std::vector<std::string> collectors;            // empty: each workload's own
  std::vector<std::string> sizings;               // empty: each workload's own
  std::vector<std::string> backends;              // empty: each workload's own
  uint64_t seed = 1;
  std::string json_file;
  bool smoke = false;
  bool check = false;
  bool list = false;
  bool help = false;

  // InvalidArgument, naming what is accepted, for what it does not know.
  static absl::StatusOr<Request> Parse(absl::Span<const std::string_view> args);

  // 5, where ratios are wanted; 1 for the main job and in smoke runs; or as asked for.
  int Rounds() const;
  // One round of one workload, in the order in which it runs: each of ebb's runs is followed by its
  // peers'. Peers are left out where `workload` has no such peer.
  std::vector<RunSpec> Plan(const Workload& workload) const;
};

// What --help prints.
std::string Usage();
// What --list prints: workloads, peers, bars.
std::string Listing();

}  // namespace ebb::bench

#endif  // EBB_BENCH_REQUEST_H_
