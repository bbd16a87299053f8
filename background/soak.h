// Deadline: how long a stress test of this directory goes on.

#ifndef EBB_BACKGROUND_SOAK_H_
#define EBB_BACKGROUND_SOAK_H_

#include <chrono>
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/time/time.h"

namespace ebb::background {

// EBB_SOAK seconds from its construction if that is set, else `usual`.
class Deadline {
 public:
  explicit Deadline(absl::Duration usual) : end_(std::chrono::steady_clock::now()) {
    double soak = 0;
    const char* text = std::getenv("EBB_SOAK");
    if (text != nullptr && absl::SimpleAtod(text, &soak)) usual = absl::Seconds(soak);
    end_ += absl::ToChronoNanoseconds(usual);
  }

  bool passed() const { return std::chrono::steady_clock::now() >= end_; }

 private:
  std::chrono::steady_clock::time_point end_;
};

}  // namespace ebb::background

#endif  // EBB_BACKGROUND_SOAK_H_
