// W3, cache: a million entries found by a hash table and evicted in LRU order, keys by Zipf's law,
// nine reads for each write. A closed loop for throughput; then an open one, in which operations
// begin when they are meant to, whether or not the one before has ended.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "bench/meter.h"
#include "bench/random.h"
#include "bench/subjects.h"
#include "bench/threads.h"
#include "bench/workload.h"
#include "bench/zipf.h"
#include "platform/clock.h"

namespace ebb::bench {
namespace {

struct CacheJob {
  uint32_t entries;      // in the cache
  uint32_t keys;         // that are asked for: twice as many
  int64_t closed_steps;  // prepared,
  int64_t closed_turns;  // and done so many times over
  int64_t open_steps;

  int64_t ClosedSteps() const { return closed_steps * closed_turns; }
};
// At least two cycles fall into the open loop where the heap is 3 times live.
constexpr CacheJob kFull = {1'000'000, 2'000'000, 8'000'000, 1, 20'000'000};
constexpr CacheJob kSmoke = {10'000, 20'000, 200'000, 1, 300'000};
// Of a live size that was asked for: what is beside the heap is small, so that a limit on the
// memory of the process is nearly all the heap's.
constexpr int64_t kSizedSteps = 200'000;
constexpr int64_t kSizedTurns = 20;

constexpr double kZipfExponent = 0.99;
constexpr double kPutShare = 0.1;
// Values have from 64 to 1,024 bytes, as words.
constexpr double kLeastWords = 8;
constexpr double kMostWords = 128;

constexpr double kHeapMultiple = 3;
// No cycle falls into the timed part: this is the same program with collection off.
constexpr double kNoCycleMultiple = 16;

template <typename S>
struct Entry {
  using Value = typename S::template Array<int64_t>;

  typename S::template Edge<Entry> chain;  // the next of the same bucket
  typename S::template Edge<Entry> newer, older;
  typename S::template Edge<Value> value;
  uint32_t key = 0;
  uint32_t words = 0;  // of the value
};
constexpr int64_t kEntryBytes = 48;  // with its header
static_assert(sizeof(Entry<EbbSubject>) + 8 == kEntryBytes);

// One operation, decided before the timed part.
struct Operation {
  uint32_t key;
  uint32_t words;  // 0: a get; else a put of so many
};

// The length of a value.
uint32_t DrawWords(Random& random) {
  return static_cast<uint32_t>(kLeastWords * std::pow(kMostWords / kLeastWords, random.Unit()));
}

std::vector<Operation> Operations(const CacheJob& job, int64_t count, uint64_t seed) {
  Random random(seed);
  const Zipf zipf(job.keys, kZipfExponent);
  std::vector<Operation> operations(static_cast<size_t>(count));
  for (Operation& operation : operations) {
    operation.key = zipf.Draw(random);
    const uint32_t words = DrawWords(random);
    operation.words = random.Unit() < kPutShare ? words : 0;
  }
  return operations;
}

// The mean of a log-uniform draw, rounded up.
int64_t MeanWords() {
  return static_cast<int64_t>(
      std::ceil((kMostWords - kLeastWords) / std::log(kMostWords / kLeastWords)));
}

template <typename S>
class Cache {
 public:
  // Full, of keys from 0 on.
  Cache(typename S::Thread& thread, const CacheJob& job, uint64_t seed)
      : thread_(thread),
        capacity_(job.entries),
        mask_(BucketCount(job.entries) - 1),
        buckets_(thread, thread.template NewRefArray<Node>(mask_ + 1)),
        newest_(thread, nullptr),
        oldest_(thread, nullptr) {
    Random random(seed);
    for (uint32_t key = 0; key < capacity_; ++key) {
      Put(key, DrawWords(random));
    }
  }
  Cache(const Cache&) = delete;

  void Do(const Operation& operation) {
    if (operation.words == 0) {
      Get(operation.key);
    } else {
      Put(operation.key, operation.words);
    }
  }

  // Walks both ways of the LRU order, looks every entry up, and gives all back where that is the
  // program's duty. Returns a checksum of what is in it, and in which order.
  absl::StatusOr<int64_t> TakeApart() {
    uint64_t checksum = static_cast<uint64_t>(hits_);
    uint32_t count = 0;
    const Temp first = newest_;
    typename S::template Root<Node> at(thread_, first), newer(thread_, nullptr);
    while (at != nullptr) {
      const Temp node = at;
      if (node->newer != newer || Find(node->key) != node || (*node->value)[0] != node->key ||
          (*node->value)[node->words - 1] != node->key) {
        return absl::InternalError("the cache is damaged");
      }
      checksum = Random(checksum ^ node->key).Next();
      newer = node;
      at = node->older;
      if (++count % 1024 == 0) thread_.Safepoint();  // a cycle may still run
    }
    if (count != capacity_ || newer != oldest_) {
      return absl::InternalError("the cache has lost entries");
    }
    if constexpr (S::kManual) {
      for (Temp node = newest_; node != nullptr;) {
        const Temp older = node->older;
        thread_.Free(node->value);
        thread_.Free(node);
        node = older;
      }
      thread_.Free(buckets_);
    }
    return static_cast<int64_t>(checksum >> 1);  // never negative, for who reads the line
  }

