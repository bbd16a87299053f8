#include "heap/freezer.h"

#include <new>

#include "absl/status/statusor.h"

namespace ebb::internal {

bool Freezer::Begin(bool may_freeze) {
  // Relaxed, all: see Request, and Add.
  frozen_.store(0, std::memory_order_relaxed);
  if (!may_freeze || !wanted_.exchange(false, std::memory_order_relaxed)) return false;
  stopped_.store(false, std::memory_order_relaxed);
  left_.store(0, std::memory_order_relaxed);  // as above
  cycles_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

uintptr_t Freezer::Allocate(size_t bytes, bool align16) noexcept {
  if (!stopped_.load(std::memory_order_relaxed)) {  // see stopped_
    try {
      // What is kept for evacuation beyond the overdraft is for this: what is frozen needs no
      // other copy.
      const platform::Bytes keep_free = spaces_.overdraft();
      const absl::StatusOr<uintptr_t> header =
          bytes > PinnedSpace::kMostObjectBytes
              ? spaces_.large().Allocate(bytes, keep_free)
              : spaces_.pinned().Allocate(bytes, keep_free, align16);
      if (header.ok()) {
        Add(frozen_, bytes);
        return *header;
      }
    } catch (const std::bad_alloc&) {
      // No memory for a table, or for a message.
    }
    Stop();
  }
  NoteLeft(bytes);
  return 0;
}

}  // namespace ebb::internal
