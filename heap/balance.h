// Balance: the bytes that mutators ever allocated are those of objects that are there, and those
// that cycles have freed (inv.balance). Design: docs/design/heap.md#the-balance

#ifndef EBB_HEAP_BALANCE_H_
#define EBB_HEAP_BALANCE_H_

#include <atomic>
#include <cstdint>

#include "absl/status/status.h"
#include "copyspace/mutators_stopped.h"
#include "heap/spaces.h"
#include "platform/bytes.h"

namespace ebb::internal {

// Bytes are of objects and the padding between them, in all spaces. Counts by any thread; all are
// relaxed: they publish nothing, and are compared in pauses only, which order what they count.
class Balance {
 public:
  // `spaces` outlive it.
  explicit Balance(Spaces& spaces) : spaces_(spaces) {}
  Balance(const Balance&) = delete;
  Balance& operator=(const Balance&) = delete;

  // By a mutator, in regions of the copy space or the nursery that it has closed.
  void AddAllocated(platform::Bytes bytes) { Add(allocated_, bytes); }
  // By a cycle or a load barrier, likewise.
  void AddEvacuated(platform::Bytes bytes) { Add(evacuated_, bytes); }
  // At the end of a cycle of one of these spaces: what was there at its flip and has not been
  // retained. Most of that was evacuated.
  void AddLeft(platform::Bytes bytes) { Add(left_, bytes); }
  // After that, when all that the cycle has evacuated is known: freed_bytes is brought up to date.
  void NoteFreed();

  // In all spaces, ever.
  platform::Bytes allocated_bytes() const;
  // As of the last NoteFreed. Remains of evacuated objects beside retained ones are not yet freed.
  platform::Bytes freed_bytes() const { return Load(freed_); }

  // Between cycles, every allocator closed: Internal, with all figures, if the balance does not
  // hold.
  absl::Status Check(const copyspace::MutatorsStopped&) const;
  // The same, once a cycle: a fault is logged (in debug builds it stops the program) and counted,
  // but only where more bytes, or fewer, are astray than the last time.
  void CheckAtCycle(const copyspace::MutatorsStopped& stopped);
  int64_t faults() const { return faults_.load(std::memory_order_relaxed); }  // publishes nothing

 private:
  // Relaxed: the pause in which they are compared orders the counts (see the design page).
  static void Add(std::atomic<int64_t>& count, platform::Bytes bytes) {
    count.fetch_add(bytes.count(), std::memory_order_relaxed);
  }
  static platform::Bytes Load(const std::atomic<int64_t>& count) {
    return platform::Bytes(count.load(std::memory_order_relaxed));  // as above
  }
  platform::Bytes FreedNow() const;
  platform::Bytes Astray() const;

  Spaces& spaces_;
  std::atomic<int64_t> allocated_ = 0;
  std::atomic<int64_t> evacuated_ = 0;
  std::atomic<int64_t> left_ = 0;
  std::atomic<int64_t> freed_ = 0;
  std::atomic<int64_t> faults_ = 0;
  platform::Bytes last_astray_;  // in pauses
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_BALANCE_H_
