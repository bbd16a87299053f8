#include "platform/cgroup.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "platform/bytes.h"
#include "platform/read_file.h"

namespace ebb::platform {
namespace {

// One line of the membership file: "4:cpu,cpuacct:/a/b" (v1), or "0::/a/b" (v2).
struct Membership {
  std::string controllers;
  std::vector<std::string> path;  // without "..", which names groups outside the mount
};

std::optional<Membership> ParseMembership(absl::string_view line) {
  const std::vector<absl::string_view> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
  if (fields.size() != 3) return std::nullopt;
  Membership membership{.controllers = std::string(fields[1]), .path = {}};
  for (absl::string_view part : absl::StrSplit(fields[2], '/', absl::SkipEmpty())) {
    if (part != "..") membership.path.emplace_back(part);
  }
  return membership;
}

// Where the hierarchy of `membership` may be mounted, if it can limit `controller`.
std::vector<std::string> MountPoints(const Membership& membership, const std::string& root,
                                     absl::string_view controller) {
  // v2: alone, or beside v1 hierarchies.
  if (membership.controllers.empty()) return {root, absl::StrCat(root, "/unified")};
  const std::vector<absl::string_view> all = absl::StrSplit(membership.controllers, ',');
  if (!absl::c_linear_search(all, controller)) return {};
  std::vector<std::string> mounts = {absl::StrCat(root, "/", controller)};
  if (all.size() > 1) mounts.push_back(absl::StrCat(root, "/", membership.controllers));
  return mounts;
}

// Calls `visit` with the directory of each group this process is in, and of each group above it.
// In a container the path may be the host's and not exist here; its mount point is then the
// container's own group, which is the last one visited. O(depth).
void ForEachGroup(const std::string& root, const std::string& membership_file,
                  absl::string_view controller,
                  const std::function<void(const std::string& directory)>& visit) {
  const absl::StatusOr<std::string> lines = ReadFile(membership_file);
  if (!lines.ok()) return;
  for (absl::string_view line : absl::StrSplit(*lines, '\n')) {
    std::optional<Membership> membership = ParseMembership(line);
    if (!membership.has_value()) continue;
    for (const std::string& mount : MountPoints(*membership, root, controller)) {
      std::vector<std::string> path = membership->path;
      while (!path.empty()) {
        visit(absl::StrCat(mount, "/", absl::StrJoin(path, "/")));
        path.pop_back();
      }
      visit(mount);
    }
  }
}

// The number in `text`, if it is one ("max" is not) and greater than zero.
std::optional<int64_t> PositiveNumber(absl::string_view text) {
  int64_t number = 0;
  if (!absl::SimpleAtoi(text, &number) || number <= 0) return std::nullopt;
  return number;
}

std::optional<int64_t> PositiveNumberIn(const std::string& file) {
  const absl::StatusOr<std::string> text = ReadFile(file);
  if (!text.ok()) return std::nullopt;
  return PositiveNumber(*text);
}

// v2: cpu.max is "<quota> <period>", in microseconds.
std::optional<double> QuotaV2(const std::string& directory) {
  const absl::StatusOr<std::string> text = ReadFile(absl::StrCat(directory, "/cpu.max"));
  if (!text.ok()) return std::nullopt;
  const std::vector<absl::string_view> fields =
      absl::StrSplit(absl::StripAsciiWhitespace(*text), ' ');
  if (fields.size() != 2) return std::nullopt;
  const std::optional<int64_t> quota = PositiveNumber(fields[0]);
  const std::optional<int64_t> period = PositiveNumber(fields[1]);
  if (!quota.has_value() || !period.has_value()) return std::nullopt;
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

// "some avg10=1.50 avg60=..." in the first line: per cent of ten seconds.
std::optional<double> PressureIn(const std::string& file) {
  const absl::StatusOr<std::string> text = ReadFile(file);
  if (!text.ok()) return std::nullopt;
  absl::string_view rest = *text;
  if (!absl::ConsumePrefix(&rest, "some avg10=")) return std::nullopt;
  double percent = 0;
  if (!absl::SimpleAtod(rest.substr(0, rest.find(' ')), &percent)) return std::nullopt;
  if (!(percent >= 0 && percent <= 100)) return std::nullopt;
  return percent / 100;
}

std::optional<double> QuotaV1(const std::string& directory) {
  const std::optional<int64_t> quota =
      PositiveNumberIn(absl::StrCat(directory, "/cpu.cfs_quota_us"));
  const std::optional<int64_t> period =
      PositiveNumberIn(absl::StrCat(directory, "/cpu.cfs_period_us"));
  if (!quota.has_value() || !period.has_value()) return std::nullopt;
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

}  // namespace

Bytes CgroupMemoryLimit(const std::string& root, const std::string& membership) {
  Bytes tightest(std::numeric_limits<int64_t>::max());
  ForEachGroup(root, membership, "memory", [&tightest](const std::string& directory) {
    for (absl::string_view file : {"memory.max", "memory.high", "memory.limit_in_bytes"}) {
      const std::optional<int64_t> limit = PositiveNumberIn(absl::StrCat(directory, "/", file));
      if (limit.has_value()) tightest = std::min(tightest, Bytes(*limit));
    }
  });
  return tightest;
}

std::optional<double> CgroupCpuQuota(const std::string& root, const std::string& membership) {
  std::optional<double> tightest;
  ForEachGroup(root, membership, "cpu", [&tightest](const std::string& directory) {
    for (const std::optional<double>& quota : {QuotaV2(directory), QuotaV1(directory)}) {
      if (quota.has_value()) tightest = std::min(tightest.value_or(*quota), *quota);
    }
  });
  return tightest;
}

double MemoryPressure(const std::string& root, const std::string& membership,
                      const std::string& machine) {
  double greatest = PressureIn(machine).value_or(0);
  ForEachGroup(root, membership, "memory", [&greatest](const std::string& directory) {
    const std::optional<double> here = PressureIn(absl::StrCat(directory, "/memory.pressure"));
    greatest = std::max(greatest, here.value_or(0));
  });
  return greatest;
}

}  // namespace ebb::platform
