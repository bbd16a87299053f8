#include "bench/ebb_subject.h"

#include <iterator>
#include <string_view>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"

namespace ebb::bench {
namespace {

// By their names on the command line. To add a collector to the benchmarks, add it here.
constexpr std::pair<std::string_view, Collector> kCollectors[] = {
    {"parallel", Collector::kParallel},
    {"concurrent", Collector::kConcurrent},
    {"generational", Collector::kGenerational}};

}  // namespace

const std::vector<std::string>& Collectors() {
  static const auto* const names = [] {
    auto* const made = new std::vector<std::string>;
    for (const auto& [name, collector] : kCollectors) made->emplace_back(name);
    return made;
  }();
  return *names;
}

void WriteHistogram(const Histogram& histogram, std::string_view name, Record& record) {
  if (histogram.Count() == 0) return;
  record.Set(absl::StrCat(name, ".count"), histogram.Count());
  record.Set(absl::StrCat(name, ".p50"), histogram.Percentile(50));
  record.Set(absl::StrCat(name, ".p99"), histogram.Percentile(99));
  record.Set(absl::StrCat(name, ".p999"), histogram.Percentile(99.9));
  record.Set(absl::StrCat(name, ".max"), histogram.Max());
}

absl::StatusOr<Options> WithSizing(std::string_view sizing, const Options& base) {
  const std::pair<std::string_view, std::string_view> parts =
      absl::StrSplit(sizing, absl::MaxSplits(':', 1));
  const auto& [policy, number] = parts;
  std::string text = absl::StrCat("sizing=", policy);
  if (policy.size() < sizing.size()) {
    const bool grows = policy == "growable";
    if (!grows && policy != "adaptive") {
      return absl::InvalidArgumentError(absl::StrCat(
          "bad sizing '", sizing, "' (accepted: fixed, growable, growable:GROWTH, adaptive, "
          "adaptive:PROCESSORS_PER_GIB)"));
    }
    absl::StrAppend(&text, grows ? ",growth=" : ",processors_per_gib=", number);
  }
  return Options::Parse(text, base);
}

absl::StatusOr<Options> WithBackend(std::string_view backend, const Options& base) {
  return Options::Parse(absl::StrCat("release_backend=", backend), base);
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
  heap_options.field_logging = options.field_logging;
  // Slow safepoints and stalls are in the results; in a pipe the benchmarks are quiet.
  heap_options.safepoint_warning = absl::Minutes(1);
  if (!options.sizing.empty()) {
    absl::StatusOr<Options> sized = WithSizing(options.sizing, heap_options);
    if (!sized.ok()) return sized.status();
    heap_options = *sized;
  }
  if (!options.backend.empty()) {
    absl::StatusOr<Options> with_backend = WithBackend(options.backend, heap_options);
    if (!with_backend.ok()) return with_backend.status();
    heap_options = *with_backend;
  }
  absl::StatusOr<std::unique_ptr<Heap>> heap = Heap::Create(heap_options);
  if (!heap.ok()) return heap.status();
  std::unique_ptr<EbbSubject> subject = absl::WrapUnique(new EbbSubject(*std::move(heap)));
  if (!options.sizing.empty()) subject->average_ = std::make_unique<HeapAverage>(*subject->heap_);
  return subject;
}

// The heap's own threads do nothing else. Pauses that a mutator asks for itself it also leads: all
// of `parallel`, the minor ones of `generational`.
absl::Duration EbbSubject::CollectionCpu(const HeapStats& stats) const {
  const bool mutators_lead = heap_->options().collector == Collector::kParallel;
  const int64_t led_ns = mutators_lead ? stats.collect_ns : stats.minor_pause_ns.Sum();
  // Relaxed: see AddMutatorCpu.
  const int64_t mutators_ns = mutator_cpu_ns_.load(std::memory_order_relaxed);
  return ProcessCpuTime() - cpu_before_ - average_->cpu() + absl::Nanoseconds(led_ns) -
         absl::Nanoseconds(mutators_ns);
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
  if (average_ == nullptr) return;
  average_->Write(record);
  record.Set("limit_raises", stats.limit_raises);
  record.Set("collection_cpu_s", absl::ToDoubleSeconds(CollectionCpu(stats)));
}

}  // namespace ebb::bench
