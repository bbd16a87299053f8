// Bytes: an amount of memory, as a type of its own so that it cannot be mixed with counts of
// blocks, words or objects.

#ifndef EBB_PLATFORM_BYTES_H_
#define EBB_PLATFORM_BYTES_H_

#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/str_format.h"

namespace ebb::platform {

class Bytes {
 public:
  constexpr Bytes() = default;
  constexpr explicit Bytes(int64_t count) : count_(count) {}

  constexpr int64_t count() const { return count_; }
  // For interfaces that want a size_t; the amount must not be negative.
  constexpr size_t size() const { return static_cast<size_t>(count_); }

  friend constexpr auto operator<=>(Bytes, Bytes) = default;
  friend constexpr Bytes operator+(Bytes a, Bytes b) { return Bytes(a.count_ + b.count_); }
  friend constexpr Bytes operator-(Bytes a, Bytes b) { return Bytes(a.count_ - b.count_); }
  friend constexpr Bytes operator*(Bytes a, int64_t n) { return Bytes(a.count_ * n); }
  friend constexpr Bytes operator*(int64_t n, Bytes a) { return a * n; }
  friend constexpr Bytes operator/(Bytes a, int64_t n) { return Bytes(a.count_ / n); }
  // How often `b` fits into `a`, and what is left.
  friend constexpr int64_t operator/(Bytes a, Bytes b) { return a.count_ / b.count_; }
  friend constexpr Bytes operator%(Bytes a, Bytes b) { return Bytes(a.count_ % b.count_); }
  constexpr Bytes& operator+=(Bytes b) { return *this = *this + b; }
  constexpr Bytes& operator-=(Bytes b) { return *this = *this - b; }

  // "1.5 MiB (1572864 bytes)".
  std::string ToString() const {
    constexpr const char* kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double scaled = static_cast<double>(count_);
    int unit = 0;
    while (unit < 4 && (scaled >= 1024 || scaled <= -1024)) {
      scaled /= 1024;
      ++unit;
    }
    if (unit == 0) return absl::StrFormat("%d bytes", count_);
    return absl::StrFormat("%.1f %s (%d bytes)", scaled, kUnits[unit], count_);
  }
  template <typename Sink>
  friend void AbslStringify(Sink& sink, Bytes bytes) {
    sink.Append(bytes.ToString());
  }

 private:
  int64_t count_ = 0;
};

constexpr Bytes KiB(int64_t n) { return Bytes(n << 10); }
constexpr Bytes MiB(int64_t n) { return Bytes(n << 20); }
constexpr Bytes GiB(int64_t n) { return Bytes(n << 30); }

// The least multiple of `unit` that is not below `amount`; neither is negative, `unit` is not 0.
constexpr Bytes RoundUp(Bytes amount, Bytes unit) {
  return (amount + unit - Bytes(1)) / unit * unit;
}

// `amount` times `factor`, cut to whole bytes.
constexpr Bytes Scaled(Bytes amount, double factor) {
  return Bytes(static_cast<int64_t>(factor * static_cast<double>(amount.count())));
}

}  // namespace ebb::platform

#endif  // EBB_PLATFORM_BYTES_H_
