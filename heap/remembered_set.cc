#include "heap/remembered_set.h"

#include <new>

#include "absl/log/check.h"

namespace ebb::internal {

namespace {

void Push(std::unique_ptr<EdgeChunk>& list, std::unique_ptr<EdgeChunk> chunk) {
  chunk->next = std::move(list);
  list = std::move(chunk);
}

std::unique_ptr<EdgeChunk> Pop(std::unique_ptr<EdgeChunk>& list) {
  std::unique_ptr<EdgeChunk> chunk = std::move(list);
  list = std::move(chunk->next);
  return chunk;
}

}  // namespace

// One by one: the destructor of a long list would recurse.
RememberedSet::~RememberedSet() {
  absl::MutexLock lock(&mu_);
  for (std::unique_ptr<EdgeChunk>* list : {&put_, &unused_}) {
    while (*list != nullptr) Pop(*list);
  }
  ledger_.Credit(kEdgeChunkBytes * chunks_);
}

std::unique_ptr<EdgeChunk> RememberedSet::Exchange(std::unique_ptr<EdgeChunk> chunk) {
  absl::MutexLock lock(&mu_);
  if (chunk != nullptr) PutLocked(std::move(chunk));
  if (unused_ != nullptr) return Pop(unused_);
  if (chunks_ >= most_chunks_ || !ledger_.TryDebit(kEdgeChunkBytes, keep_free_)) return nullptr;
  std::unique_ptr<EdgeChunk> fresh(new (std::nothrow) EdgeChunk);
  if (fresh == nullptr) {
    ledger_.Credit(kEdgeChunkBytes);
    return nullptr;
  }
  ++chunks_;
  return fresh;
}

void RememberedSet::PutLocked(std::unique_ptr<EdgeChunk> chunk) {
  std::unique_ptr<EdgeChunk>& list = chunk->count > 0 ? put_ : unused_;
  Push(list, std::move(chunk));
}

void RememberedSet::Put(std::unique_ptr<EdgeChunk> chunk) {
  absl::MutexLock lock(&mu_);
  PutLocked(std::move(chunk));
}

std::unique_ptr<EdgeChunk> RememberedSet::TakeAll() {
  absl::MutexLock lock(&mu_);
  return std::move(put_);
}

void RememberedSet::Trim() {
  absl::MutexLock lock(&mu_);
  for (; unused_ != nullptr; --chunks_) {
    Pop(unused_);
    ledger_.Credit(kEdgeChunkBytes);
  }
}

void RememberedSet::ForEach(absl::FunctionRef<void(uintptr_t edge)> visit) const {
  absl::MutexLock lock(&mu_);
  for (const EdgeChunk* chunk = put_.get(); chunk != nullptr; chunk = chunk->next.get()) {
    for (size_t i = 0; i < chunk->count; ++i) visit(chunk->edges[i]);
  }
}

void RememberedSet::Recycle(std::unique_ptr<EdgeChunk> chunk) {
  chunk->count = 0;
  Put(std::move(chunk));
}

}  // namespace ebb::internal
