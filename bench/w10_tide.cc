// W10, tide: what lives rises to 2 GiB and falls to 100 MiB, three times. Memory is to be given
// back soon after each fall, and a thread that faults memory in meanwhile is not to notice; nor may
// the heap take much more than what lives at high water.

#include <errno.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "bench/forest.h"
#include "bench/heap_average.h"
#include "bench/meter.h"
#include "bench/periodic.h"
#include "bench/subjects.h"
#include "bench/threads.h"
#include "bench/workload.h"
#include "heap/histogram.h"
#include "platform/clock.h"

namespace ebb::bench {
namespace {

constexpr int kTides = 3;
constexpr absl::Duration kSampleInterval = absl::Milliseconds(100);

// Room enough for all that lives and its copy.
constexpr double kHeapMultiple = 3;
// What issue 4 asks for.
constexpr double kMostResidentOfLive = 1.25;
constexpr double kMostResidentOfPeak = 2.2;
constexpr double kLongestFaultNs = 1e6;

struct Sizes {
  int64_t low_bytes;   // what lives after a fall
  int64_t high_bytes;  // and before one
  absl::Duration wait;
};
constexpr Sizes kFull = {
    .low_bytes = 100 << 20, .high_bytes = int64_t{2} << 30, .wait = absl::Seconds(10)};
constexpr Sizes kSmoke = {
    .low_bytes = 1 << 20, .high_bytes = 20 << 20, .wait = absl::Milliseconds(200)};

// Pages that a thread faults in one after the other, again and again: none is huge.
class FaultedPages {
 public:
  static constexpr size_t kPageSize = 4096;
  static constexpr size_t kPages = 256;

