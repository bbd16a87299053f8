// How fast each RangeReleaser gives 1,000 touched blocks of 128 KiB back, every other one of a
// row so that none are merged; alone, and while a second thread faults pages in. Reports wall time
// (manual time), the caller's CPU, the process's CPU, and the second thread's p99 page fault.

#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/log/check.h"
#include "benchmark/benchmark.h"
#include "platform/address_range.h"
#include "platform/bytes.h"
#include "platform/clock.h"
#include "platform/page_size.h"
#include "platform/range_releaser.h"
#include "platform/system.h"
#include "platform/thread.h"

namespace ebb::platform {
namespace {

constexpr int kBlocks = 1000;
constexpr Bytes kBlock = KiB(128);

int64_t CpuNanos(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

AddressRange Committed(Bytes size) {
  System& system = System::Real();
  const auto range = system.Reserve(size, MiB(2), "benchmark");
  CHECK_OK(range);
  CHECK_OK(system.Commit(*range, "benchmark"));
  return *range;
}

// Faults pages in, over and over, and times each fault.
class Faulter {
 public:
  Faulter() : memory_(Committed(MiB(64))) {
    auto thread = System::Real().StartThread("faulter", [this] { Run(); });
    CHECK_OK(thread);
    thread_ = *std::move(thread);
  }
  ~Faulter() {
    Stop();
    CHECK_OK(System::Real().Release(memory_, "benchmark"));
  }

  // p99 of a page fault, in nanoseconds. Stops the thread.
  double StopAndP99() {
    Stop();
    if (nanos_.empty()) return 0;
    const auto p99 = nanos_.begin() + static_cast<int64_t>(nanos_.size()) * 99 / 100;
    std::nth_element(nanos_.begin(), p99, nanos_.end());
    return static_cast<double>(*p99);
  }

 private:
  void Stop() {
    // Relaxed: hands nothing over; the join does.
    stop_.store(true, std::memory_order_relaxed);
    thread_->Join();
  }

  void Run() {
    const size_t page = PageSize().size();
    // Relaxed, both: see Stop.
    while (!stop_.load(std::memory_order_relaxed)) {
      for (uintptr_t at = memory_.begin; at < memory_.end(); at += page) {
        const int64_t start = MonotonicNanos();
        *reinterpret_cast<volatile char*>(at) = 1;
        nanos_.push_back(MonotonicNanos() - start);
        if (stop_.load(std::memory_order_relaxed)) return;  // see Stop
      }
      CHECK_OK(System::Real().Discard(memory_, "benchmark"));
    }
  }

  const AddressRange memory_;
  std::atomic<bool> stop_{false};
  std::vector<int64_t> nanos_;
  std::unique_ptr<Thread> thread_;
};

void Touch(absl::Span<const AddressRange> blocks) {
  for (const AddressRange& block : blocks) {
    for (uintptr_t at = block.begin; at < block.end(); at += PageSize().size()) {
      *reinterpret_cast<volatile char*>(at) = 1;
    }
  }
}

void BM_Discard(benchmark::State& state, ReleaseBackend backend, bool with_faulter) {
  const std::unique_ptr<RangeReleaser> releaser = System::Real().NewRangeReleaser(backend);
  state.SetLabel(std::string(releaser->name()));
  const AddressRange memory = Committed(kBlock * kBlocks * 2);
  std::vector<AddressRange> blocks;
  for (int i = 0; i < kBlocks; ++i) {
    blocks.push_back({.begin = memory.begin + (kBlock * i * 2).size(), .size = kBlock});
  }
  const auto faulter = with_faulter ? std::make_unique<Faulter>() : nullptr;
  int64_t caller_cpu = 0, process_cpu = 0;
  for (auto _ : state) {
    Touch(blocks);
    const int64_t caller = CpuNanos(CLOCK_THREAD_CPUTIME_ID);
    const int64_t process = CpuNanos(CLOCK_PROCESS_CPUTIME_ID);
    const int64_t wall = MonotonicNanos();
    CHECK_OK(releaser->Discard(blocks));
    state.SetIterationTime(static_cast<double>(MonotonicNanos() - wall) / 1e9);
    caller_cpu += CpuNanos(CLOCK_THREAD_CPUTIME_ID) - caller;
    process_cpu += CpuNanos(CLOCK_PROCESS_CPUTIME_ID) - process;
  }
  const auto per_batch = [&state](int64_t nanos) {
    return static_cast<double>(nanos) / 1e6 / static_cast<double>(state.iterations());
  };
  state.counters["caller_cpu_ms"] = per_batch(caller_cpu);
  if (faulter == nullptr) {
    state.counters["process_cpu_ms"] = per_batch(process_cpu);
  } else {
    state.counters["fault_p99_us"] = faulter->StopAndP99() / 1e3;
  }
  CHECK_OK(System::Real().Release(memory, "benchmark"));
}

#define EBB_DISCARD_BENCHMARK(name, backend)                                          \
  BENCHMARK_CAPTURE(BM_Discard, name, ReleaseBackend::backend, false)                 \
      ->UseManualTime()                                                               \
      ->Unit(benchmark::kMillisecond);                                                \
  BENCHMARK_CAPTURE(BM_Discard, name##_while_faulting, ReleaseBackend::backend, true) \
      ->UseManualTime()                                                               \
      ->Unit(benchmark::kMillisecond)

EBB_DISCARD_BENCHMARK(process_madvise, kProcessMadvise);
EBB_DISCARD_BENCHMARK(io_uring, kIoUring);
EBB_DISCARD_BENCHMARK(madvise, kMadvise);

}  // namespace
}  // namespace ebb::platform
