#include "heap/external_memory.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace ebb::internal {

using platform::Bytes;

absl::Status ExternalMemory::Report(int64_t bytes) {
  int64_t before = Load(bytes_);
  int64_t after;
  do {
    if (__builtin_add_overflow(before, bytes, &after) || after < 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "ReportExternal: '", bytes, "' would make ", bytes < 0 ? "less than nothing" : "too much",
          " of the ", before, " bytes that are reported; report what an object gives up once, and "
          "no more than was reported for it"));
    }
    // Relaxed: see the class.
  } while (!bytes_.compare_exchange_weak(before, after, std::memory_order_relaxed));
  if (bytes < 0) {
    LowerLow(after);
  } else {
    NoteReported(bytes);
  }
  return absl::OkStatus();
}

// It stands at kMostReported in the end: only its growth is of interest, beside other amounts.
void ExternalMemory::NoteReported(int64_t bytes) {
  int64_t before = Load(reported_);
  int64_t after;
  do {
    after = std::min(before + std::min(bytes, kMostReported), kMostReported);
    // Relaxed: see the class.
  } while (!reported_.compare_exchange_weak(before, after, std::memory_order_relaxed));
}

void ExternalMemory::LowerLow(int64_t bytes) {
  int64_t low = Load(low_);
  // Relaxed: see the class.
  while (bytes < low && !low_.compare_exchange_weak(low, bytes, std::memory_order_relaxed)) {
  }
}

void ExternalMemory::BeginCycle() {
  Store(mutators_above_, kNever);
  Store(low_, Load(bytes_));
  LowerLow(Load(bytes_));  // what was taken back in between
  Store(next_look_, 1);
}

// The room falls as mutators allocate, so it is looked at several times on the way there; they look
// at each fresh region, too.
ExternalMemory::Due ExternalMemory::Look(Bytes room, Bytes least) {
  constexpr int64_t kFewestSteps = 16;
  const int64_t due = std::max({room.count(), least.count(), Load(low_) / kLowShare});
  const int64_t fresh = Growth();
  Store(due_above_, due);
  if (fresh <= due) {
    const int64_t step = std::max((due - fresh) / 2, due / kFewestSteps);
    Store(next_look_, std::min(fresh + step, due) + 1);
    return Due::kNothing;
  }
  if (fresh / 2 <= due) {
    Store(next_look_, fresh + due / kFewestSteps + 1);
    return Due::kCycle;
  }
  // Not never: a cycle that begins just now would not be told of what comes after.
  Store(next_look_, fresh <= kNever / 2 ? 2 * fresh : kNever);
  return Due::kMutators;
}

}  // namespace ebb::internal
