// A small seeded generator for the sequences that workloads prepare before they are timed.

#ifndef EBB_BENCH_RANDOM_H_
#define EBB_BENCH_RANDOM_H_

#include <cstdint>

namespace ebb::bench {

// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014): the same
// sequence on every machine and library.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  // In [0, bound), bound at most 2^32; the bias is below bound / 2^32.
  uint64_t Below(uint64_t bound) { return ((Next() >> 32) * bound) >> 32; }
  // In [0, 1).
  double Unit() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

 private:
  uint64_t state_;
};

}  // namespace ebb::bench

#endif  // EBB_BENCH_RANDOM_H_
