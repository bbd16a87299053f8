// The subject: an Ebb heap.

#ifndef EBB_BENCH_EBB_SUBJECT_H_
#define EBB_BENCH_EBB_SUBJECT_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "bench/heap_average.h"
#include "bench/meter.h"
#include "bench/record.h"
#include "bench/subject_options.h"
#include "heap/ebb.h"

namespace ebb::bench {

// A peer: Ebb itself, stopping the world, compiled without load barriers. It is another program,
// whose path is in this environment variable: bench/run builds it.
inline constexpr std::string_view kNoBarrier = "no-barrier";
inline constexpr char kNoBarrierProgram[] = "EBB_BENCH_NO_BARRIER";

// The collectors that --collector accepts.
const std::vector<std::string>& Collectors();

// `base` with a policy for the heap's size: "fixed", "growable" or "adaptive"; a colon and a number
// after it set what trades memory for time: Options::growth, or Options::processors_per_gib.
// InvalidArgument, naming what is accepted, for anything else.
absl::StatusOr<Options> WithSizing(std::string_view sizing, const Options& base);
// `base` with Options::release_backend by its name there.
absl::StatusOr<Options> WithBackend(std::string_view backend, const Options& base);

// Sets name.count, .p50, .p99, .p999, .max; nothing if nothing was recorded.
void WriteHistogram(const Histogram& histogram, std::string_view name, Record& record);

class EbbSubject {
 public:
  static constexpr bool kManual = false;
  template <typename T>
  using Edge = Field<T>;
  template <typename T>
  using Temp = Ref<T>;
  template <typename T>
  using Root = Local<T>;
  template <typename T>
  using Array = ebb::Array<T>;
  template <typename T>
  using RefArray = ebb::RefArray<T>;

  class Thread : public Mutator {
   public:
    explicit Thread(EbbSubject& subject)
        : Mutator(*subject.heap_), subject_(subject), cpu_before_(ThreadCpuTime()) {}
    ~Thread() { subject_.AddMutatorCpu(ThreadCpuTime() - cpu_before_); }
    template <typename Function>
    void Blocked(Function function) {
      Blocking blocking(*this);
      function();
    }

   private:
    EbbSubject& subject_;
    const absl::Duration cpu_before_;
  };

  static absl::StatusOr<std::unique_ptr<EbbSubject>> Create(const SubjectOptions& options);

  Heap& heap() { return *heap_; }
  absl::Status Collect() { return heap_->Collect(); }
  int64_t Collections() const {
    const HeapStats now = stats();
    return now.collections + now.minor_collections;
  }
  // collections, pause_ns, time_to_safepoint_ns, heap_bytes, live_bytes; of a heap whose sizing was
  // named, its average size and collection_cpu_s too. When the workload's threads have ended.
  void Describe(Record& record) const;
  HeapStats stats() const { return heap_->stats(); }

 private:
  explicit EbbSubject(std::unique_ptr<Heap> heap) : heap_(std::move(heap)) {}

  void AddMutatorCpu(absl::Duration spent) {
    // Relaxed: a sum, read when the threads that added to it have been joined.
    mutator_cpu_ns_.fetch_add(absl::ToInt64Nanoseconds(spent), std::memory_order_relaxed);
  }
  // Of this process since `cpu_before_`, without what its mutators did between collections.
  absl::Duration CollectionCpu(const HeapStats& stats) const;

  const std::unique_ptr<Heap> heap_;
  const absl::Duration cpu_before_ = ProcessCpuTime();
  std::atomic<int64_t> mutator_cpu_ns_ = 0;
  std::unique_ptr<HeapAverage> average_;  // if there is something to compare it with
};

}  // namespace ebb::bench

#endif  // EBB_BENCH_EBB_SUBJECT_H_
