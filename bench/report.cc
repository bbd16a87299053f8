#include "bench/report.h"

#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "bench/meter.h"
#include "bench/run_spec.h"

namespace ebb::bench {
namespace {

// "1.53 ms", three figures and the unit that suits.
std::string Scaled(double value, absl::Span<const char* const> units, double step) {
  size_t unit = 0;
  while (unit + 1 < units.size() && value >= step) {
    value /= step;
    ++unit;
  }
  const int decimals = value >= 100 || unit == 0 ? 0 : value >= 10 ? 1 : 2;
  return absl::StrFormat("%.*f %s", decimals, value, units[unit]);
}
std::string Nanoseconds(double ns) {
  static constexpr const char* kUnits[] = {"ns", "us", "ms", "s"};
  return Scaled(ns, kUnits, 1000);
}
std::string ByteCount(double bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB"};
  return Scaled(bytes, kUnits, 1024);
}
std::string ByName(const std::string& field, double value) {
  if (absl::EndsWith(field, "_bytes")) return ByteCount(value);
  if (absl::StrContains(field, "_ns.")) return Nanoseconds(value);
  return absl::StrFormat("%.4g", value);
}

std::optional<double> MedianOf(const Results::Row& row, const std::string& field) {
  std::vector<double> values;
  for (const std::optional<Record>& round : row.rounds) {
    if (!round.has_value()) continue;
    if (std::optional<double> value = round->Number(field)) values.push_back(*value);
  }
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

template <typename Format>
std::string Cell(const Results::Row& row, const std::string& field, const Format& format) {
  std::optional<double> value = MedianOf(row, field);
  return value.has_value() ? format(*value) : "-";
}

const std::vector<std::string>& Headings() {
  static const auto* const headings = new std::vector<std::string>{
      "workload", "subject",   "threads",   "heap",      "wall s", "cpu s",    "Mops/s",
      "cycles",   "pause p50", "pause p99", "pause max", "tts p99", "heap size", "live",
      "peak RSS"};
  return *headings;
}

std::vector<std::string> TableLine(const Results::Row& row) {
  auto seconds = [](double s) { return absl::StrFormat("%.3f", s); };
  auto count = [](double n) { return absl::StrFormat("%.0f", n); };
  std::optional<double> operations = MedianOf(row, "operations");
  auto rate = [&](double s) {
    return operations.has_value() && s > 0 ? absl::StrFormat("%.1f", *operations / s / 1e6) : "-";
  };
  const RunSpec& spec = row.spec;
  std::string heap = spec.heap_multiple > 0 ? absl::StrFormat("%gx", spec.heap_multiple) : "";
  if (spec.live_bytes > 0) {
    absl::StrAppend(&heap, heap.empty() ? "" : " ", SizeName(spec.live_bytes));
  }
  std::string threads = absl::StrCat(spec.threads);
  if (spec.workers > 0) absl::StrAppend(&threads, "+", spec.workers, "w");
  return {spec.workload,
          spec.Label(),
          threads,
          heap.empty() ? "-" : heap,
          Cell(row, "wall_s", seconds),
          Cell(row, "cpu_s", seconds),
          Cell(row, "wall_s", rate),
          Cell(row, "collections", count),
          Cell(row, "pause_ns.p50", Nanoseconds),
          Cell(row, "pause_ns.p99", Nanoseconds),
          Cell(row, "pause_ns.max", Nanoseconds),
          Cell(row, "time_to_safepoint_ns.p99", Nanoseconds),
          Cell(row, "heap_bytes", ByteCount),
          Cell(row, "live_bytes", ByteCount),
          Cell(row, "peak_rss_bytes", ByteCount)};
}

// Columns as wide as their widest cell, the first two flush left, the others flush right.
std::string Aligned(const std::vector<std::vector<std::string>>& lines) {
  std::vector<size_t> widths;
  for (const auto& line : lines) {
    widths.resize(std::max(widths.size(), line.size()));
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  std::string out;
  for (const auto& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) {
      const int width = static_cast<int>(widths[i]);
      absl::StrAppendFormat(&out, "%s%*s", i == 0 ? "" : "  ", i < 2 ? -width : width, line[i]);
    }
    out += '\n';
  }
  return out;
}

// "ebb/parallel / boehm, threads 1, heap 3x".
std::string Sides(const Comparison& comparison) {
  const RunSpec& subject = comparison.subject;
  std::string text = absl::StrCat(subject.Label(), " / ", comparison.PeerLabel());
  if (comparison.limit > 0) absl::StrAppend(&text, " ", ByName(comparison.of, comparison.limit));
  absl::StrAppend(&text, ", threads ", subject.threads);
  if (comparison.peer.has_value() && comparison.peer->threads != subject.threads) {
    absl::StrAppend(&text, " against ", comparison.peer->threads);
  }
  if (subject.heap_multiple > 0) absl::StrAppendFormat(&text, ", heap %gx", subject.heap_multiple);
  if (subject.live_bytes > 0) absl::StrAppend(&text, ", live ", SizeName(subject.live_bytes));
  if (comparison.peer.has_value() && comparison.peer->live_bytes != subject.live_bytes) {
    absl::StrAppend(&text, " against ", SizeName(comparison.peer->live_bytes));
  }
  if (subject.workers > 0) absl::StrAppend(&text, ", workers ", subject.workers);
  if (comparison.peer.has_value() && comparison.peer->workers != subject.workers) {
    absl::StrAppend(&text, " against ", comparison.peer->workers);
  }
  return text;
}

// "0.720 (0.701 to 0.755, 5 rounds)".
std::string Spread(const Ratio& ratio) {
  if (ratio.values.empty()) return "not measured";
  if (ratio.values.size() == 1) return absl::StrFormat("%.3f", ratio.median());
  return absl::StrFormat("%.3f (%.3f to %.3f, %d rounds)", ratio.median(), ratio.min(),
                         ratio.max(), ratio.values.size());
}

}  // namespace

absl::StatusOr<JsonFile> JsonFile::Open(const std::string& path) {
  JsonFile file;
  file.path_ = path;
  if (path.empty()) return file;
  file.stream_.open(path);
  if (!file.stream_) {
    return absl::InvalidArgumentError(absl::StrCat("--json: cannot write to '", path, "'"));
  }
  return file;
}

void JsonFile::Write(const Record& line) {
  if (!path_.empty()) stream_ << line.ToJson() << std::endl;
}

absl::Status JsonFile::Close() {
  if (path_.empty()) return absl::OkStatus();
  stream_.close();
  if (stream_) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("--json: could not write all of '", path_, "'"));
}

Progress::Progress() : terminal_(isatty(STDERR_FILENO) == 1) {}

void Progress::Begin(int run, int runs, const std::string& title) {
  text_ = absl::StrFormat("[%d/%d] %s", run, runs, title);
  since_ = MonotonicNow();
  Tick();
}

void Progress::Tick() {
  if (!terminal_) return;
  absl::FPrintF(stderr, "\r\033[K%s, %.0f s", text_,
                std::floor(absl::ToDoubleSeconds(MonotonicNow() - since_)));
  fflush(stderr);
}

void Progress::Clear() {
  if (!terminal_) return;
  absl::FPrintF(stderr, "\r\033[K");
  fflush(stderr);
}

std::string ResultTable(const Workload& workload, const Results& results) {
  std::vector<std::vector<std::string>> lines = {Headings()};
  for (const Results::Row& row : results.rows) lines.push_back(TableLine(row));
  std::string out = Aligned(lines);
  for (const Results::Row& row : results.rows) {
    std::vector<std::string> parts;
    std::vector<std::string> fields = workload.details;
    if (!row.spec.sizing.empty()) {
      fields.insert(fields.end(), {"average_heap_bytes", "average_limit_bytes", "limit_raises",
                                   "collection_cpu_s"});
    }
    for (const std::string& field : fields) {
      if (std::optional<double> value = MedianOf(row, field)) {
        parts.push_back(absl::StrCat(field, " ", ByName(field, *value)));
      }
    }
    if (!parts.empty()) {
      absl::StrAppend(&out, "  ", row.spec.Title(), ": ", absl::StrJoin(parts, ", "), "\n");
    }
  }
  return out;
}

std::string RatioTable(const std::vector<Comparison>& comparisons, const Results& results) {
  std::string out;
  for (const Comparison& comparison : comparisons) {
    if (!comparison.bar.has_value()) continue;
    const Ratio ratio = comparison.Compute(results);
    absl::StrAppendFormat(&out, "  %s: %s %s  bar %.3g: %s%s%s\n", Sides(comparison),
                          comparison.of, Spread(ratio), *comparison.bar,
                          Holds(comparison, ratio) ? "holds" : "DOES NOT HOLD",
                          comparison.least_counts ? " by the least" : "",
                          SpreadCrossesBar(comparison, ratio) ? ", spread crosses it" : "");
  }
  std::vector<std::pair<std::string, std::vector<std::string>>> lines;  // sides, fields
  for (const Comparison& comparison : comparisons) {
    if (comparison.bar.has_value()) continue;
    const std::string sides = Sides(comparison);
    auto line = absl::c_find_if(lines, [&](const auto& other) { return other.first == sides; });
    if (line == lines.end()) line = lines.insert(line, {sides, {}});
    line->second.push_back(
        absl::StrCat(comparison.of, " ", Spread(comparison.Compute(results))));
  }
  for (const auto& [sides, fields] : lines) {
    absl::StrAppend(&out, "  ", sides, ": ", absl::StrJoin(fields, ", "), "\n");
  }
  return out;
}

}  // namespace ebb::bench
