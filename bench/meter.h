// Meter: wall time, CPU time of all threads, and peak resident memory of this process.
// One measured run is one process, so the peak belongs to the run.

#ifndef EBB_BENCH_METER_H_
#define EBB_BENCH_METER_H_

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "bench/record.h"

namespace ebb::bench {

// Time by the monotonic clock, and CPU time (user and system, all threads) since process start.
absl::Duration MonotonicNow();
absl::Duration ProcessCpuTime();
// The same of the calling thread, since it began.
absl::Duration ThreadCpuTime();

// Resident memory of this process now, and its highest value so far, in bytes.
int64_t ResidentBytes();
int64_t PeakResidentBytes();

class Meter {
 public:
  void Start();
  void Stop();
  absl::Duration wall() const { return wall_; }
  absl::Duration cpu() const { return cpu_; }
  // Sets wall_s, cpu_s and peak_rss_bytes, all as they were at Stop.
  void Write(Record& record) const;

 private:
  absl::Duration wall_;
  absl::Duration cpu_;
  int64_t peak_ = 0;
};

// Sets name.count, .p50, .p99, .p999, .p9999, .max from samples in nanoseconds; nothing if there
// are none.
void WriteDistribution(std::vector<int64_t> samples, std::string_view name, Record& record);

}  // namespace ebb::bench

#endif  // EBB_BENCH_METER_H_
