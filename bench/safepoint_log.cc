#include "bench/safepoint_log.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace ebb::bench {
namespace {

struct Safepoint {
  int64_t end_ns = 0;
  std::string_view operation;
  int64_t reaching_ns = 0;
  int64_t total_ns = 0;
};

// Cuts what comes before `end` off the front of `text`, and `end` too; false if there is no `end`.
bool TakeUntil(std::string_view end, std::string_view& text, std::string_view& taken) {
  const size_t at = text.find(end);
  if (at == text.npos) return false;
  taken = text.substr(0, at);
  text.remove_prefix(at + end.size());
  return true;
}

// "..., LABEL: 123 ns".
bool TakeNanoseconds(std::string_view label, std::string_view& text, int64_t& ns) {
  std::string_view skipped;
  std::string_view number;
  return TakeUntil(absl::StrCat(", ", label, ": "), text, skipped) &&
         TakeUntil(" ns", text, number) && absl::SimpleAtoi(number, &ns);
}

// [123ns] Safepoint "NAME", ..., Reaching safepoint: 1 ns, ..., Total: 3 ns
bool ReadLine(std::string_view line, Safepoint& safepoint) {
  std::string_view end;
  return absl::ConsumePrefix(&line, "[") && TakeUntil("ns] Safepoint \"", line, end) &&
         absl::SimpleAtoi(end, &safepoint.end_ns) && TakeUntil("\"", line, safepoint.operation) &&
         TakeNanoseconds("Reaching safepoint", line, safepoint.reaching_ns) &&
         TakeNanoseconds("Total", line, safepoint.total_ns);
}

}  // namespace

absl::StatusOr<SafepointLog> SafepointLog::Parse(std::string_view log, std::string_view collector,
                                                 int64_t since_ns) {
  SafepointLog found;
  for (std::string_view line : absl::StrSplit(log, '\n', absl::SkipEmpty())) {
    Safepoint safepoint;
    if (!ReadLine(line, safepoint)) {
      return absl::InvalidArgumentError(absl::StrCat("not a line of a safepoint log: ", line));
    }
    if (safepoint.end_ns < since_ns) continue;
    if (!absl::StartsWith(safepoint.operation, collector)) continue;
    found.pause_ns.push_back(safepoint.total_ns);
    found.time_to_safepoint_ns.push_back(safepoint.reaching_ns);
  }
  return found;
}

}  // namespace ebb::bench
