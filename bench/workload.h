// Workload: a program to measure, the settings it is measured at, and the bars it has to meet.
// The list of all is AllWorkloads; each has a file of its own.

#ifndef EBB_BENCH_WORKLOAD_H_
#define EBB_BENCH_WORKLOAD_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/record.h"
#include "bench/run_spec.h"

namespace ebb::bench {

// A statement about a ratio, "of subject over of peer is at most", with what an issue asks for.
struct Bar {
  std::string of = "";       // a field of the result line
  double at_most = 0;
  // Settings of the subject's run, which is ebb's. A bar is left out where they were not asked for.
  std::string collector = "parallel";
  std::string sizing = "";
  int threads = 1;
  double heap_multiple = 0;
  int64_t live_bytes = 0;
  int workers = 0;
  // What it is compared with: a peer at the same settings, or
  std::string peer = "";
  // ebb's own run at settings that differ in one of these, or
  std::string peer_collector = "";
  int peer_threads = 0;
  int64_t peer_live_bytes = 0;
  double peer_heap_multiple = 0;
  int peer_workers = 0;
  // another field of the same result line, or
  std::string reference = "";
  // a number, in the unit of `of`.
  double limit = 0;
  // The least of the rounds decides, not the median: for a maximum so short that it may be a slice
  // which the machine has lost.
  bool least_counts = false;
};

// The option's default: minor_pause_target.
inline Bar MinorPauseBar(double heap_multiple) {
  Bar bar;
  bar.of = "minor_pause_ns.p99";
  bar.at_most = 1;
  bar.collector = "generational";
  bar.heap_multiple = heap_multiple;
  bar.limit = 1e6;
  return bar;
}

struct Workload {
  std::string name;
  std::string about;
  // The peers that can run it, and those it is compared with unless told otherwise.
  std::vector<std::string> peers;
  std::vector<std::string> default_peers;
  // Settings unless told otherwise. No heap multiples: it has a heap size of its own. No live
  // sizes: it has one of its own. No thread counts: it has one thread. No worker counts: the
  // default of the heap. A sizing or backend that is empty: the default of the heap.
  std::vector<std::string> collectors = {"parallel"};
  std::vector<std::string> sizings = {""};
  std::vector<std::string> backends = {""};
  std::vector<double> heap_multiples;
  std::vector<int64_t> live_sizes;
  std::vector<int> threads;
  std::vector<int> workers;
  std::vector<Bar> bars;
  // Fields of its result that the table shows beside the ones that every workload has.
  std::vector<std::string> details;
  // Runs it once in this process. A result has wall_s, cpu_s, peak_rss_bytes and what else applies.
  absl::StatusOr<Record> (*run)(const RunSpec& spec);
};

const std::vector<Workload>& AllWorkloads();
// Null if there is none of that name.
const Workload* FindWorkload(std::string_view name);

Workload W1GcBench();
Workload W1GcBenchWithHoles();
Workload W3Cache();
Workload W4Rewire();
Workload W5aCopyOwn();
Workload W5bCopyShared();
Workload W5cTrees();
Workload W5dList();
Workload W5eRings();
Workload W5fStores();
Workload W5gMixed();
Workload W6aAllocateAndDrop();
Workload W6bAllocateInWindow();
Workload W7HeapSize();
Workload W8Chase();
Workload W10Tide();
Workload PauseWorkload();
Workload DropWorkload();
Workload IdleWorkload();

}  // namespace ebb::bench

#endif  // EBB_BENCH_WORKLOAD_H_
