// How soon the helpers of a WorkerPool are at work.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "background/worker_pool.h"
#include "benchmark/benchmark.h"
#include "platform/clock.h"
#include "platform/system.h"

namespace ebb::background {
namespace {

double Percentile(std::vector<int64_t>& values, int percent) {
  if (values.empty()) return 0;
  auto place = values.begin() + (values.size() - 1) * percent / 100;
  std::nth_element(values.begin(), place, values.end());
  return static_cast<double>(*place) / 1000;
}

// From the call of Recruit until the last helper is in `work`, the helpers having been idle for
// some milliseconds; in microseconds. The argument is the number of helpers.
void BM_Recruit(benchmark::State& state) {
  const int helpers = static_cast<int>(state.range(0));
  WorkerPool pool(platform::System::Real(), helpers, "bench");
  auto nothing = [](int) {};
  WorkerPool::Job(pool, helpers, nothing).Recruit();  // starts the threads
  std::vector<int64_t> latencies;
  std::vector<int64_t> recruits;
  for (auto _ : state) {
    absl::SleepFor(absl::Milliseconds(2));
    std::atomic<int64_t> last{0};
    auto work = [&last](int) {
      const int64_t now = platform::MonotonicNanos();
      // Relaxed: the greatest of some times, which is read after the join.
      int64_t seen = last.load(std::memory_order_relaxed);
      while (seen < now && !last.compare_exchange_weak(seen, now, std::memory_order_relaxed)) {
      }
    };
    WorkerPool::Job job(pool, helpers, work);
    const int64_t start = platform::MonotonicNanos();
    job.Recruit();
    recruits.push_back(platform::MonotonicNanos() - start);
    job.Join();
    latencies.push_back(last.load(std::memory_order_relaxed) - start);  // joined
    state.SetIterationTime(static_cast<double>(latencies.back()) * 1e-9);
  }
  state.counters["p50_us"] = Percentile(latencies, 50);
  state.counters["p99_us"] = Percentile(latencies, 99);
  state.counters["recruit_p50_us"] = Percentile(recruits, 50);
}
BENCHMARK(BM_Recruit)->Arg(1)->Arg(3)->Iterations(1000)->UseManualTime();

// A job that finds nothing to share: what it costs to have one.
void BM_JobWithoutHelpers(benchmark::State& state) {
  WorkerPool pool(platform::System::Real(), 3, "bench");
  for (auto _ : state) {
    auto work = [](int) {};
    WorkerPool::Job job(pool, 3, work);
    benchmark::DoNotOptimize(job.recruited());
  }
}
BENCHMARK(BM_JobWithoutHelpers);

}  // namespace
}  // namespace ebb::background
