#include "heap/grey_stock.h"

#include <algorithm>
#include <new>
#include <utility>

namespace ebb::internal {

std::unique_ptr<GreyStock::Batch> GreyStock::Pop(std::unique_ptr<Batch>& list) {
  std::unique_ptr<Batch> batch = std::move(list);
  if (batch != nullptr) list = std::move(batch->next);
  return batch;
}

void GreyStock::Push(std::unique_ptr<Batch>& list, std::unique_ptr<Batch> batch) {
  batch->next = std::move(list);
  list = std::move(batch);
}

bool GreyStock::Put(absl::Span<const Grey> greys) {
  if (!enabled_) return false;
  std::unique_ptr<Batch> batch;
  {
    absl::MutexLock lock(&mu_);
    batch = Pop(unused_);
  }
  if (batch == nullptr) {
    batch.reset(new (std::nothrow) Batch);
    if (batch == nullptr) return false;
    ledger_.ForceDebit(kBatchBytes);
  }
  batch->count = greys.size();
  std::copy(greys.begin(), greys.end(), batch->greys.begin());
  absl::MutexLock lock(&mu_);
  Push(full_, std::move(batch));
  batches_.fetch_add(1, std::memory_order_relaxed);  // see empty_hint
  return true;
}

size_t GreyStock::Take(Grey* to) {
  std::unique_ptr<Batch> batch;
  {
    absl::MutexLock lock(&mu_);
    batch = Pop(full_);
    if (batch == nullptr) return 0;
    batches_.fetch_sub(1, std::memory_order_relaxed);  // see empty_hint
  }
  const size_t count = batch->count;
  std::copy_n(batch->greys.begin(), count, to);
  absl::MutexLock lock(&mu_);
  Push(unused_, std::move(batch));
  return count;
}

// One by one: the destructor of a long list would recurse. A batch that another thread has in hand
// stays debited.
void GreyStock::Clear() {
  absl::MutexLock lock(&mu_);
  for (std::unique_ptr<Batch>* list : {&full_, &unused_}) {
    while (Pop(*list) != nullptr) ledger_.Credit(kBatchBytes);
  }
  batches_.store(0, std::memory_order_relaxed);  // see empty_hint
}

}  // namespace ebb::internal
