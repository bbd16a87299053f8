#include "bench/rewire.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "bench/jvm_peer.h"
#include "bench/meter.h"
#include "bench/random.h"
#include "bench/subjects.h"
#include "bench/threads.h"

namespace ebb::bench {
namespace {

constexpr uint32_t kDegree = RewireJob::kDegree;

template <typename S>
struct GraphNode {
  uint32_t number = 0;  // in the order in which they were made
  uint32_t count = 0;   // of references to it: kept where ownership is manual, unused elsewhere
  typename S::template Edge<GraphNode> edges[kDegree] = {};
};

// In an Ebb heap: an array's header and length; a reference; a node with its header.
constexpr int64_t kArrayBytes = 16;
constexpr int64_t kTableBytesPerNode = 8;
constexpr int64_t kNodeBytes = 48;
static_assert(sizeof(GraphNode<EbbSubject>) + 8 == kNodeBytes);

// Nodes out of the table that edges still lead to, in the long run, per node of the table: those
// that a simulation counted (0.307), rounded up. rewire_test holds it against the collector.
constexpr double kReplacedShare = 0.31;

// The graph, and its random changes. A node that leaves the table gives up its edges. Otherwise
// such nodes would keep each other alive, and what is live would grow without bound: to 1.8 times
// the table's nodes after 25 steps for each, to 6 times after 150.
//
// It also makes reference counts exact: edges lead only from nodes in the table, and a node on a
// cycle gives up its edges before its count can keep it. Who frees what was replaced:
//   manual ownership   counts in the node, without atomics; freed when the last edge is redirected
//   std::shared_ptr    the same by its own counts, which are atomic
//   Ebb, Boehm         a collection
template <typename S>
class RewiredGraph {
 public:
  RewiredGraph(typename S::Thread& thread, uint32_t nodes, uint64_t seed)
      : thread_(thread),
        random_(seed),
        nodes_(nodes),
        table_(thread, thread.template NewRefArray<Node>(nodes)) {
    for (uint32_t i = 0; i < nodes_; ++i) {
      const Temp node = NewNode();
      Store((*table_)[i], node);
    }
    for (uint32_t i = 0; i < nodes_; ++i) {
      for (Edge& edge : (*table_)[i]->edges) Store(edge, (*table_)[RandomNode()]);
      SafepointNowAndThen(i);
    }
  }
  RewiredGraph(const RewiredGraph&) = delete;

  void RedirectEdge() {
    const uint64_t edge = random_.Below(uint64_t{kDegree} * nodes_);
    const auto from = static_cast<uint32_t>(edge / kDegree);
    Store((*table_)[from]->edges[edge % kDegree], (*table_)[RandomNode()]);
  }

  void ReplaceNode() {
    const Temp node = NewNode();
    for (Edge& edge : node->edges) Store(edge, (*table_)[RandomNode()]);
    const uint32_t at = RandomNode();
    for (Edge& edge : (*table_)[at]->edges) Store(edge, nullptr);
    Store((*table_)[at], node);
  }

  // Checks every node and edge, and gives all back where that is the program's duty: edges first,
  // so that no destructor recurses along them. Returns a checksum of which edge led where.
  absl::StatusOr<int64_t> TakeApart() {
    uint64_t checksum = 0;
    for (uint32_t i = 0; i < nodes_; ++i) {
      if ((*table_)[i] == nullptr) return Damaged("no node", i);
      for (Edge& edge : (*table_)[i]->edges) {
        if (edge == nullptr || edge->number >= made_) return Damaged("no edge, or to no node", i);
        checksum = Random(checksum ^ edge->number).Next();
        Store(edge, nullptr);
      }
      SafepointNowAndThen(i);
    }
    if constexpr (S::kManual) {
      for (uint32_t i = 0; i < nodes_; ++i) {
        if ((*table_)[i]->count != 1) return Damaged("a count that is not 1", i);
        thread_.Free((*table_)[i]);
      }
      thread_.Free(table_);
    }
    return static_cast<int64_t>(checksum >> 1);  // never negative, for who reads the line
  }

 private:
  using Node = GraphNode<S>;
  using Edge = typename S::template Edge<Node>;
  using Temp = typename S::template Temp<Node>;

  Temp NewNode() { return thread_.template New<Node>(made_++); }
  uint32_t RandomNode() { return static_cast<uint32_t>(random_.Below(nodes_)); }

  // Every store of a reference, into the table or into a node.
  void Store(Edge& place, const Temp& node) {
    if constexpr (S::kManual) {
      Node* const old = place;
      if (node != nullptr) ++node->count;
      place = node;
      // (It has given up its edges, so this goes no further.)
      if (old != nullptr && --old->count == 0) thread_.Free(old);
    } else {
      place = node;
    }
  }

  // In loops that do not allocate.
  void SafepointNowAndThen(uint32_t i) {
    if (i % 1024 == 0) thread_.Safepoint();
  }

  static absl::Status Damaged(const char* how, uint32_t node) {
    return absl::InternalError(absl::StrCat("the graph is damaged: ", how, " at ", node));
  }

