#include "bench/run_spec.h"

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace ebb::bench {

std::string RunSpec::Label() const {
  return collector.empty() ? subject : absl::StrCat(subject, "/", collector);
}

std::string RunSpec::Title() const {
  std::string title = absl::StrFormat("%s %s threads=%d", workload, Label(), threads);
  if (heap_multiple > 0) absl::StrAppendFormat(&title, " heap=%gx", heap_multiple);
  if (workers > 0) absl::StrAppendFormat(&title, " workers=%d", workers);
  return title;
}

void RunSpec::Write(Record& record) const {
  record.Set("workload", workload);
  record.Set("subject", subject);
  if (!collector.empty()) record.Set("collector", collector);
  record.Set("threads", threads);
  if (heap_multiple > 0) record.Set("heap_multiple", heap_multiple);
  if (workers > 0) record.Set("workers", workers);
  record.Set("seed", seed);
  if (smoke) record.Set("smoke", true);
}

std::string RunSpec::ToString() const {
  return absl::StrFormat(
      "workload=%s,subject=%s,collector=%s,threads=%d,heap=%.17g,workers=%d,seed=%u,smoke=%d",
      workload, subject, collector, threads, heap_multiple, workers, seed, smoke);
}

absl::StatusOr<RunSpec> RunSpec::Parse(std::string_view text) {
  RunSpec spec;
  for (std::string_view part : absl::StrSplit(text, ',')) {
    std::pair<std::string_view, std::string_view> field =
        absl::StrSplit(part, absl::MaxSplits('=', 1));
    auto& [name, value] = field;
    bool ok = true;
    if (name == "workload") {
      spec.workload = value;
    } else if (name == "subject") {
      spec.subject = value;
    } else if (name == "collector") {
      spec.collector = value;
    } else if (name == "threads") {
      ok = absl::SimpleAtoi(value, &spec.threads);
    } else if (name == "heap") {
      ok = absl::SimpleAtod(value, &spec.heap_multiple);
    } else if (name == "workers") {
      ok = absl::SimpleAtoi(value, &spec.workers);
    } else if (name == "seed") {
      ok = absl::SimpleAtoi(value, &spec.seed);
    } else if (name == "smoke") {
      ok = absl::SimpleAtob(value, &spec.smoke);
    } else {
      return absl::InvalidArgumentError(absl::StrCat(
          "run spec: unknown field '", name,
          "' (accepted: workload, subject, collector, threads, heap, workers, seed, smoke)"));
    }
    if (!ok) return absl::InvalidArgumentError(absl::StrCat("run spec: bad value in '", part, "'"));
  }
  return spec;
}

}  // namespace ebb::bench
