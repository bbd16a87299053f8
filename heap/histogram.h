// Histogram: how often which duration or size occurred, in buckets that widen with the value.

#ifndef EBB_HEAP_HISTOGRAM_H_
#define EBB_HEAP_HISTOGRAM_H_

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <limits>

namespace ebb {

// Log-linear buckets (the layout of HdrHistogram, hdrhistogram.org): values below 64 exactly, above
// that 32 buckets for each power of two, so a reported value is at most 3.2 % above the true one.
// Negative values count as 0. Record is O(1), Percentile O(buckets). Not thread-safe.
class Histogram {
 public:
  void Record(int64_t value) {
    value = std::max<int64_t>(value, 0);
    ++buckets_[BucketOf(static_cast<uint64_t>(value))];
    ++count_;
    Add(value);
    max_ = std::max(max_, value);
  }

  void Merge(const Histogram& other) {
    for (size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
    count_ += other.count_;
    Add(other.sum_);
    max_ = std::max(max_, other.max_);
  }

  int64_t Count() const { return count_; }
  int64_t Sum() const { return sum_; }  // exact, or the greatest int64_t if that is less
  int64_t Max() const { return max_; }  // exact

  // The least recorded value v such that `percent` % of all are at most v, rounded up to the end
  // of its bucket; 0 if nothing was recorded. `percent` is in [0, 100].
  int64_t Percentile(double percent) const {
    const double wanted = std::clamp(percent, 0.0, 100.0) / 100 * static_cast<double>(count_);
    int64_t seen = 0;
    for (size_t i = 0; i < buckets_.size(); ++i) {
      seen += buckets_[i];
      if (seen > 0 && static_cast<double>(seen) >= wanted) {
        return std::min(static_cast<int64_t>(EndOf(i)), max_);
      }
    }
    return max_;
  }

 private:
  static constexpr int kSubBits = 5;
  static constexpr uint64_t kSub = uint64_t{1} << kSubBits;

  void Add(int64_t amount) {
    if (__builtin_add_overflow(sum_, amount, &sum_)) sum_ = std::numeric_limits<int64_t>::max();
  }
  static size_t BucketOf(uint64_t value) {
    if (value < 2 * kSub) return value;
    const int shift = std::bit_width(value) - 1 - kSubBits;
    return static_cast<size_t>(shift) * kSub + (value >> shift);
  }
  // The greatest value that falls into bucket `index`.
  static uint64_t EndOf(size_t index) {
    if (index < 2 * kSub) return index;
    const int shift = static_cast<int>(index / kSub) - 1;
    return ((index % kSub + kSub + 1) << shift) - 1;
  }

  std::array<int64_t, (64 - kSubBits + 1) * kSub> buckets_ = {};
  int64_t count_ = 0;
  int64_t sum_ = 0;
  int64_t max_ = 0;
};

}  // namespace ebb

#endif  // EBB_HEAP_HISTOGRAM_H_