  static absl::StatusOr<FaultedPages> Map() {
    void* const mapped = mmap(nullptr, kPages * kPageSize, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return absl::ErrnoToStatus(errno, "cannot map pages to fault in");
    madvise(mapped, kPages * kPageSize, MADV_NOHUGEPAGE);  // where it has none, none are huge
    return FaultedPages(static_cast<std::byte*>(mapped));
  }
  FaultedPages(FaultedPages&& other) noexcept : pages_(std::exchange(other.pages_, nullptr)) {}
  FaultedPages& operator=(FaultedPages&&) = delete;
  ~FaultedPages() {
    if (pages_ != nullptr) munmap(pages_, kPages * kPageSize);
  }

  void FaultIn(size_t page) {
    *static_cast<volatile std::byte*>(pages_ + page * kPageSize) = std::byte{1};
  }
  absl::Status GiveBack() {
    if (madvise(pages_, kPages * kPageSize, MADV_DONTNEED) == 0) return absl::OkStatus();
    return absl::ErrnoToStatus(errno, "cannot give pages back");
  }

 private:
  explicit FaultedPages(std::byte* pages) : pages_(pages) {}
  std::byte* pages_;
};

// What one thread tells the other. Relaxed: nothing is published by either.
struct Tide {
  std::atomic<bool> falling = false;  // memory is being given back
  std::atomic<bool> over = false;
};

struct Measured {
  Meter meter;
  TimeAverage resident;
  int64_t after_falls = 0;  // resident at the end of the wait, the most of the tides
  // The longest collection after a fall; it waits for the cycle under way, which is of high water.
  absl::Duration collecting;
  // The longest from a fall until no more was resident than is allowed; or all the wait.
  absl::Duration settling;
  Histogram rising_faults;
  Histogram falling_faults;
};

// Waits until `sizes.wait` after the fall.
template <typename S>
void WaitForEbb(typename S::Thread& thread, const Sizes& sizes, absl::Duration fall,
                Measured& measured) {
  const double allowed = kMostResidentOfLive * static_cast<double>(sizes.low_bytes);
  const absl::Duration end = fall + sizes.wait;
  absl::Duration settled = end;
  for (absl::Duration now = fall; now < end; now = MonotonicNow()) {
    if (settled == end && static_cast<double>(ResidentBytes()) <= allowed) settled = now;
    thread.Blocked([&] { absl::SleepFor(std::min(kSampleInterval, end - now)); });
  }
  measured.after_falls = std::max(measured.after_falls, ResidentBytes());
  measured.settling = std::max(measured.settling, settled - fall);
}

template <typename S>
absl::Status RiseAndFall(typename S::Thread& thread, S& subject, const Sizes& sizes, Tide& tide,
                         Measured& measured) {
  const Forest<S> low(thread, sizes.low_bytes);
  for (int i = 0; i < kTides; ++i) {
    { const Forest<S> high(thread, sizes.high_bytes - sizes.low_bytes); }
    const absl::Duration fall = MonotonicNow();
    tide.falling.store(true, std::memory_order_relaxed);  // publishes nothing: here and below
    absl::Status status = subject.Collect();
    if (!status.ok()) return status;
    measured.collecting = std::max(measured.collecting, MonotonicNow() - fall);
    WaitForEbb<S>(thread, sizes, fall, measured);
    tide.falling.store(false, std::memory_order_relaxed);
  }
  return absl::OkStatus();
}

// Without a rest while memory is given back, so that what holds it up is seen whenever it is. While
// the tide rises it leaves its processor to others most of the time.
template <typename S>
absl::Status FaultPages(typename S::Thread& thread, const Tide& tide, Measured& measured) {
  absl::StatusOr<FaultedPages> pages = FaultedPages::Map();
  if (!pages.ok()) return pages.status();
  // Relaxed, both: they only say what to do.
  while (!tide.over.load(std::memory_order_relaxed)) {
    const bool falling = tide.falling.load(std::memory_order_relaxed);
    Histogram& faults = falling ? measured.falling_faults : measured.rising_faults;
    // One begins when the one before ends, so that no time is in none of them.
    int64_t since = platform::MonotonicNanos();
    for (size_t page = 0; page < FaultedPages::kPages; ++page) {
      pages->FaultIn(page);
      thread.Safepoint();
      const int64_t now = platform::MonotonicNanos();
      faults.Record(now - since);
      since = now;
    }
    absl::Status status = pages->GiveBack();
    if (!status.ok()) return status;
    if (!falling) thread.Blocked([] { absl::SleepFor(absl::Milliseconds(2)); });
  }
  return absl::OkStatus();
}

template <typename S>
absl::Status Measure(S& subject, const Sizes& sizes, Measured& measured) {
  Tide tide;
  std::atomic<int> next = 0;
  measured.meter.Start();
  const Periodic sampler(kSampleInterval, [&] {
    measured.resident.Add(static_cast<double>(ResidentBytes()), MonotonicNow());
  });
  absl::Status status = RunThreads(subject, 2, [&](typename S::Thread& thread) {
    // Relaxed: who is who, no more.
    if (next.fetch_add(1, std::memory_order_relaxed) > 0) {
      return FaultPages<S>(thread, tide, measured);
    }
    // Also when memory runs out.
    const absl::Cleanup over = [&] { tide.over.store(true, std::memory_order_relaxed); };
    return RiseAndFall<S>(thread, subject, sizes, tide, measured);
  });
  measured.meter.Stop();
  return status;
}

absl::StatusOr<Record> Run(const RunSpec& spec) {
  const Sizes& sizes = spec.smoke ? kSmoke : kFull;
  const auto heap_bytes =
      static_cast<int64_t>(spec.heap_multiple * static_cast<double>(sizes.high_bytes));
  const SubjectOptions options = OptionsFor(spec, heap_bytes);
  return WithSubject(options, [&]<typename S>(S& subject) -> absl::StatusOr<Record> {
    Measured measured;
    absl::Status status = Measure<S>(subject, sizes, measured);
    if (!status.ok()) return status;
    Record record;
    measured.meter.Write(record);
    record.Set("average_resident_bytes", static_cast<int64_t>(measured.resident.value()));
    record.Set("resident_after_fall_bytes", measured.after_falls);
    record.Set("live_after_fall_bytes", sizes.low_bytes);
    record.Set("collect_s", absl::ToDoubleSeconds(measured.collecting));
    record.Set("settle_s", absl::ToDoubleSeconds(measured.settling));
    record.Set("largest_live_bytes", sizes.high_bytes);
    WriteHistogram(measured.falling_faults, "fault_ns", record);
    WriteHistogram(measured.rising_faults, "rising_fault_ns", record);
    subject.Describe(record);
    return record;
  });
}

}  // namespace

Workload W10Tide() {
  Workload workload;
  workload.name = "W10";
  workload.about = "live memory rises to 2 GiB and falls to 100 MiB, three times; pages faulted "
                   "in beside it";
  workload.peers = LibraryPeers();
  workload.default_peers = {"mimalloc"};
  workload.collectors = {"concurrent", "generational"};
  workload.sizings = {"adaptive"};
  workload.heap_multiples = {kHeapMultiple};
  for (const std::string& collector : workload.collectors) {
    const Bar adaptive = {
        .collector = collector, .sizing = "adaptive", .heap_multiple = kHeapMultiple};
    Bar& after_fall = workload.bars.emplace_back(adaptive);
    after_fall.of = "resident_after_fall_bytes";
    after_fall.at_most = kMostResidentOfLive;
    after_fall.reference = "live_after_fall_bytes";
    Bar& faults = workload.bars.emplace_back(adaptive);
    faults.of = "fault_ns.max";
    faults.at_most = 1;
    faults.limit = kLongestFaultNs;
    faults.least_counts = true;
    Bar& peak = workload.bars.emplace_back(adaptive);
    peak.of = "peak_rss_bytes";
    peak.at_most = kMostResidentOfPeak;
    peak.reference = "largest_live_bytes";
  }
  workload.details = {"resident_after_fall_bytes", "collect_s",           "settle_s",
                      "average_resident_bytes",    "fault_ns.p999",       "fault_ns.max",
                      "rising_fault_ns.p999",      "rising_fault_ns.max"};
  workload.run = &Run;
  return workload;
}

}  // namespace ebb::bench
