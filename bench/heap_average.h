// TimeAverage, and HeapAverage: how large a heap was on average, over time.

#ifndef EBB_BENCH_HEAP_AVERAGE_H_
#define EBB_BENCH_HEAP_AVERAGE_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "bench/periodic.h"
#include "bench/record.h"
#include "heap/ebb.h"

namespace ebb::bench {

// The mean over time of a value that holds from one Add to the next. Not thread-safe.
class TimeAverage {
 public:
  // From `now` on the value is `value`; `now` never falls.
  void Add(double value, absl::Duration now);
  // Up to the last Add; before the second one, what the first one said; 0 without any.
  double value() const;

 private:
  double sum_ = 0;  // value times seconds
  absl::Duration first_;
  absl::Duration last_;
  double current_ = 0;
  bool any_ = false;
};

// Reads a heap's figures every kInterval on a thread of its own, as long as it lives.
class HeapAverage {
 public:
  static constexpr absl::Duration kInterval = absl::Milliseconds(10);

  explicit HeapAverage(const Heap& heap);

  // average_heap_bytes, in use; average_limit_bytes, what might have been.
  void Write(Record& record) const ABSL_LOCKS_EXCLUDED(mu_);
  // What reading has cost so far.
  absl::Duration cpu() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Read() ABSL_LOCKS_EXCLUDED(mu_);

  const Heap& heap_;
  mutable absl::Mutex mu_;
  TimeAverage in_use_ ABSL_GUARDED_BY(mu_);
  TimeAverage limit_ ABSL_GUARDED_BY(mu_);
  absl::Duration cpu_ ABSL_GUARDED_BY(mu_);
  Periodic periodic_;  // last: it uses the others
};

}  // namespace ebb::bench

#endif  // EBB_BENCH_HEAP_AVERAGE_H_
