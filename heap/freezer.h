// Freezer: where a cycle that freezes moves objects to, so that no cycle moves them again.
// Design: docs/design/freezing.md

#ifndef EBB_HEAP_FREEZER_H_
#define EBB_HEAP_FREEZER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "heap/spaces.h"
#include "platform/bytes.h"

namespace ebb::internal {

// Of one heap. Thread-safe, but for Begin, which is for the pause of a flip.
class Freezer {
 public:
  explicit Freezer(Spaces& spaces) : spaces_(spaces) {}
  Freezer(const Freezer&) = delete;
  Freezer& operator=(const Freezer&) = delete;

  // The next cycle that may is to freeze. Relaxed: who requests a cycle after this is ordered with
  // the thread that runs it by the lock, or the pause, that it takes for that.
  void Request() { wanted_.store(true, std::memory_order_relaxed); }
  // None is, for now. (In a forked child, where who has asked is not there.)
  void Withdraw() { wanted_.store(false, std::memory_order_relaxed); }  // as above
  // A cycle begins: whether it freezes, which it does if it may and somebody wants it.
  bool Begin(bool may_freeze);
  // How many have.
  int64_t cycles() const { return cycles_.load(std::memory_order_relaxed); }  // as above

  // The address of a header word with room for an object of `bytes` there, which counts as marked,
  // payload aligned to 16 if `align16`; 0 if there is no memory, and then the object is left: it is
  // evacuated as in any cycle. For the threads that evacuate in a cycle that freezes.
  uintptr_t Allocate(size_t bytes, bool align16) noexcept;
  // The same of one whose evacuation fails: it stays where it is.
  void NoteLeft(size_t bytes) { Add(left_, bytes); }
  // From here on everything is left.
  void Stop() { stopped_.store(true, std::memory_order_relaxed); }  // publishes nothing

  // What the last cycle froze, which is nothing for most; what the last one that froze has left.
  platform::Bytes frozen() const { return Load(frozen_); }
  platform::Bytes left() const { return Load(left_); }

 private:
  // Relaxed, both: amounts that publish nothing.
  static void Add(std::atomic<int64_t>& sum, size_t bytes) {
    sum.fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed);
  }
  static platform::Bytes Load(const std::atomic<int64_t>& sum) {
    return platform::Bytes(sum.load(std::memory_order_relaxed));  // as above
  }

  Spaces& spaces_;
  std::atomic<bool> wanted_ = false;
  std::atomic<int64_t> cycles_ = 0;
  // There was no memory: asking for each object would take time, and find little. Relaxed: a hint.
  std::atomic<bool> stopped_ = false;
  std::atomic<int64_t> frozen_ = 0;
  std::atomic<int64_t> left_ = 0;
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_FREEZER_H_
