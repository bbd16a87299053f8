// Comparison: a ratio between two runs over interleaved rounds, and the bar it has to meet, if any.

#ifndef EBB_BENCH_COMPARISON_H_
#define EBB_BENCH_COMPARISON_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "bench/record.h"
#include "bench/run_spec.h"
#include "bench/workload.h"

namespace ebb::bench {

// What the rounds of one workload gave so far: for each spec of the plan, a result per round, or
// nothing where that run failed.
struct Results {
  struct Row {
    RunSpec spec;
    std::vector<std::optional<Record>> rounds;
  };
  std::vector<Row> rows;

  const Row* Find(const RunSpec& spec) const;
};

struct Ratio {
  std::vector<double> values;  // of the rounds in which both sides ran, sorted
  double median() const;
  double min() const { return values.front(); }
  double max() const { return values.back(); }
};

struct Comparison {
  std::string of;
  RunSpec subject;
  std::optional<RunSpec> peer;  // or
  std::string reference;        // another field of the subject's own result, or
  double limit = 0;             // a number
  std::optional<double> bar;
  bool least_counts = false;    // for the bar: the least of the rounds, not the median

  // What stands below the line: "boehm", the name of the reference field, or "limit".
  std::string PeerLabel() const;
  // No values if a side is missing.
  Ratio Compute(const Results& results) const;
};

// What is to be compared in a plan: the bars whose settings the plan contains (a bar whose peer
// `skipped` names is among them and will have no values), then wall time, CPU time and peak memory
// of ebb against each peer at the same settings, and what sizings and backends trade, each against
// the first that the plan names. Without bars in smoke runs.
std::vector<Comparison> Comparisons(const Workload& workload, absl::Span<const RunSpec> plan,
                                    absl::Span<const std::string> skipped);

// The line of bench/README.md's format.
Record RatioLine(const Comparison& comparison, const Ratio& ratio);

// Whether the median (or the least, where that counts) meets the bar; and whether the spread
// reaches over to the other side of it, so that more rounds are needed, which the least never asks
// for. Without values or without a bar: false.
bool Holds(const Comparison& comparison, const Ratio& ratio);
bool SpreadCrossesBar(const Comparison& comparison, const Ratio& ratio);

}  // namespace ebb::bench

#endif  // EBB_BENCH_COMPARISON_H_
