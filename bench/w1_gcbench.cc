// W1, gcbench: the field's classic, after J. Ellis, P. Kovac and H. Boehm. Each thread builds a
// long-lived tree and a long-lived array of doubles, then many short-lived trees of every other
// depth, top-down and bottom-up. Variant W1h drops a small array ("hole") between nodes.

#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "bench/meter.h"
#include "bench/random.h"
#include "bench/subjects.h"
#include "bench/threads.h"
#include "bench/trees.h"
#include "bench/workload.h"

namespace ebb::bench {
namespace {

struct Sizes {
  int long_lived_depth;
  int64_t doubles;
  int min_depth;
  int max_depth;

  // Trees of each depth: about the same number of nodes for every one.
  int64_t Trees(int depth) const { return 2 * TreeNodes(max_depth + 2) / TreeNodes(depth); }

  // Nodes that one thread makes.
  int64_t Nodes() const {
    int64_t nodes = TreeNodes(long_lived_depth);
    for (int depth = min_depth; depth <= max_depth; depth += 2) {
      nodes += 2 * Trees(depth) * TreeNodes(depth);
    }
    return nodes;
  }

  // Bytes of one thread's objects in our representation when most are alive: the long-lived tree
  // and array (with its header and length) and one of the largest short-lived trees.
  int64_t LiveBytes() const {
    return (TreeNodes(long_lived_depth) + TreeNodes(max_depth)) * kTreeNodeBytes + 16 +
           doubles * static_cast<int64_t>(sizeof(double));
  }
};

constexpr Sizes kFull = {
    .long_lived_depth = 20, .doubles = 500'000, .min_depth = 4, .max_depth = 20};
constexpr Sizes kSmoke = {
    .long_lived_depth = 14, .doubles = 8'000, .min_depth = 4, .max_depth = 14};

// Lengths of holes by a power law: starting at 0, an integer is taken with probability p = 0.15,
// otherwise the next one is tried. Prepared before the timed part.
class HoleLengths {
 public:
  explicit HoleLengths(uint64_t seed) {
    Random random(seed);
    for (uint8_t& length : lengths_) {
      while (length < UINT8_MAX && random.Unit() >= 0.15) ++length;
    }
  }
  uint8_t at(uint32_t i) const { return lengths_[i % lengths_.size()]; }

 private:
  std::array<uint8_t, 4096> lengths_ = {};
};

// Drops an array of words; a length of 0 is none.
template <typename S>
class Hole {
 public:
  Hole(typename S::Thread& thread, const HoleLengths& lengths)
      : thread_(thread), lengths_(lengths) {}
  void operator()() {
    const uint8_t length = lengths_.at(next_++);
    if (length == 0) return;
    [[maybe_unused]] typename S::template Temp<typename S::template Array<int64_t>> hole =
        thread_.template NewArray<int64_t>(length);
    if constexpr (S::kManual) thread_.Free(hole);
  }

 private:
  typename S::Thread& thread_;
  const HoleLengths& lengths_;
  uint32_t next_ = 0;
};

template <typename S, typename Between>
absl::Status GcBench(const Sizes& sizes, typename S::Thread& thread, Between between) {
  using Builder = TreeBuilder<S, Between>;
  using Doubles = typename S::template Array<double>;
  Builder builder(thread, between);
  typename Builder::Root long_lived(thread, builder.TopDown(sizes.long_lived_depth));
  typename S::template Root<Doubles> array(thread, thread.template NewArray<double>(sizes.doubles));
  for (int64_t i = 0; i < sizes.doubles / 2; ++i) {
    (*array)[i] = 1.0 / static_cast<double>(i + 1);
    if (i % 4096 == 0) thread.Safepoint();
  }

  for (int depth = sizes.min_depth; depth <= sizes.max_depth; depth += 2) {
    const int64_t trees = sizes.Trees(depth);
    for (int64_t i = 0; i < trees; ++i) DropTree<S>(thread, builder.TopDown(depth));
    for (int64_t i = 0; i < trees; ++i) DropTree<S>(thread, builder.BottomUp(depth));
  }

  const int64_t nodes = CountTree<S>(thread, long_lived, sizes.long_lived_depth);
  if (nodes != TreeNodes(sizes.long_lived_depth) || (*array)[999] != 1.0 / 1000) {
    return absl::InternalError(absl::StrCat("the long-lived objects are damaged: ", nodes,
                                            " nodes, [999] is ", (*array)[999]));
  }
  DropTree<S>(thread, long_lived);
  if constexpr (S::kManual) thread.Free(array);
  return absl::OkStatus();
}

template <bool kHoles>
absl::StatusOr<Record> Run(const RunSpec& spec) {
  const Sizes& sizes = spec.smoke ? kSmoke : kFull;
  const int64_t live = spec.threads * sizes.LiveBytes();
  const HoleLengths lengths(spec.seed);
  const SubjectOptions options =
      OptionsFor(spec, static_cast<int64_t>(spec.heap_multiple * static_cast<double>(live)));
  return WithSubject(options, [&]<typename S>(S& subject) -> absl::StatusOr<Record> {
    Meter meter;
    meter.Start();
    absl::Status status =
        RunThreads(subject, spec.threads, [&](typename S::Thread& thread) -> absl::Status {
          if constexpr (kHoles) return GcBench<S>(sizes, thread, Hole<S>(thread, lengths));
          return GcBench<S>(sizes, thread, NothingBetween());
        });
    meter.Stop();
    if (!status.ok()) return status;
    Record record;
    meter.Write(record);
    record.Set("operations", spec.threads * sizes.Nodes());
    record.Set("largest_live_bytes", live);
    subject.Describe(record);
    return record;
  });
}

Workload Describe(const char* name, const char* about,
                  absl::StatusOr<Record> (*run)(const RunSpec&)) {
  Workload workload;
  workload.name = name;
  workload.about = about;
  workload.peers = LibraryPeers();
  workload.default_peers = {"boehm"};
  workload.collectors = Collectors();
  workload.heap_multiples = {3, 5};
  workload.threads = {1, 2};
  workload.run = run;
  return workload;
}

}  // namespace

Workload W1GcBench() {
  Workload workload = Describe("W1", "gcbench: short and long lifetimes together", &Run<false>);
  workload.peers.emplace_back(kNoBarrier);
  workload.default_peers.emplace_back(kNoBarrier);
  workload.bars = {
      {.of = "wall_s", .at_most = 0.80, .threads = 1, .heap_multiple = 3, .peer = "boehm"},
      {.of = "wall_s", .at_most = 0.65, .threads = 1, .heap_multiple = 5, .peer = "boehm"},
      {.of = "wall_s", .at_most = 0.55, .threads = 2, .heap_multiple = 5, .peer = "boehm"},
      // Twice the work on two threads, in a heap of twice the size.
      {.of = "wall_s", .at_most = 1.30, .threads = 2, .heap_multiple = 5, .peer_threads = 1},
      // What load barriers cost where no concurrent cycle runs.
      {.of = "wall_s",
       .at_most = 1.01,
       .threads = 1,
       .heap_multiple = 5,
       .peer = std::string(kNoBarrier)},
  };
  // What running beside the program costs.
  for (const auto& [of, at_most] :
       {std::pair("wall_s", 1.1), std::pair("cpu_s", 1.4), std::pair("peak_rss_bytes", 1.1)}) {
    workload.bars.push_back({.of = of,
                             .at_most = at_most,
                             .collector = "concurrent",
                             .threads = 1,
                             .heap_multiple = 5,
                             .peer_collector = "parallel"});
  }
  // What a nursery gains, and how long its pauses are.
  struct Wanted {
    int threads;
    double heap_multiple;
    double at_most;
    const char* peer;
  };
  for (const auto& [threads, heap_multiple, at_most, peer] :
       {Wanted{1, 3, 0.60, "boehm"}, Wanted{1, 5, 0.55, "boehm"}, Wanted{2, 3, 0.45, "boehm"},
        Wanted{2, 5, 0.42, "boehm"}, Wanted{1, 5, 0.60, "mimalloc"}}) {
    workload.bars.push_back({.of = "wall_s",
                             .at_most = at_most,
                             .collector = "generational",
                             .threads = threads,
                             .heap_multiple = heap_multiple,
                             .peer = peer});
  }
  for (const int heap_multiple : {3, 5}) workload.bars.push_back(MinorPauseBar(heap_multiple));
  return workload;
}

Workload W1GcBenchWithHoles() {
  return Describe("W1h", "gcbench with a small array dropped between nodes", &Run<true>);
}

}  // namespace ebb::bench
