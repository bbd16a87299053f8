// RememberedSet: the edges of old objects that may lead to young ones, in chunks.
// Design: docs/design/generations.md#the-remembered-set

#ifndef EBB_HEAP_REMEMBERED_SET_H_
#define EBB_HEAP_REMEMBERED_SET_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "copyspace/ledger.h"
#include "platform/bytes.h"
#include "platform/fork.h"

namespace ebb::internal {

// Some edges, in a list.
struct EdgeChunk {
  static constexpr size_t kEdges = 510;

  bool full() const { return count == kEdges; }

  std::unique_ptr<EdgeChunk> next;
  size_t count = 0;
  std::array<uintptr_t, kEdges> edges;
};
inline constexpr platform::Bytes kEdgeChunkBytes{int64_t{sizeof(EdgeChunk)}};

// Thread-safe, O(1) for each chunk. An edge that found no memory is known by its bit only
// (Spaces::IsRemembered): then overflowed() says so.
class RememberedSet {
 public:
  // `ledger` is debited for chunks, `keep_free` of it left alone; there are at most `most_chunks`.
  RememberedSet(copyspace::Ledger& ledger, platform::Bytes keep_free, int64_t most_chunks)
      : ledger_(ledger), keep_free_(keep_free), most_chunks_(most_chunks) {}
  ~RememberedSet();
  RememberedSet(const RememberedSet&) = delete;
  RememberedSet& operator=(const RememberedSet&) = delete;

  // Takes a chunk, or null, and gives an empty one for it; null if there is no memory.
  std::unique_ptr<EdgeChunk> Exchange(std::unique_ptr<EdgeChunk> chunk) ABSL_LOCKS_EXCLUDED(mu_);
  void Put(std::unique_ptr<EdgeChunk> chunk) ABSL_LOCKS_EXCLUDED(mu_);
  // Takes all chunks that were put, and calls visit(chunk) for each; it may put others.
  template <typename Visit>
  void TakeEach(Visit&& visit) ABSL_LOCKS_EXCLUDED(mu_) {
    std::unique_ptr<EdgeChunk> next = TakeAll();
    while (next != nullptr) {
      std::unique_ptr<EdgeChunk> chunk = std::exchange(next, nullptr);
      next = std::move(chunk->next);
      visit(std::as_const(*chunk));
      Recycle(std::move(chunk));
    }
  }
  // Visits the edges of the chunks that were put and not yet taken. Under the lock.
  void ForEach(absl::FunctionRef<void(uintptr_t edge)> visit) const ABSL_LOCKS_EXCLUDED(mu_);

  // Gives chunks back that nobody uses. O(such chunks).
  void Trim() ABSL_LOCKS_EXCLUDED(mu_);

  // Relaxed, all: written by mutators, and read when they have stopped.
  void NoteOverflow() { overflowed_.store(true, std::memory_order_relaxed); }
  bool overflowed() const { return overflowed_.load(std::memory_order_relaxed); }
  bool TakeOverflow() { return overflowed_.exchange(false, std::memory_order_relaxed); }

  void AtFork(platform::ForkStep step) { platform::LockAcrossFork(mu_, step); }

 private:
  std::unique_ptr<EdgeChunk> TakeAll() ABSL_LOCKS_EXCLUDED(mu_);
  void Recycle(std::unique_ptr<EdgeChunk> chunk) ABSL_LOCKS_EXCLUDED(mu_);
  void PutLocked(std::unique_ptr<EdgeChunk> chunk) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  copyspace::Ledger& ledger_;
  const platform::Bytes keep_free_;
  const int64_t most_chunks_;
  mutable absl::Mutex mu_;
  std::unique_ptr<EdgeChunk> put_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<EdgeChunk> unused_ ABSL_GUARDED_BY(mu_);
  int64_t chunks_ ABSL_GUARDED_BY(mu_) = 0;  // handed out or in either list
  std::atomic<bool> overflowed_ = false;
};

// What one thread logs. For its thread; or, while that is stopped, for the collector.
class EdgeBuffer {
 public:
  // Null: nothing is ever logged.
  explicit EdgeBuffer(RememberedSet* set) : set_(set) {}
  ~EdgeBuffer() { HandOver(); }
  EdgeBuffer(const EdgeBuffer&) = delete;
  EdgeBuffer& operator=(const EdgeBuffer&) = delete;

  void Add(uintptr_t edge) {
    if (chunk_ == nullptr || chunk_->full()) [[unlikely]] {
      chunk_ = set_->Exchange(std::move(chunk_));
      if (chunk_ == nullptr) return set_->NoteOverflow();
    }
    chunk_->edges[chunk_->count++] = edge;
  }
  void HandOver() {
    if (chunk_ != nullptr) set_->Put(std::move(chunk_));
  }

 private:
  RememberedSet* const set_;
  std::unique_ptr<EdgeChunk> chunk_;
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_REMEMBERED_SET_H_
