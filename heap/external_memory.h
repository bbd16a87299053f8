// ExternalMemory: what managed objects hold outside of their heap, as the program reports it, and
// when that is a reason to collect. Design: docs/design/sizing.md#external-memory

#ifndef EBB_HEAP_EXTERNAL_MEMORY_H_
#define EBB_HEAP_EXTERNAL_MEMORY_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>

#include "absl/status/status.h"
#include "platform/bytes.h"

namespace ebb::internal {

// Lock-free, thread-safe. All orders are relaxed: amounts that set a pace and publish no memory. A
// report that races with BeginCycle counts before it or after, whichever: both are right.
class ExternalMemory {
 public:
  ExternalMemory() = default;
  ExternalMemory(const ExternalMemory&) = delete;
  ExternalMemory& operator=(const ExternalMemory&) = delete;

  // As of Heap::ReportExternal.
  absl::Status Report(int64_t bytes);

  platform::Bytes bytes() const { return platform::Bytes(Load(bytes_)); }
  // Of reports that were positive, ever.
  platform::Bytes reported() const { return platform::Bytes(Load(reported_)); }
  // By how much it has grown since it was lowest, since the last cycle began.
  platform::Bytes fresh() const { return platform::Bytes(std::max<int64_t>(Growth(), 0)); }

  // A cycle is about to begin: what is reported from here on is fresh.
  void BeginCycle();

  // Whether it is time for a Look: a cheap question, for each report.
  bool look_due() const { return Growth() >= Load(next_look_); }
  // `room`: what mutators may still allocate in the heap. A cycle is due when what is fresh is more
  // than that, than `least`, and than 1/kLowShare of what was there before.
  enum class Due {
    kNothing,
    kCycle,
    kMutators,  // twice as much is fresh: mutators go on when a cycle has begun
  };
  Due Look(platform::Bytes room, platform::Bytes least);
  static constexpr int64_t kLowShare = 8;

  // Mutators are to see to it that a cycle begins, before they allocate.
  void WantMutators() { Store(mutators_above_, Load(due_above_)); }
  bool mutators_wanted() const { return Growth() > Load(mutators_above_); }

 private:
  static constexpr int64_t kMostReported = int64_t{1} << 61;
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

  // Relaxed, both: see the class.
  static int64_t Load(const std::atomic<int64_t>& amount) {
    return amount.load(std::memory_order_relaxed);
  }
  static void Store(std::atomic<int64_t>& amount, int64_t value) {
    amount.store(value, std::memory_order_relaxed);
  }
  int64_t Growth() const { return Load(bytes_) - Load(low_); }
  void NoteReported(int64_t bytes);
  void LowerLow(int64_t bytes);

  std::atomic<int64_t> bytes_ = 0;
  std::atomic<int64_t> reported_ = 0;
  std::atomic<int64_t> low_ = 0;  // since the last cycle began
  // Of what is fresh.
  std::atomic<int64_t> next_look_ = 1;
  std::atomic<int64_t> due_above_ = 0;
  std::atomic<int64_t> mutators_above_ = kNever;
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_EXTERNAL_MEMORY_H_