 private:
  using Node = Entry<S>;
  using Temp = typename S::template Temp<Node>;
  using Edge = typename S::template Edge<Node>;
  using Value = typename Node::Value;

  static int64_t BucketCount(uint32_t entries) {
    int64_t count = 1;
    while (count < entries) count *= 2;
    return count;
  }
  Edge& Bucket(uint32_t key) {
    return (*buckets_)[static_cast<int64_t>(Random(key).Next()) & mask_];
  }
  Temp Find(uint32_t key) {
    Temp node = Bucket(key);
    while (node != nullptr && node->key != key) node = node->chain;
    return node;
  }

  void Get(uint32_t key) {
    const Temp node = Find(key);
    if (node == nullptr) return;
    hits_ += (*node->value)[0] == key ? 1 : 0;
    MoveToFront(node);
  }

  void Put(uint32_t key, uint32_t words) {
    typename S::template Root<Value> value(thread_,
                                           thread_.template NewArray<int64_t>(int64_t{words}));
    (*value)[0] = key;
    (*value)[words - 1] = key;
    Temp node = Find(key);
    if (node == nullptr) {
      if (count_ == capacity_) EvictOldest();
      node = thread_.template New<Node>(nullptr, nullptr, nullptr, nullptr, key, words);
      Edge& bucket = Bucket(key);
      const Temp first = bucket;
      node->chain = first;
      bucket = node;
      node->value = value;
      LinkAtFront(node);
      ++count_;
      return;
    }
    if constexpr (S::kManual) thread_.Free(node->value);
    node->value = value;
    node->words = words;
    MoveToFront(node);
  }

  void LinkAtFront(Temp node) {
    const Temp second = newest_;
    node->newer = nullptr;
    node->older = second;
    if (second != nullptr) {
      second->newer = node;
    } else {
      oldest_ = node;
    }
    newest_ = node;
  }
  void Unlink(Temp node) {
    const Temp newer = node->newer;
    const Temp older = node->older;
    if (newer != nullptr) {
      newer->older = older;
    } else {
      newest_ = older;
    }
    if (older != nullptr) {
      older->newer = newer;
    } else {
      oldest_ = newer;
    }
  }
  void MoveToFront(Temp node) {
    if (node == newest_) return;
    Unlink(node);
    LinkAtFront(node);
  }
  void EvictOldest() {
    const Temp victim = oldest_;
    Unlink(victim);
    Edge* place = &Bucket(victim->key);
    for (Temp at = *place; at != victim; at = *place) place = &at->chain;
    const Temp rest = victim->chain;
    *place = rest;
    --count_;
    // What a conservative collector takes for alive shall not keep other victims so.
    victim->chain = victim->newer = victim->older = nullptr;
    if constexpr (S::kManual) {
      thread_.Free(victim->value);
      thread_.Free(victim);
    }
  }

