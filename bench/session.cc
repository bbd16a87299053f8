#include "bench/session.h"

#include <stdio.h>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "bench/run_process.h"

namespace ebb::bench {
namespace {

Record ResultLine(const RunSpec& spec, size_t round, const Record& result) {
  Record line;
  line.Set("kind", "result");
  spec.Write(line);
  line.Set("round", round);
  line.Merge(result);
  return line;
}

}  // namespace

int Session::Run() {
  for (const Workload* workload : request_.workloads) RunWorkload(*workload);
  absl::Status written = json_.Close();
  if (!written.ok()) {
    absl::FPrintF(stderr, "ebb_bench: %s\n", written.message());
    return 1;
  }
  return run_failed_ || (request_.check && bar_failed_) ? 1 : 0;
}

void Session::RunWorkload(const Workload& workload) {
  absl::PrintF("\n%s: %s. Seed %u, rounds %d, medians.\n", workload.name, workload.about,
               request_.seed, request_.Rounds());
  fflush(stdout);
  std::vector<std::string> skipped;
  const std::vector<RunSpec> plan = AvailablePlan(workload, skipped);
  Results results;
  for (const RunSpec& spec : plan) results.rows.push_back({.spec = spec, .rounds = {}});
  RunRounds(request_.Rounds(), results);
  const std::vector<Comparison> comparisons = Comparisons(workload, plan, skipped);
  // A bar within the spread is not argued about but measured again.
  if (request_.check && absl::c_any_of(comparisons, [&](const Comparison& comparison) {
        return SpreadCrossesBar(comparison, comparison.Compute(results));
      })) {
    absl::PrintF("a spread crosses its bar: as many rounds again\n");
    RunRounds(request_.Rounds(), results);
  }
  absl::PrintF("%s", ResultTable(workload, results));
  ReportRatios(comparisons, results);
  fflush(stdout);
}

std::vector<RunSpec> Session::AvailablePlan(const Workload& workload,
                                            std::vector<std::string>& skipped) {
  std::vector<RunSpec> plan;
  for (const RunSpec& spec : request_.Plan(workload)) {
    if (!spec.is_ebb()) {
      auto [known, first] = peers_.try_emplace(spec.subject);
      if (first) known->second = PeerAvailable(spec.subject);
      if (!known->second.ok()) {
        if (absl::c_linear_search(skipped, spec.subject)) continue;
        skipped.push_back(spec.subject);
        absl::PrintF("skipped: peer %s: %s\n", spec.subject, known->second.message());
        Record line;
        line.Set("kind", "skipped");
        line.Set("workload", workload.name);
        line.Set("subject", spec.subject);
        line.Set("reason", known->second.message());
        json_.Write(line);
        continue;
      }
    }
    plan.push_back(spec);
  }
  return plan;
}

void Session::RunRounds(int rounds, Results& results) {
  const int runs = rounds * static_cast<int>(results.rows.size());
  int run = 0;
  for (int i = 0; i < rounds; ++i) {
    for (Results::Row& row : results.rows) {
      const size_t round = row.rounds.size() + 1;
      progress_.Begin(++run, runs, absl::StrCat(row.spec.Title(), ", round ", round));
      absl::StatusOr<Record> result = RunProcess(row.spec, [&] { progress_.Tick(); });
      progress_.Clear();
      if (result.ok()) {
        json_.Write(ResultLine(row.spec, round, *result));
        row.rounds.push_back(*std::move(result));
        continue;
      }
      run_failed_ = true;
      row.rounds.push_back(std::nullopt);
      absl::FPrintF(stderr, "ebb_bench: %s\n", result.status().message());
    }
  }
}

void Session::ReportRatios(const std::vector<Comparison>& comparisons, const Results& results) {
  absl::PrintF("%s", RatioTable(comparisons, results));
  for (const Comparison& comparison : comparisons) {
    const Ratio ratio = comparison.Compute(results);
    json_.Write(RatioLine(comparison, ratio));
    if (comparison.bar.has_value() && !Holds(comparison, ratio)) bar_failed_ = true;
  }
}

}  // namespace ebb::bench
