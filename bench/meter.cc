#include "bench/meter.h"

#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"

namespace ebb::bench {
namespace {

// A field of /proc/self/status that is given in kB, in bytes.
int64_t StatusField(std::string_view name) {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    int64_t kilobytes = 0;
    if (word == name && status >> kilobytes) return kilobytes * 1024;
  }
  return 0;
}

}  // namespace

absl::Duration MonotonicNow() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::DurationFromTimespec(now);
}

absl::Duration ProcessCpuTime() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return absl::DurationFromTimeval(usage.ru_utime) + absl::DurationFromTimeval(usage.ru_stime);
}

absl::Duration ThreadCpuTime() {
  timespec spent = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
  return absl::DurationFromTimespec(spent);
}

int64_t ResidentBytes() { return StatusField("VmRSS:"); }

// Not ru_maxrss, which a process inherits from the one that started it.
int64_t PeakResidentBytes() { return StatusField("VmHWM:"); }

void Meter::Start() {
  cpu_ = ProcessCpuTime();
  wall_ = MonotonicNow();
}

void Meter::Stop() {
  wall_ = MonotonicNow() - wall_;
  cpu_ = ProcessCpuTime() - cpu_;
  peak_ = PeakResidentBytes();
}

void Meter::Write(Record& record) const {
  record.Set("wall_s", absl::ToDoubleSeconds(wall_));
  record.Set("cpu_s", absl::ToDoubleSeconds(cpu_));
  record.Set("peak_rss_bytes", peak_);
}

void WriteDistribution(std::vector<int64_t> samples, std::string_view name, Record& record) {
  if (samples.empty()) return;
  std::sort(samples.begin(), samples.end());
  auto at = [&](double share) {
    return samples[static_cast<size_t>(share * static_cast<double>(samples.size() - 1) + 0.5)];
  };
  record.Set(absl::StrCat(name, ".count"), samples.size());
  record.Set(absl::StrCat(name, ".p50"), at(0.50));
  record.Set(absl::StrCat(name, ".p99"), at(0.99));
  record.Set(absl::StrCat(name, ".p999"), at(0.999));
  record.Set(absl::StrCat(name, ".p9999"), at(0.9999));
  record.Set(absl::StrCat(name, ".max"), samples.back());
}

}  // namespace ebb::bench
