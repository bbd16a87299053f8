// Allowance: how much of the nursery mutators use between two minor cycles, so that the pauses keep
// to a target. Design: docs/design/generations.md#the-nursery

#ifndef EBB_HEAP_ALLOWANCE_H_
#define EBB_HEAP_ALLOWANCE_H_

#include <cstdint>

namespace ebb::internal {

// In regions. For one thread at a time.
class Allowance {
 public:
  // What a nursery needs to be one.
  static constexpr int64_t kLeast = 2;

  Allowance(int64_t target_nanos, int64_t most);

  int64_t regions() const { return regions_; }
  // A minor cycle, of what the allowance had been used up for, took so long. O(1).
  void NotePause(int64_t nanos);

 private:
  const double target_nanos_;
  const int64_t most_;
  int64_t regions_;
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_ALLOWANCE_H_
