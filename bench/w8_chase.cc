// W8, chase: walks a list in random order, and looks keys up in a binary search tree, of sizes from
// L1 to 1 GiB. Nothing is allocated: what counts is what a load of a reference costs, and where a
// cycle has put the objects.

#include <algorithm>
#include <cstdint>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "bench/meter.h"
#include "bench/random.h"
#include "bench/subjects.h"
#include "bench/threads.h"
#include "bench/workload.h"
#include "heap/load_barrier.h"

namespace ebb::bench {
namespace {

// One that fits L2, which has the bars, and others around it.
constexpr int64_t kFitsL2 = int64_t{1} << 20;
const std::vector<int64_t> kSizes = {16 << 10, kFitsL2, 16 << 20, 256 << 20, int64_t{1} << 30};

// Both halves, the list or the tree, and what building them drops.
constexpr int64_t kHeapMultiple = 4;
constexpr int64_t kLeastHeap = int64_t{8} << 20;

template <typename S>
struct Link {
  typename S::template Edge<Link> next;
  int64_t number = 0;
};
constexpr int64_t kLinkBytes = 24;  // with its header
static_assert(sizeof(Link<EbbSubject>) + 8 == kLinkBytes);

template <typename S>
struct TreeNode {
  typename S::template Edge<TreeNode> left, right;
  int64_t key = 0;
};
constexpr int64_t kTreeNodeBytes = 32;
static_assert(sizeof(TreeNode<EbbSubject>) + 8 == kTreeNodeBytes);

// A list on which `count` links follow one another in random order, the last before the first.
template <typename S>
class RandomRing {
 public:
  static constexpr char kField[] = "list_ns";

  RandomRing(typename S::Thread& thread, int64_t bytes, uint64_t seed)
      : thread_(thread), count_(bytes / kLinkBytes), at_(thread, thread.template New<Link<S>>()) {
    using Links = typename S::template RefArray<Link<S>>;
    typename S::template Root<Links> links(thread, thread.template NewRefArray<Link<S>>(count_));
    for (int64_t i = 0; i < count_; ++i) {
      const typename S::template Temp<Link<S>> link =
          i == 0 ? static_cast<typename S::template Temp<Link<S>>>(at_)
                 : thread.template New<Link<S>>(nullptr, i);
      (*links)[i] = link;
    }
    // A random cycle through all of them (S. Sattolo, Information Processing Letters 22, 1986).
    std::vector<uint32_t> order(static_cast<size_t>(count_));
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<uint32_t>(i);
    Random random(seed);
    for (size_t i = order.size() - 1; i > 0; --i) std::swap(order[i], order[random.Below(i)]);
    for (size_t i = 0; i < order.size(); ++i) {
      const typename S::template Temp<Link<S>> next = (*links)[order[i]];
      (*links)[static_cast<int64_t>(i)]->next = next;
    }
    if constexpr (S::kManual) thread.Free(links);
  }

  int64_t count() const { return count_; }
  // Walks so many links; returns the sum of their numbers.
  int64_t Walk(int64_t steps) {
    int64_t sum = 0;
    typename S::template Temp<Link<S>> link = at_;
    for (; steps > 0; --steps) {
      link = link->next;
      sum += link->number;
    }
    at_ = link;
    return sum;
  }
  // Of a walk over as many links as there are.
  int64_t Sum() const { return count_ * (count_ - 1) / 2; }

  void Free() {
    if constexpr (S::kManual) {
      Link<S>* link = at_;
      for (int64_t i = 0; i < count_; ++i) {
        Link<S>* const next = link->next;
        thread_.Free(link);
        link = next;
      }
    }
  }

 private:
  typename S::Thread& thread_;
  const int64_t count_;
  typename S::template Root<Link<S>> at_;
};

// A balanced tree of the keys from 0 on.
template <typename S>
class SearchTree {
 public:
  static constexpr char kField[] = "tree_ns";

  SearchTree(typename S::Thread& thread, int64_t bytes, uint64_t seed)
      : thread_(thread),
        count_(bytes / kTreeNodeBytes),
        random_(seed),
        root_(thread, Build(0, count_)) {}

  int64_t count() const { return count_; }
  // Looks so many keys up; returns how many were found.
  int64_t Walk(int64_t steps) {
    int64_t found = 0;
    const typename S::template Temp<TreeNode<S>> root = root_;
    for (; steps > 0; --steps) {
      const auto key = static_cast<int64_t>(random_.Below(static_cast<uint64_t>(count_)));
      typename S::template Temp<TreeNode<S>> node = root;
      while (node != nullptr && node->key != key) node = key < node->key ? node->left : node->right;
      found += node != nullptr ? 1 : 0;
    }
    return found;
  }
  int64_t Sum() const { return count_; }

  void Free() {
    if constexpr (S::kManual) Free(root_);
  }

 private:
  using Temp = typename S::template Temp<TreeNode<S>>;

  // In the order of the keys, as a program would build it from a sorted file.
  Temp Build(int64_t first, int64_t end) {
    if (first == end) return nullptr;
    const int64_t middle = first + (end - first) / 2;
    typename S::template Root<TreeNode<S>> left(thread_, Build(first, middle));
    typename S::template Root<TreeNode<S>> node(
        thread_, thread_.template New<TreeNode<S>>(nullptr, nullptr, middle));
    node->left = left;
    const Temp right = Build(middle + 1, end);
    node->right = right;
    return node;
  }
  void Free(TreeNode<S>* node) {
    if (node == nullptr) return;
    Free(node->left);
    Free(node->right);
    thread_.Free(node);
  }

