// Report: the table on the terminal, the JSON lines beside it, and the progress line of long runs.

#ifndef EBB_BENCH_REPORT_H_
#define EBB_BENCH_REPORT_H_

#include <fstream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "bench/comparison.h"
#include "bench/record.h"
#include "bench/workload.h"

namespace ebb::bench {

// One JSON object a line in a file; does nothing if no file is named.
class JsonFile {
 public:
  static absl::StatusOr<JsonFile> Open(const std::string& path);
  void Write(const Record& line);
  // An error if something could not be written.
  absl::Status Close();

 private:
  std::string path_;
  std::ofstream stream_;
};

// A line on standard error that is overwritten as runs go by; silent unless that is a terminal.
class Progress {
 public:
  Progress();
  void Begin(int run, int runs, const std::string& title);
  void Tick();
  void Clear();

 private:
  const bool terminal_;
  std::string text_;
  absl::Duration since_;
};

// The median over the rounds of each number, as a table of one line per spec, and below it the
// workload's own fields.
std::string ResultTable(const Workload& workload, const Results& results);

// What the comparisons gave: a line for each that has a bar, then one for each pair of sides with
// all the fields that are compared.
std::string RatioTable(const std::vector<Comparison>& comparisons, const Results& results);

}  // namespace ebb::bench

#endif  // EBB_BENCH_REPORT_H_
