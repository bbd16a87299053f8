// Session: runs what a Request asks for, prints it, and says how it went.

#ifndef EBB_BENCH_SESSION_H_
#define EBB_BENCH_SESSION_H_

#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/status/status.h"
#include "bench/comparison.h"
#include "bench/report.h"
#include "bench/request.h"
#include "bench/workload.h"

namespace ebb::bench {

class Session {
 public:
  Session(const Request& request, JsonFile json)
      : request_(request), json_(std::move(json)) {}

  // Runs everything. The status that the program exits with: 0; 1 if a run failed, or, with
  // --check, if a bar does not hold or could not be measured.
  int Run();

 private:
  void RunWorkload(const Workload& workload);
  // The plan without peers that cannot run here, which are reported once and named in `skipped`.
  std::vector<RunSpec> AvailablePlan(const Workload& workload, std::vector<std::string>& skipped);
  // One run of each row, in turn, appended to the row.
  void RunRounds(int rounds, Results& results);
  void ReportRatios(const std::vector<Comparison>& comparisons, const Results& results);

  const Request& request_;
  JsonFile json_;
  Progress progress_;
  absl::btree_map<std::string, absl::Status> peers_;  // whether they can run here
  bool run_failed_ = false;
  bool bar_failed_ = false;
};

}  // namespace ebb::bench

#endif  // EBB_BENCH_SESSION_H_