  typename S::Thread& thread_;
  Random random_;
  const uint32_t nodes_;
  uint32_t made_ = 0;
  typename S::template Root<typename S::template RefArray<Node>> table_;
};

// The length and, in our representation, the header are part of the kGarbageBytes.
template <typename S>
void DropGarbage(typename S::Thread& thread, int64_t i) {
  constexpr int64_t kWords = (RewireJob::kGarbageBytes - kArrayBytes) / 8;
  typename S::template Temp<typename S::template Array<int64_t>> garbage =
      thread.template NewArray<int64_t>(kWords);
  (*garbage)[0] = (*garbage)[kWords - 1] = i;
  if constexpr (S::kManual) thread.Free(garbage);
}

template <bool kGarbage, typename S>
void RunBatch(const RewireJob& job, typename S::Thread& thread, RewiredGraph<S>& graph) {
  for (int step = 1; step <= job.batch; ++step) {
    if constexpr (kGarbage) DropGarbage<S>(thread, step);
    if (step % RewireJob::kStepsPerNode == 0) {
      graph.ReplaceNode();
    } else {
      graph.RedirectEdge();
    }
  }
}

struct Measured {
  Meter meter;
  std::vector<int64_t> batches_ns;
  int64_t collections = 0;
  int64_t checksum = 0;
};

template <typename S>
void RunSteps(const RewireJob& job, typename S::Thread& thread, RewiredGraph<S>& graph,
              std::vector<int64_t>& batches_ns) {
  // One batch begins when the one before ends, so that no time is in none of them.
  absl::Duration since = MonotonicNow();
  for (int64_t& ns : batches_ns) {
    if (job.garbage) {
      RunBatch<true>(job, thread, graph);
    } else {
      RunBatch<false>(job, thread, graph);
    }
    const absl::Duration now = MonotonicNow();
    ns = absl::ToInt64Nanoseconds(now - since);
    since = now;
  }
}

template <typename S>
absl::Status Measure(const RewireJob& job, uint64_t seed, S& subject, typename S::Thread& thread,
                     Measured& measured) {
  measured.batches_ns.assign(static_cast<size_t>(job.steps / job.batch), 0);  // faulted in here
  RewiredGraph<S> graph(thread, job.nodes, seed);
  absl::Status status = subject.Collect();
  if (!status.ok()) return status;
  // After a collection of all that is alive, which has started the threads that collections need:
  // they would inherit it.
  PinThisThread();
  const int64_t collections = subject.Collections();
  measured.meter.Start();
  RunSteps<S>(job, thread, graph, measured.batches_ns);
  measured.meter.Stop();
  measured.collections = subject.Collections() - collections;
  absl::StatusOr<int64_t> checksum = graph.TakeApart();
  if (!checksum.ok()) return checksum.status();
  measured.checksum = *checksum;
  return absl::OkStatus();
}

absl::StatusOr<Record> RunHere(const RunSpec& spec, const RewireJob& job, int64_t heap_bytes) {
  const SubjectOptions options = OptionsFor(spec, heap_bytes);
  return WithSubject(options, [&]<typename S>(S& subject) -> absl::StatusOr<Record> {
    Measured measured;
    absl::Status status = RunThreads(subject, 1, [&](typename S::Thread& thread) {
      return Measure(job, spec.seed, subject, thread, measured);
    });
    if (!status.ok()) return status;
    Record record;
    measured.meter.Write(record);
    if (subject.Collections() > 0) record.Set("timed_collections", measured.collections);
    record.Set("checksum", measured.checksum);
    WriteDistribution(std::move(measured.batches_ns), "latency_ns", record);
    subject.Describe(record);
    return record;
  });
}

absl::StatusOr<Record> RunOnJvm(const RunSpec& spec, const RewireJob& job, int64_t heap_bytes) {
  return RunRewireOnJvm({.peer = spec.subject,
                         .heap_bytes = heap_bytes,
                         .nodes = job.nodes,
                         .steps = job.steps,
                         .batch = job.batch,
                         .garbage_bytes = job.garbage ? RewireJob::kGarbageBytes : 0,
                         .seed = spec.seed,
                         .smoke = spec.smoke});
}

// An upper bound: no more than were replaced, and no more than stay in the long run.
double ReplacedNodes(double nodes, int64_t steps) {
  return std::min(static_cast<double>(steps / RewireJob::kStepsPerNode), kReplacedShare * nodes);
}

}  // namespace

int64_t RewireJob::LiveBytes() const {
  return kArrayBytes + nodes * (kTableBytesPerNode + kNodeBytes) +
         static_cast<int64_t>(ReplacedNodes(nodes, steps) * kNodeBytes);
}

uint32_t RewireJob::NodesFor(int64_t live_bytes, int64_t steps) {
  // LiveBytes by either of the two bounds in ReplacedNodes; the lower one gives more nodes.
  constexpr double kPerNode = kTableBytesPerNode + kNodeBytes;
  const auto bytes = static_cast<double>(live_bytes - kArrayBytes);
  const double replaced = static_cast<double>(steps / kStepsPerNode) * kNodeBytes;
  const double nodes =
      std::max((bytes - replaced) / kPerNode, bytes / (kPerNode + kReplacedShare * kNodeBytes));
  return static_cast<uint32_t>(std::clamp(nodes, 0.0, static_cast<double>(kMostNodes)));
}

absl::StatusOr<Record> RunRewire(const RunSpec& spec, const RewireJob& job) {
  if (job.nodes == 0) return absl::InvalidArgumentError("the live size is too small for a graph");
  const auto heap_bytes =
      static_cast<int64_t>(spec.heap_multiple * static_cast<double>(job.LiveBytes()));
  absl::StatusOr<Record> record =
      IsJvmPeer(spec.subject) ? RunOnJvm(spec, job, heap_bytes) : RunHere(spec, job, heap_bytes);
  if (!record.ok()) return record;
  record->Set("operations", job.steps);
  record->Set("largest_live_bytes", job.LiveBytes());
  return record;
}

}  // namespace ebb::bench
