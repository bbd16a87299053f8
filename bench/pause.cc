// pause: how fast a parallel pause evacuates. A wide graph of 1 GiB of small objects (an array of
// small trees), collected again and again by 1 worker and by 2; and, in the same process, memcpy by
// as many threads, to say what share of the memory's bandwidth that is.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "bench/ebb_subject.h"
#include "bench/meter.h"
#include "bench/threads.h"
#include "bench/trees.h"
#include "bench/workload.h"

namespace ebb::bench {
namespace {

constexpr double kGiB = 1 << 30;
constexpr int kTreeDepth = 4;
// What issue 2 asks of one worker.
constexpr double kBarGiBPerSecondAndWorker = 0.8;

struct Sizes {
  int64_t graph_bytes;
  int collections;
  size_t copy_bytes;  // of memcpy, per thread
};
constexpr Sizes kFull = {.graph_bytes = 1 << 30, .collections = 7, .copy_bytes = 256 << 20};
constexpr Sizes kSmoke = {.graph_bytes = 16 << 20, .collections = 3, .copy_bytes = 16 << 20};

struct Measured {
  std::vector<double> seconds;  // of each collection
  std::vector<double> gib_per_second;
};

// Wall times of Collect, from the call to its return, with this thread as the only mutator.
absl::Status CollectRepeatedly(EbbSubject& subject, int times, Measured& measured) {
  for (int i = 0; i < times; ++i) {
    const int64_t before = subject.stats().evacuated_bytes;
    const absl::Duration start = MonotonicNow();
    absl::Status status = subject.Collect();
    const double seconds = absl::ToDoubleSeconds(MonotonicNow() - start);
    if (!status.ok()) return status;
    const int64_t evacuated = subject.stats().evacuated_bytes - before;
    measured.seconds.push_back(seconds);
    measured.gib_per_second.push_back(static_cast<double>(evacuated) / kGiB / seconds);
  }
  return absl::OkStatus();
}

// Bytes copied per second by `threads` threads at once: best of several passes.
double MemcpyGiBPerSecond(int threads, size_t bytes) {
  double best = 0;
  std::vector<std::unique_ptr<char[]>> from, to;
  for (int i = 0; i < threads; ++i) {
    from.push_back(std::make_unique<char[]>(bytes));  // touched: value-initialised
    to.push_back(std::make_unique<char[]>(bytes));
  }
  for (int pass = 0; pass < 5; ++pass) {
    const absl::Duration start = MonotonicNow();
    std::vector<std::thread> copiers;
    for (size_t i = 0; i < from.size(); ++i) {
      copiers.emplace_back([&, i] {
        std::memcpy(to[i].get(), from[i].get(), bytes);
        asm volatile("" : : "r"(to[i].get()) : "memory");
      });
    }
    for (std::thread& copier : copiers) copier.join();
    const double seconds = absl::ToDoubleSeconds(MonotonicNow() - start);
    best = std::max(best, static_cast<double>(bytes) * threads / kGiB / seconds);
  }
  return best;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

absl::Status BuildAndCollect(EbbSubject::Thread& thread, EbbSubject& subject, const Sizes& sizes,
                             Meter& meter, Measured& measured) {
  using Node = TreeNode<EbbSubject>;
  const int64_t trees = sizes.graph_bytes / (TreeNodes(kTreeDepth) * kTreeNodeBytes);
  Local<RefArray<Node>> forest(thread, thread.NewRefArray<Node>(static_cast<size_t>(trees)));
  TreeBuilder<EbbSubject> builder(thread);
  for (int64_t i = 0; i < trees; ++i) {
    Ref<Node> tree = builder.BottomUp(kTreeDepth);
    (*forest)[static_cast<size_t>(i)] = tree;
  }
  meter.Start();
  absl::Status status = CollectRepeatedly(subject, sizes.collections, measured);
  meter.Stop();
  return status;
}

absl::StatusOr<Record> Run(const RunSpec& spec) {
  const Sizes& sizes = spec.smoke ? kSmoke : kFull;
  absl::StatusOr<std::unique_ptr<EbbSubject>> subject =
      EbbSubject::Create(OptionsFor(spec, 3 * sizes.graph_bytes));
  if (!subject.ok()) return subject.status();
  Meter meter;
  Measured measured;
  absl::Status status = RunThreads(**subject, 1, [&](EbbSubject::Thread& thread) {
    return BuildAndCollect(thread, **subject, sizes, meter, measured);
  });
  if (!status.ok()) return status;

  Record record;
  meter.Write(record);
  const double rate = Median(measured.gib_per_second);
  const double copy_rate = MemcpyGiBPerSecond(spec.workers, sizes.copy_bytes);
  // The first collection also faults the reserve in.
  record.Set("first_collect_s", measured.seconds.front());
  record.Set("collect_s", Median(measured.seconds));
  record.Set("evacuated_gib_per_s", rate);
  record.Set("evacuated_gib_per_s_and_worker", rate / spec.workers);
  record.Set("s_per_gib_and_worker", spec.workers / rate);
  record.Set("allowed_s_per_gib_and_worker", 1 / kBarGiBPerSecondAndWorker);
  record.Set("memcpy_gib_per_s", copy_rate);
  record.Set("share_of_memcpy", rate / copy_rate);
  (*subject)->Describe(record);
  return record;
}

}  // namespace

Workload PauseWorkload() {
  Workload workload;
  workload.name = "pause";
  workload.about = "parallel pause over a wide graph of 1 GiB, by 1 worker and by 2";
  workload.workers = {1, 2};
  workload.bars = {
      // 2 workers at least 1.7 times as fast as 1.
      {.of = "collect_s", .at_most = 1 / 1.7, .workers = 2, .peer_workers = 1},
      {.of = "s_per_gib_and_worker", .at_most = 1, .workers = 1,
       .reference = "allowed_s_per_gib_and_worker"},
      {.of = "s_per_gib_and_worker", .at_most = 1, .workers = 2,
       .reference = "allowed_s_per_gib_and_worker"},
  };
  workload.details = {"first_collect_s", "collect_s", "evacuated_gib_per_s",
                      "evacuated_gib_per_s_and_worker", "memcpy_gib_per_s", "share_of_memcpy"};
  workload.run = &Run;
  return workload;
}

}  // namespace ebb::bench
