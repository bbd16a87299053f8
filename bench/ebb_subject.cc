#include "bench/ebb_subject.h"

#include <iterator>
#include <string_view>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"

namespace ebb::bench {
namespace {

// By their names on the command line. To add a collector to the benchmarks, add it here.
constexpr std::pair<std::string_view, Collector> kCollectors[] = {
    {"parallel", Collector::kParallel},
    {"concurrent", Collector::kConcurrent},
    {"generational", Collector::kGenerational}};

void WriteHistogram(const Histogram& histogram, std::string_view name, Record& record) {
  if (histogram.Count() == 0) return;
  record.Set(absl::StrCat(name, ".count"), histogram.Count());
  record.Set(absl::StrCat(name, ".p50"), histogram.Percentile(50));
  record.Set(absl::StrCat(name, ".p99"), histogram.Percentile(99));
  record.Set(absl::StrCat(name, ".p999"), histogram.Percentile(99.9));
  record.Set(absl::StrCat(name, ".max"), histogram.Max());
}

}  // namespace

const std::vector<std::string>& Collectors() {
  static const auto* const names = [] {
    auto* const made = new std::vector<std::string>;
    for (const auto& [name, collector] : kCollectors) made->emplace_back(name);
    return made;
  }();
  return *names;
}

absl::StatusOr<std::unique_ptr<EbbSubject>> EbbSubject::Create(const SubjectOptions& options) {
  const std::string_view wanted =
      options.name == kNoBarrier ? std::string_view("parallel") : options.collector;
  const auto* const known = absl::c_find_if(
      kCollectors, [&](const auto& collector) { return collector.first == wanted; });
  if (known == std::end(kCollectors)) {
    return absl::InvalidArgumentError(
        absl::StrCat("unknown collector '", options.collector,
                     "' (accepted: ", absl::StrJoin(Collectors(), ", "), ")"));
  }
  Options heap_options;
  heap_options.max_bytes = options.heap_bytes;
  heap_options.collector = known->second;
  heap_options.workers = options.workers;
  heap_options.page_out = options.page_out;
  // Slow safepoints and stalls are in the results; in a pipe the benchmarks are quiet.
  heap_options.safepoint_warning = absl::Minutes(1);
  absl::StatusOr<std::unique_ptr<Heap>> heap = Heap::Create(heap_options);
  if (!heap.ok()) return heap.status();
  return absl::WrapUnique(new EbbSubject(*std::move(heap)));
}

void EbbSubject::Describe(Record& record) const {
  const HeapStats stats = heap_->stats();
  record.Set("collections", stats.collections);
  record.Set("allocated_bytes", stats.allocated_bytes);
  WriteHistogram(stats.pause_ns, "pause_ns", record);
  if (stats.minor_collections > 0) {
    record.Set("minor_collections", stats.minor_collections);
    WriteHistogram(stats.minor_pause_ns, "minor_pause_ns", record);
    record.Set("minor_evacuated_bytes", stats.minor_evacuated_bytes);
    record.Set("promoted_bytes", stats.promoted_bytes);
    record.Set("nursery_allowance", stats.nursery_allowance);
  }
  WriteHistogram(stats.stall_ns, "stall_ns", record);
  record.Set("stalls_for_flip", stats.stalls_for_flip);
  record.Set("stalls_for_end", stats.stalls_for_end);
  WriteHistogram(stats.time_to_safepoint_ns, "time_to_safepoint_ns", record);
  record.Set("heap_bytes", stats.max_bytes);
  record.Set("live_bytes", stats.live_bytes);
}

}  // namespace ebb::bench
