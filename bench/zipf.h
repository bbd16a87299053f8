// Zipf: draws numbers by Zipf's law, number i with a probability in proportion to 1 / (i + 1)^s.

#ifndef EBB_BENCH_ZIPF_H_
#define EBB_BENCH_ZIPF_H_

#include <cmath>
#include <cstdint>
#include <vector>

#include "bench/random.h"

namespace ebb::bench {

// By the alias method: A. J. Walker, ACM TOMS 3(3), 1977, with the tables built as M. D. Vose does,
// IEEE TSE 17(9), 1991. O(count) to make, O(1) a draw.
class Zipf {
 public:
  Zipf(uint32_t count, double exponent) : columns_(count) {
    double sum = 0;
    for (uint32_t i = 0; i < count; ++i) sum += Weight(i, exponent);
    std::vector<uint32_t> small, large;
    for (uint32_t i = 0; i < count; ++i) {
      columns_[i].own = Weight(i, exponent) / sum * count;
      (columns_[i].own < 1 ? small : large).push_back(i);
    }
    // Each column that is not full is filled up from one that is too full.
    while (!small.empty() && !large.empty()) {
      const uint32_t low = small.back();
      const uint32_t high = large.back();
      small.pop_back();
      columns_[low].alias = high;
      columns_[high].own -= 1 - columns_[low].own;
      if (columns_[high].own >= 1) continue;
      large.pop_back();
      small.push_back(high);
    }
    // What is left is full, but for rounding.
    for (const uint32_t i : small) columns_[i].own = 1;
    for (const uint32_t i : large) columns_[i].own = 1;
  }

  uint32_t Draw(Random& random) const {
    const auto i = static_cast<uint32_t>(random.Below(columns_.size()));
    return random.Unit() < columns_[i].own ? i : columns_[i].alias;
  }

 private:
  struct Column {
    double own = 0;  // the share of it that is its own number's
    uint32_t alias = 0;
  };
  static double Weight(uint32_t i, double exponent) { return std::pow(i + 1.0, -exponent); }

  std::vector<Column> columns_;
};

}  // namespace ebb::bench

#endif  // EBB_BENCH_ZIPF_H_
