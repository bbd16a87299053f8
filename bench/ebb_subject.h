// The subject: an Ebb heap.

#ifndef EBB_BENCH_EBB_SUBJECT_H_
#define EBB_BENCH_EBB_SUBJECT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
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
    explicit Thread(EbbSubject& subject) : Mutator(*subject.heap_) {}
    template <typename Function>
    void Blocked(Function function) {
      Blocking blocking(*this);
      function();
    }
  };

  static absl::StatusOr<std::unique_ptr<EbbSubject>> Create(const SubjectOptions& options);

  absl::Status Collect() { return heap_->Collect(); }
  int64_t Collections() const {
    const HeapStats now = stats();
    return now.collections + now.minor_collections;
  }
  // collections, pause_ns, time_to_safepoint_ns, heap_bytes, live_bytes.
  void Describe(Record& record) const;
  HeapStats stats() const { return heap_->stats(); }

 private:
  explicit EbbSubject(std::unique_ptr<Heap> heap) : heap_(std::move(heap)) {}
  const std::unique_ptr<Heap> heap_;
};

}  // namespace ebb::bench

#endif  // EBB_BENCH_EBB_SUBJECT_H_
