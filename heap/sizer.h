// Sizer: how large a heap should be at the moment, by its policy: from what lives, how fast the
// program allocates, how fast cycles are, and whether the machine is short of memory.
// Design: docs/design/sizing.md

#ifndef EBB_HEAP_SIZER_H_
#define EBB_HEAP_SIZER_H_

#include <cstdint>

#include "heap/options.h"
#include "platform/bytes.h"

namespace ebb::internal {

// Bytes for each second, the older the less they count.
class SmoothedRate {
 public:
  // `bytes` in the last `seconds`; what was known before counts `keep` times as much as until now.
  void Add(double bytes, double seconds, double keep) {
    bytes_ = bytes_ * keep + bytes;
    seconds_ = seconds_ * keep + seconds;
  }
  // Nothing known yet: 0.
  double bytes_per_second() const { return seconds_ > 0 ? bytes_ / seconds_ : 0; }

 private:
  double bytes_ = 0;
  double seconds_ = 0;
};

// Knows no heap; the caller synchronises. All O(1).
class Sizer {
 public:
  // `options` are resolved; `now` is when the program begins to allocate.
  Sizer(const Options& options, int64_t now);

  // At the end of a cycle.
  struct Cycle {
    platform::Bytes live_in_copies;  // what it has evacuated; of what is younger, most will die
    platform::Bytes beside;          // what lives besides, large or pinned, and the tables
    platform::Bytes traced;          // objects evacuated or marked
    int64_t nanos = 0;               // that it took
    platform::Bytes allocated;       // by mutators, ever
    int64_t now = 0;                 // platform::MonotonicNanos
  };
  void NoteCycle(const Cycle& cycle);
  // From time to time between cycles. `pressure`: System::MemoryPressure.
  void NoteTick(platform::Bytes allocated, double pressure, int64_t now);

  bool under_pressure() const { return squeeze_ < 1; }

  // What the heap may use now, `most` at most.
  platform::Bytes Limit(platform::Bytes most) const;

  // An allocation found no room, and the `cycles`th cycle made some; now there is `room`.
  void NoteDry(int64_t cycles, platform::Bytes allocated, platform::Bytes room);
  // True, once, when that has been so for kMostCostlyCycles cycles in a row, with less than
  // 1/kMostMarkCons of what must be copied allocated in between, and no more room than that after
  // the last: the program does little else than collect.
  bool CollectsTooMuch();
  static constexpr int kMostCostlyCycles = 8;
  static constexpr int64_t kMostMarkCons = 32;

 private:
  // What a cycle needs to move what lives, with nothing allocated meanwhile.
  platform::Bytes Needed() const;
  // What the policy grants beyond that.
  platform::Bytes RoomByPolicy(platform::Bytes most) const;
  void NoteAllocated(platform::Bytes allocated, int64_t now);

  const Sizing policy_;
  const platform::Bytes least_;
  const double growth_;
  const double price_;  // processors for each byte

  bool any_cycle_ = false;
  Cycle last_;
  SmoothedRate allocation_;
  SmoothedRate tracing_;
  platform::Bytes allocated_;  // at rate_at_
  int64_t rate_at_;
  double squeeze_ = 1;         // the share of its room that a heap has under pressure

  int64_t dry_cycle_ = 0;
  platform::Bytes dry_allocated_;
  int costly_cycles_ = 0;
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_SIZER_H_
