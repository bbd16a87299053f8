// idle: what the background thread costs when it has nothing to do. The same steady work on a heap
// with page-out and on one without, in turns; and the CPU time of a process whose heap nobody uses.

#include <cstdint>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "bench/ebb_subject.h"
#include "bench/meter.h"
#include "bench/threads.h"
#include "bench/trees.h"
#include "bench/workload.h"

namespace ebb::bench {
namespace {

constexpr int64_t kHeapBytes = 32 << 20;
constexpr int kTreeDepth = 10;

struct Sizes {
  int turns;      // of each of the two heaps
  int64_t trees;  // built and dropped in each turn
  int idle_ms;
};
constexpr Sizes kFull = {.turns = 4, .trees = 100'000, .idle_ms = 5000};
constexpr Sizes kSmoke = {.turns = 1, .trees = 1'000, .idle_ms = 100};

// "Not measurable", as a number: a thousandth of one processor.
constexpr double kAllowedIdleShare = 0.001;

struct Measured {
  absl::Duration with_page_out;
  absl::Duration without_page_out;
  absl::Duration idle_cpu;
};

// Calls body(thread, subject) on a heap of its own.
template <typename Body>
absl::Status OnFreshHeap(const RunSpec& spec, bool page_out, Record& record, const Body& body) {
  SubjectOptions options = OptionsFor(spec, kHeapBytes);
  options.page_out = page_out;
  absl::StatusOr<std::unique_ptr<EbbSubject>> subject = EbbSubject::Create(options);
  if (!subject.ok()) return subject.status();
  absl::Status status = RunThreads(**subject, 1, body);
  (*subject)->Describe(record);
  return status;
}

absl::Status Measure(const RunSpec& spec, const Sizes& sizes, Record& record, Measured& measured) {
  for (int turn = 0; turn < 2 * sizes.turns; ++turn) {
    const bool page_out = turn % 2 == 0;
    absl::Duration& sum = page_out ? measured.with_page_out : measured.without_page_out;
    absl::Status status = OnFreshHeap(spec, page_out, record, [&](EbbSubject::Thread& thread) {
      TreeBuilder<EbbSubject> builder(thread);
      const absl::Duration start = MonotonicNow();
      for (int64_t i = 0; i < sizes.trees; ++i) builder.BottomUp(kTreeDepth);
      sum += MonotonicNow() - start;
      return absl::OkStatus();
    });
    if (!status.ok()) return status;
  }
  Record unused;  // this heap never collects
  return OnFreshHeap(spec, true, unused, [&](EbbSubject::Thread& thread) {
    TreeBuilder<EbbSubject>(thread).BottomUp(kTreeDepth);
    const absl::Duration before = ProcessCpuTime();
    thread.Blocked([&] { std::this_thread::sleep_for(std::chrono::milliseconds(sizes.idle_ms)); });
    measured.idle_cpu = ProcessCpuTime() - before;
    return absl::OkStatus();
  });
}

absl::StatusOr<Record> Run(const RunSpec& spec) {
  const Sizes& sizes = spec.smoke ? kSmoke : kFull;
  Meter meter;
  Record heap;
  Measured measured;
  meter.Start();
  absl::Status status = Measure(spec, sizes, heap, measured);
  meter.Stop();
  if (!status.ok()) return status;
  Record record;
  meter.Write(record);
  record.Set("operations", 2 * sizes.turns * sizes.trees * TreeNodes(kTreeDepth));
  record.Set("steady_s", absl::ToDoubleSeconds(measured.with_page_out));
  record.Set("steady_without_page_out_s", absl::ToDoubleSeconds(measured.without_page_out));
  record.Set("idle_cpu_s", absl::ToDoubleSeconds(measured.idle_cpu));
  record.Set("allowed_idle_cpu_s", kAllowedIdleShare * sizes.idle_ms / 1000);
  record.Merge(heap);
  return record;
}

}  // namespace

Workload IdleWorkload() {
  Workload workload;
  workload.name = "idle";
  workload.about = "cost of the background thread while the page-out queue is idle";
  workload.bars = {
      {.of = "steady_s", .at_most = 1.02, .reference = "steady_without_page_out_s"},
      {.of = "idle_cpu_s", .at_most = 1, .reference = "allowed_idle_cpu_s"},
  };
  workload.details = {"steady_s", "steady_without_page_out_s", "idle_cpu_s"};
  workload.run = &Run;
  return workload;
}

}  // namespace ebb::bench