  typename S::Thread& thread_;
  const int64_t count_;
  Random random_;
  typename S::template Root<TreeNode<S>> root_;
};

// Keeps the barrier of the calling thread armed, with nothing left to forward among what it walks:
// it makes a concurrent cycle begin, and passes no safepoint from the flip on, so that the cycle
// cannot end. For subjects without such a barrier: nothing.
template <typename S>
class ArmedBarrier {
 public:
  ArmedBarrier(S& subject, typename S::Thread& thread) : thread_(thread) {
    if constexpr (std::is_same_v<S, EbbSubject>) {
      // Where processors are busy, a whole cycle may end before this thread runs on after the flip.
      do {
        JoinRequester();
        const int64_t pauses = subject.stats().pause_ns.Count();
        requester_ = std::thread([&subject] { (void)subject.Collect(); });
        while (subject.stats().pause_ns.Count() == pauses) thread.Safepoint();
      } while (!armed());
    }
  }
  ~ArmedBarrier() { JoinRequester(); }
  ArmedBarrier(const ArmedBarrier&) = delete;

  static bool armed() { return internal::load_filter.barrier != nullptr; }

 private:
  void JoinRequester() {
    if (requester_.joinable()) thread_.Blocked([this] { requester_.join(); });
  }

  typename S::Thread& thread_;
  std::thread requester_;
};

// Builds it, walks all of it, and then for so long; sets nanoseconds a step.
template <typename S, template <typename> typename Structure>
absl::Status Measure(const RunSpec& spec, S& subject, typename S::Thread& thread, Meter& meter,
                     Record& record) {
  const absl::Duration at_least = spec.smoke ? absl::Milliseconds(5) : absl::Milliseconds(500);
  constexpr int64_t kStepsPerBatch = 1 << 15;
  Structure<S> structure(thread, spec.live_bytes, spec.seed);
  absl::Status status = subject.Collect();
  if (!status.ok()) return status;
  const auto walk = [&]() -> absl::Status {
    // Several times over: keys are drawn at random, and each edge is to be healed.
    for (int i = 0; i < 8; ++i) {
      if (structure.Walk(structure.count()) != structure.Sum()) {
        return absl::InternalError(absl::StrCat(Structure<S>::kField, ": not what was built"));
      }
    }
    int64_t steps = 0;
    const absl::Duration begin = MonotonicNow();
    absl::Duration taken;
    do {
      const int64_t result = structure.Walk(kStepsPerBatch);
      asm volatile("" : : "r"(result));  // somebody reads it, for all that the compiler knows
      steps += kStepsPerBatch;
      taken = MonotonicNow() - begin;
    } while (taken < at_least);
    record.Set(Structure<S>::kField, absl::ToDoubleNanoseconds(taken) / static_cast<double>(steps));
    return absl::OkStatus();
  };
  meter.Start();
  if (spec.collector == "concurrent") {
    const ArmedBarrier<S> barrier(subject, thread);
    status = walk();
    if (!barrier.armed()) status.Update(absl::InternalError("the barrier was not armed"));
  } else {
    status = walk();
  }
  meter.Stop();
  structure.Free();
  return status;
}

absl::StatusOr<Record> Run(const RunSpec& asked) {
  RunSpec spec = asked;
  if (spec.smoke) spec.live_bytes = std::min(spec.live_bytes, kFitsL2);
  const SubjectOptions options =
      OptionsFor(spec, std::max(kHeapMultiple * spec.live_bytes, kLeastHeap));
  return WithSubject(options, [&]<typename S>(S& subject) -> absl::StatusOr<Record> {
    Record record;
    Meter list_meter, tree_meter;
    absl::Status status = RunThreads(subject, 1, [&](typename S::Thread& thread) {
      absl::Status result = Measure<S, RandomRing>(spec, subject, thread, list_meter, record);
      if (!result.ok()) return result;
      return Measure<S, SearchTree>(spec, subject, thread, tree_meter, record);
    });
    if (!status.ok()) return status;
    // Of the tree's part, the one with a bar; memory is that of the whole run.
    tree_meter.Write(record);
    record.Set("largest_live_bytes", spec.live_bytes);
    subject.Describe(record);
    return record;
  });
}

}  // namespace

Workload W8Chase() {
  Workload workload;
  workload.name = "W8";
  workload.about = "walk a random list, look keys up in a tree (concurrent: barrier armed)";
  workload.peers = LibraryPeersWithoutCounts();  // a ring
  workload.peers.emplace_back(kNoBarrier);
  workload.default_peers = {std::string(kNoBarrier), "mimalloc"};
  workload.collectors = Collectors();
  workload.live_sizes = kSizes;
  workload.bars = {
      {.of = "tree_ns", .at_most = 1.03, .live_bytes = kFitsL2, .peer = std::string(kNoBarrier)},
      {.of = "tree_ns",
       .at_most = 1.15,
       .collector = "concurrent",
       .live_bytes = kFitsL2,
       .peer = std::string(kNoBarrier)},
  };
  workload.details = {"list_ns", "tree_ns"};
  workload.run = &Run;
  return workload;
}

}  // namespace ebb::bench