  typename S::Thread& thread_;
  const uint32_t capacity_;
  const int64_t mask_;
  uint32_t count_ = 0;
  int64_t hits_ = 0;
  typename S::template Root<typename S::template RefArray<Node>> buckets_;
  typename S::template Root<Node> newest_, oldest_;
};

// An entry, its bucket (at most two for each), and a value of the mean length with header and
// length.
int64_t LiveBytesPerEntry() { return kEntryBytes + 16 + 8 * MeanWords() + 16; }

int64_t LiveBytes(const CacheJob& job) {
  return job.entries * LiveBytesPerEntry();
}

CacheJob JobFor(const RunSpec& spec) {
  if (spec.live_bytes == 0) return spec.smoke ? kSmoke : kFull;
  const auto fitting = static_cast<uint32_t>(spec.live_bytes / LiveBytesPerEntry());
  const uint32_t entries = spec.smoke ? std::min(fitting, kSmoke.entries) : fitting;
  return {entries, 2 * entries, kSizedSteps, spec.smoke ? 1 : kSizedTurns, kSizedSteps};
}

struct Measured {
  Meter closed;
  int64_t peak_rss_bytes = 0;  // of both loops
  std::vector<int64_t> latencies;
  int64_t collections = 0;
  int64_t open_collections = 0;
  int64_t checksum = 0;
};

// Operation i is meant to begin at i times `interval`; its latency is from then to its end.
template <typename S>
void RunOpenLoop(absl::Span<const Operation> operations, int64_t interval,
                 typename S::Thread& thread, Cache<S>& cache, std::vector<int64_t>& latencies) {
  int64_t intended = platform::MonotonicNanos();
  int64_t now = intended;
  for (size_t i = 0; i < operations.size(); ++i, intended += interval) {
    while (now < intended) {
      thread.Safepoint();
      now = platform::MonotonicNanos();
    }
    cache.Do(operations[i]);
    now = platform::MonotonicNanos();
    latencies[i] = now - intended;
  }
}

template <typename S>
absl::Status Measure(const CacheJob& job, uint64_t seed, S& subject, typename S::Thread& thread,
                     Measured& measured) {
  const std::vector<Operation> operations =
      Operations(job, job.closed_steps + job.open_steps, seed);
  const absl::Span<const Operation> all = operations;
  measured.latencies.assign(static_cast<size_t>(job.open_steps), 0);  // faulted in here
  Cache<S> cache(thread, job, seed);
  absl::Status status = subject.Collect();
  if (!status.ok()) return status;
  PinThisThread();  // as in bench/rewire.cc
  const int64_t before = subject.Collections();
  measured.closed.Start();
  for (int64_t turn = 0; turn < job.closed_turns; ++turn) {
    for (const Operation& operation : all.first(job.closed_steps)) {
      cache.Do(operation);
      // As the open loop does: the fence in it keeps operations from overlapping, and the rate
      // would be one that the open loop cannot reach.
      const int64_t now = platform::MonotonicNanos();
      asm volatile("" : : "r"(now));
    }
  }
  measured.closed.Stop();
  const int64_t between = subject.Collections();
  const auto interval = static_cast<int64_t>(2 * absl::ToDoubleNanoseconds(measured.closed.wall()) /
                                             static_cast<double>(job.ClosedSteps()));
  RunOpenLoop<S>(all.subspan(job.closed_steps), interval, thread, cache, measured.latencies);
  measured.peak_rss_bytes = PeakResidentBytes();
  measured.open_collections = subject.Collections() - between;
  measured.collections = subject.Collections() - before;
  absl::StatusOr<int64_t> checksum = cache.TakeApart();
  if (!checksum.ok()) return checksum.status();
  measured.checksum = *checksum;
  return absl::OkStatus();
}

absl::StatusOr<Record> Run(const RunSpec& spec) {
  const CacheJob job = JobFor(spec);
  const auto heap_bytes =
      static_cast<int64_t>(spec.heap_multiple * static_cast<double>(LiveBytes(job)));
  const SubjectOptions options = OptionsFor(spec, heap_bytes);
  return WithSubject(options, [&]<typename S>(S& subject) -> absl::StatusOr<Record> {
    Measured measured;
    absl::Status status = RunThreads(subject, 1, [&](typename S::Thread& thread) {
      return Measure<S>(job, spec.seed, subject, thread, measured);
    });
    if (!status.ok()) return status;
    Record record;
    measured.closed.Write(record);
    record.Set("peak_rss_bytes", measured.peak_rss_bytes);
    record.Set("operations", job.ClosedSteps());
    record.Set("largest_live_bytes", LiveBytes(job));
    if (subject.Collections() > 0) {
      record.Set("timed_collections", measured.collections);
      record.Set("open_collections", measured.open_collections);
    }
    record.Set("checksum", measured.checksum);
    WriteDistribution(std::move(measured.latencies), "latency_ns", record);
    subject.Describe(record);
    return record;
  });
}

}  // namespace

Workload W3Cache() {
  Workload workload;
  workload.name = "W3";
  workload.about = "an LRU cache: closed loop; open loop at half its rate for latencies";
  workload.peers = LibraryPeersWithoutCounts();  // the LRU order is a cycle of references
  workload.default_peers = {"boehm", "mimalloc"};
  workload.collectors = Collectors();
  workload.heap_multiples = {kHeapMultiple, kNoCycleMultiple};
  workload.live_sizes = {0};  // a million entries, whatever they take
  workload.bars = {{.of = "latency_ns.p999",
                    .at_most = 2,
                    .collector = "concurrent",
                    .heap_multiple = kHeapMultiple,
                    .peer_heap_multiple = kNoCycleMultiple},
                   MinorPauseBar(kHeapMultiple)};
  workload.details = {"timed_collections", "open_collections", "latency_ns.p50", "latency_ns.p99",
                      "latency_ns.p999",   "latency_ns.p9999", "latency_ns.max"};
  workload.run = &Run;
  return workload;
}

}  // namespace ebb::bench
