#include "bench/run_spec.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace ebb::bench {
namespace {

constexpr std::pair<std::string_view, int64_t> kUnits[] = {
    {"g", 1 << 30}, {"m", 1 << 20}, {"k", 1 << 10}};

}  // namespace

std::string SizeName(int64_t bytes) {
  for (auto [unit, size] : kUnits) {
    if (bytes % size == 0) return absl::StrCat(bytes / size, unit);
  }
  return absl::StrCat(bytes);
}

bool ParseSize(std::string_view text, int64_t* bytes) {
  int64_t size = 1;
  for (auto [unit, unit_size] : kUnits) {
    if (absl::ConsumeSuffix(&text, unit)) {
      size = unit_size;
      break;
    }
  }
  return absl::SimpleAtoi(text, bytes) && !__builtin_mul_overflow(*bytes, size, bytes);
}

std::string RunSpec::Label() const {
  std::string label = subject;
  if (!collector.empty()) absl::StrAppend(&label, "/", collector);
  if (!sizing.empty()) absl::StrAppend(&label, "/", sizing);
  if (!backend.empty()) absl::StrAppend(&label, "/", backend);
  return label;
}

std::string RunSpec::Title() const {
  std::string title = absl::StrFormat("%s %s threads=%d", workload, Label(), threads);
  if (heap_multiple > 0) absl::StrAppendFormat(&title, " heap=%gx", heap_multiple);
  if (live_bytes > 0) absl::StrAppend(&title, " live=", SizeName(live_bytes));
  if (workers > 0) absl::StrAppendFormat(&title, " workers=%d", workers);
  return title;
}

void RunSpec::Write(Record& record) const {
  record.Set("workload", workload);
  record.Set("subject", subject);
  if (!collector.empty()) record.Set("collector", collector);
  if (!sizing.empty()) record.Set("sizing", sizing);
  if (!backend.empty()) record.Set("backend", backend);
  record.Set("threads", threads);
  if (heap_multiple > 0) record.Set("heap_multiple", heap_multiple);
  if (live_bytes > 0) record.Set("live_size_bytes", live_bytes);
  if (workers > 0) record.Set("workers", workers);
  record.Set("seed", seed);
  if (smoke) record.Set("smoke", true);
}

std::string RunSpec::ToString() const {
  return absl::StrFormat(
      "workload=%s,subject=%s,collector=%s,sizing=%s,backend=%s,threads=%d,heap=%.17g,capped=%d,"
      "live=%d,workers=%d,seed=%u,smoke=%d",
      workload, subject, collector, sizing, backend, threads, heap_multiple, capped, live_bytes,
      workers, seed, smoke);
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
    } else if (name == "sizing") {
      spec.sizing = value;
    } else if (name == "backend") {
      spec.backend = value;
    } else if (name == "threads") {
      ok = absl::SimpleAtoi(value, &spec.threads);
    } else if (name == "heap") {
      ok = absl::SimpleAtod(value, &spec.heap_multiple);
    } else if (name == "capped") {
      ok = absl::SimpleAtob(value, &spec.capped);
    } else if (name == "live") {
      ok = ParseSize(value, &spec.live_bytes);
    } else if (name == "workers") {
      ok = absl::SimpleAtoi(value, &spec.workers);
    } else if (name == "seed") {
      ok = absl::SimpleAtoi(value, &spec.seed);
    } else if (name == "smoke") {
      ok = absl::SimpleAtob(value, &spec.smoke);
    } else {
      return absl::InvalidArgumentError(absl::StrCat(
          "run spec: unknown field '", name,
          "' (accepted: workload, subject, collector, sizing, backend, threads, heap, capped, "
          "live, workers, seed, smoke)"));
    }
    if (!ok) return absl::InvalidArgumentError(absl::StrCat("run spec: bad value in '", part, "'"));
  }
  return spec;
}

}  // namespace ebb::bench
