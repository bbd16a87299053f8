// GreyStock: grey objects beyond what workers' deques hold, in batches that anybody may take.
// Design: docs/design/tracing.md#worklists

#ifndef EBB_HEAP_GREY_STOCK_H_
#define EBB_HEAP_GREY_STOCK_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "copyspace/ledger.h"
#include "heap/grey.h"
#include "platform/bytes.h"

namespace ebb::internal {

// Thread-safe. Every operation but Clear is O(kBatch): unlike an array that grows, it never copies
// what it has, which would hold up a mutator that assists.
class GreyStock {
 public:
  static constexpr size_t kBatch = 1024;

  // `ledger` is debited for its memory. A stock that is not `enabled` refuses everything.
  GreyStock(copyspace::Ledger& ledger, bool enabled) : ledger_(ledger), enabled_(enabled) {}
  ~GreyStock() { Clear(); }
  GreyStock(const GreyStock&) = delete;
  GreyStock& operator=(const GreyStock&) = delete;

  // From 1 to kBatch of them. False, and nothing has changed, if there is no memory.
  bool Put(absl::Span<const Grey> greys) ABSL_LOCKS_EXCLUDED(mu_);
  // The batch that was put last, into `to`, which has room for kBatch. How many; 0 if there is
  // none.
  size_t Take(Grey* to) ABSL_LOCKS_EXCLUDED(mu_);
  // Forgets all, and gives all memory back.
  void Clear() ABSL_LOCKS_EXCLUDED(mu_);

  // Whether there was none a moment ago. Relaxed: what is taken is published by the lock, and who
  // puts something is no idle worker yet when it does (docs/design/tracing.md).
  bool empty_hint() const { return batches_.load(std::memory_order_relaxed) == 0; }

 private:
  struct Batch {
    std::unique_ptr<Batch> next;
    size_t count = 0;
    std::array<Grey, kBatch> greys;
  };
  static constexpr platform::Bytes kBatchBytes{int64_t{sizeof(Batch)}};
  static std::unique_ptr<Batch> Pop(std::unique_ptr<Batch>& list);
  static void Push(std::unique_ptr<Batch>& list, std::unique_ptr<Batch> batch);

  copyspace::Ledger& ledger_;
  const bool enabled_;
  absl::Mutex mu_;
  std::unique_ptr<Batch> full_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<Batch> unused_ ABSL_GUARDED_BY(mu_);
  std::atomic<int64_t> batches_ = 0;  // in full_; written under mu_
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_GREY_STOCK_H_
