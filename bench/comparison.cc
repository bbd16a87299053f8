#include "bench/comparison.h"

#include <algorithm>

#include "absl/algorithm/container.h"

namespace ebb::bench {
namespace {

const RunSpec* FindInPlan(absl::Span<const RunSpec> plan, const Bar& bar) {
  for (const RunSpec& spec : plan) {
    if (spec.is_ebb() && spec.collector == bar.collector && spec.sizing == bar.sizing &&
        spec.backend.empty() && spec.threads == bar.threads &&
        spec.heap_multiple == bar.heap_multiple && spec.live_bytes == bar.live_bytes &&
        spec.workers == bar.workers) {
      return &spec;
    }
  }
  return nullptr;
}

const RunSpec* FindPeer(absl::Span<const RunSpec> plan, const RunSpec& subject,
                        const std::string& peer) {
  for (const RunSpec& spec : plan) {
    if (spec.subject == peer && spec.threads == subject.threads &&
        spec.live_bytes == subject.live_bytes &&
        (spec.heap_multiple == subject.heap_multiple || spec.heap_multiple == 0)) {
      return &spec;
    }
  }
  return nullptr;
}

// Nothing if the plan does not contain the settings that the bar is about.
std::optional<Comparison> FromBar(const Bar& bar, absl::Span<const RunSpec> plan,
                                  absl::Span<const std::string> skipped) {
  const RunSpec* subject = FindInPlan(plan, bar);
  if (subject == nullptr) return std::nullopt;
  Comparison comparison = {.of = bar.of,
                           .subject = *subject,
                           .peer = std::nullopt,
                           .reference = bar.reference,
                           .limit = bar.limit,
                           .bar = bar.at_most,
                           .least_counts = bar.least_counts};
  if (!bar.reference.empty() || bar.limit > 0) return comparison;
  RunSpec wanted = *subject;
  if (!bar.peer_collector.empty()) wanted.collector = bar.peer_collector;
  if (bar.peer_threads > 0) wanted.threads = bar.peer_threads;
  if (bar.peer_live_bytes > 0) wanted.live_bytes = bar.peer_live_bytes;
  if (bar.peer_heap_multiple > 0) wanted.heap_multiple = bar.peer_heap_multiple;
  if (bar.peer_workers > 0) wanted.workers = bar.peer_workers;
  if (!bar.peer.empty()) {
    const RunSpec* peer = FindPeer(plan, *subject, bar.peer);
    if (peer == nullptr && !absl::c_linear_search(skipped, bar.peer)) return std::nullopt;
    wanted.subject = bar.peer;
    wanted.collector.clear();
    wanted.sizing.clear();
    wanted.backend.clear();
    comparison.peer = peer == nullptr ? wanted : *peer;
    return comparison;
  }
  if (!absl::c_linear_search(plan, wanted)) return std::nullopt;
  comparison.peer = wanted;
  return comparison;
}

// Options by which ebb's runs are compared with each other, and what each trades.
struct Variation {
  std::string RunSpec::* option;
  std::vector<std::string> of;
};
const std::vector<Variation>& Variations() {
  static const auto* const variations = new std::vector<Variation>{
      {&RunSpec::sizing, {"wall_s", "cpu_s", "collection_cpu_s", "average_heap_bytes"}},
      {&RunSpec::backend, {"cpu_s", "settle_s", "fault_ns.p999", "fault_ns.max"}}};
  return *variations;
}

// Ebb's run at the same settings with the option that was named first, unless that is `subject`.
const RunSpec* FindFirst(absl::Span<const RunSpec> plan, const RunSpec& subject,
                         std::string RunSpec::* option) {
  for (const RunSpec& spec : plan) {
    RunSpec same = spec;
    same.*option = subject.*option;
    if (same == subject) return spec == subject ? nullptr : &spec;
  }
  return nullptr;
}

bool SameSides(const Comparison& a, const Comparison& b) {
  return a.of == b.of && a.subject == b.subject && a.peer == b.peer &&
         a.reference == b.reference && a.limit == b.limit;
}

}  // namespace

const Results::Row* Results::Find(const RunSpec& spec) const {
  for (const Row& row : rows) {
    if (row.spec == spec) return &row;
  }
  return nullptr;
}

double Ratio::median() const {
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::string Comparison::PeerLabel() const {
  if (peer.has_value()) return peer->Label();
  return limit > 0 ? "limit" : reference;
}

Ratio Comparison::Compute(const Results& results) const {
  Ratio ratio;
  const Results::Row* above = results.Find(subject);
  const Results::Row* below = peer.has_value() ? results.Find(*peer) : above;
  if (above == nullptr || below == nullptr) return ratio;
  for (size_t i = 0; i < std::min(above->rounds.size(), below->rounds.size()); ++i) {
    if (!above->rounds[i].has_value() || !below->rounds[i].has_value()) continue;
    std::optional<double> a = above->rounds[i]->Number(of);
    std::optional<double> b =
        limit > 0 ? limit : below->rounds[i]->Number(peer.has_value() ? of : reference);
    if (a.has_value() && b.has_value() && *b > 0) ratio.values.push_back(*a / *b);
  }
  std::sort(ratio.values.begin(), ratio.values.end());
  return ratio;
}

std::vector<Comparison> Comparisons(const Workload& workload, absl::Span<const RunSpec> plan,
                                    absl::Span<const std::string> skipped) {
  std::vector<Comparison> comparisons;
  const bool smoke = !plan.empty() && plan.front().smoke;
  for (const Bar& bar : workload.bars) {
    std::optional<Comparison> comparison = FromBar(bar, plan, skipped);
    if (!comparison.has_value()) continue;
    if (smoke) comparison->bar.reset();
    comparisons.push_back(*std::move(comparison));
  }
  for (const RunSpec& subject : plan) {
    if (!subject.is_ebb()) continue;
    for (const Variation& variation : Variations()) {
      const RunSpec* first = FindFirst(plan, subject, variation.option);
      if (first == nullptr) continue;
      for (const std::string& of : variation.of) {
        comparisons.push_back(
            {.of = of, .subject = subject, .peer = *first, .reference = "", .bar = std::nullopt});
      }
    }
    for (const RunSpec& peer : plan) {
      if (peer.is_ebb() || FindPeer(plan, subject, peer.subject) != &peer) continue;
      for (const char* of : {"wall_s", "cpu_s", "peak_rss_bytes"}) {
        Comparison comparison = {
            .of = of, .subject = subject, .peer = peer, .reference = "", .bar = std::nullopt};
        auto same = [&](const Comparison& other) { return SameSides(other, comparison); };
        if (!absl::c_any_of(comparisons, same)) comparisons.push_back(std::move(comparison));
      }
    }
  }
  return comparisons;
}

Record RatioLine(const Comparison& comparison, const Ratio& ratio) {
  const RunSpec& subject = comparison.subject;
  Record line;
  line.Set("kind", "ratio");
  line.Set("workload", subject.workload);
  line.Set("of", comparison.of);
  line.Set("subject", subject.Label());
  line.Set("peer", comparison.PeerLabel());
  if (comparison.limit > 0) line.Set("limit", comparison.limit);
  line.Set("threads", subject.threads);
  if (comparison.peer.has_value() && comparison.peer->threads != subject.threads) {
    line.Set("peer_threads", comparison.peer->threads);
  }
  if (subject.heap_multiple > 0) line.Set("heap_multiple", subject.heap_multiple);
  // A peer whose heap has no size has none to tell.
  if (comparison.peer.has_value() && comparison.peer->heap_multiple > 0 &&
      comparison.peer->heap_multiple != subject.heap_multiple) {
    line.Set("peer_heap_multiple", comparison.peer->heap_multiple);
  }
  if (subject.live_bytes > 0) line.Set("live_size_bytes", subject.live_bytes);
  if (comparison.peer.has_value() && comparison.peer->live_bytes != subject.live_bytes) {
    line.Set("peer_live_size_bytes", comparison.peer->live_bytes);
  }
  if (subject.workers > 0) line.Set("workers", subject.workers);
  if (comparison.peer.has_value() && comparison.peer->workers != subject.workers) {
    line.Set("peer_workers", comparison.peer->workers);
  }
  line.Set("rounds", ratio.values.size());
  if (!ratio.values.empty()) {
    line.Set("median", ratio.median());
    line.Set("min", ratio.min());
    line.Set("max", ratio.max());
  }
  if (comparison.bar.has_value()) {
    line.Set("bar", *comparison.bar);
    if (comparison.least_counts) line.Set("least_counts", true);
    line.Set("holds", Holds(comparison, ratio));
  }
  return line;
}

bool Holds(const Comparison& comparison, const Ratio& ratio) {
  if (!comparison.bar.has_value() || ratio.values.empty()) return false;
  return (comparison.least_counts ? ratio.min() : ratio.median()) <= *comparison.bar;
}

bool SpreadCrossesBar(const Comparison& comparison, const Ratio& ratio) {
  return comparison.bar.has_value() && !ratio.values.empty() && !comparison.least_counts &&
         ratio.min() <= *comparison.bar && ratio.max() > *comparison.bar;
}

}  // namespace ebb::bench
