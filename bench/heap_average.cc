#include "bench/heap_average.h"

#include "bench/meter.h"

namespace ebb::bench {

void TimeAverage::Add(double value, absl::Duration now) {
  if (any_) {
    sum_ += current_ * absl::ToDoubleSeconds(now - last_);
  } else {
    first_ = now;
  }
  any_ = true;
  last_ = now;
  current_ = value;
}

double TimeAverage::value() const {
  return last_ > first_ ? sum_ / absl::ToDoubleSeconds(last_ - first_) : current_;
}

HeapAverage::HeapAverage(const Heap& heap)
    : heap_(heap), periodic_(kInterval, [this] { Read(); }) {}

void HeapAverage::Read() {
  const HeapStats stats = heap_.stats();
  const absl::Duration now = MonotonicNow();
  absl::MutexLock lock(&mu_);
  in_use_.Add(static_cast<double>(stats.heap_bytes), now);
  limit_.Add(static_cast<double>(stats.limit_bytes), now);
  cpu_ = ThreadCpuTime();
}

void HeapAverage::Write(Record& record) const {
  absl::MutexLock lock(&mu_);
  record.Set("average_heap_bytes", static_cast<int64_t>(in_use_.value()));
  record.Set("average_limit_bytes", static_cast<int64_t>(limit_.value()));
}

absl::Duration HeapAverage::cpu() const {
  absl::MutexLock lock(&mu_);
  return cpu_;
}

}  // namespace ebb::bench
