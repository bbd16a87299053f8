#include "heap/heap_limit.h"

#include <algorithm>

#include "copyspace/geometry.h"
#include "platform/clock.h"

namespace ebb::internal {

using platform::Bytes;
using platform::MiB;

namespace {

// Reading it takes some files, and cycles may be short.
constexpr int64_t kMemoryLimitStaysNanos = 100'000'000;
// By so much at least a limit is raised that a program has outgrown.
constexpr Bytes kLeastRaise = MiB(2);
// Others wait for the thread that ends a cycle; the rest is left to ticks.
constexpr Bytes kMostPagedOutByCycle = MiB(32);
// Of its share of the memory limit, so much is the heap's whatever its objects hold outside.
constexpr int64_t kLeastOfShare = 8;

}  // namespace

HeapLimit::HeapLimit(Spaces& spaces, const ExternalMemory& external, platform::System& system,
                     const Options& options)
    : spaces_(spaces),
      external_(external),
      system_(system),
      options_(options),
      sizer_(options, platform::MonotonicNanos()),
      max_bytes_(options.max_bytes) {
  ReadMemoryLimit();
  Set();
}

Bytes HeapLimit::most() const {
  absl::MutexLock lock(&mu_);
  return MostLocked();
}

Bytes HeapLimit::max_bytes() const {
  absl::MutexLock lock(&mu_);
  return max_bytes_;
}

absl::Status HeapLimit::SetMaxBytes(Bytes max_bytes) {
  {
    absl::MutexLock lock(&mu_);
    max_bytes_ = max_bytes;
  }
  return Resize(kNoBound);
}

void HeapLimit::NoteCycle(const Sizer::Cycle& cycle) {
  absl::MutexLock lock(&mu_);
  sizer_.NoteCycle(cycle);
}

absl::Status HeapLimit::ResizeAfterCycle() { return Resize(kMostPagedOutByCycle); }

absl::Status HeapLimit::ResizeAtTick(Bytes allocated) {
  const double pressure = options_.yield_to_pressure ? system_.MemoryPressure() : 0;
  {
    absl::MutexLock lock(&mu_);
    sizer_.NoteTick(allocated, pressure, platform::MonotonicNanos());
  }
  return Resize(kNoBound);
}

absl::Status HeapLimit::Resize(Bytes most_paged_out) {
  ReadMemoryLimit();
  const Bytes excess = std::min(Set(), most_paged_out);
  if (excess <= Bytes(0)) return absl::OkStatus();
  const absl::Status status = spaces_.copy().PageOutNow(RoundUp(excess, copyspace::kBlockSize));
  Set();
  return status;
}

Bytes HeapLimit::Set() {
  absl::MutexLock lock(&mu_);
  const Bytes most = MostLocked();
  const Bytes wanted = sizer_.Limit(most);
  const Bytes in_use = spaces_.ledger().used() + spaces_.OverdraftFor(wanted);
  spaces_.SetLimit(std::min(std::max(wanted, in_use), most), most);
  return in_use - wanted;
}

Bytes HeapLimit::MostLocked() const {
  if (options_.memory_limit_share == 0) return max_bytes_;
  const Bytes left = std::max(memory_limit_ - external_.bytes(), memory_limit_ / kLeastOfShare);
  return std::max(std::min(max_bytes_, left), kLeast);
}

// The files are read without the lock, for which mutators wait.
void HeapLimit::ReadMemoryLimit() {
  {
    absl::MutexLock lock(&mu_);
    const int64_t now = platform::MonotonicNanos();
    if (memory_limit_read_at_ != 0 && now - memory_limit_read_at_ < kMemoryLimitStaysNanos) return;
    memory_limit_read_at_ = now;
  }
  const double limit = static_cast<double>(system_.MemoryLimit().count());
  absl::MutexLock lock(&mu_);
  memory_limit_ = Bytes(static_cast<int64_t>(options_.memory_limit_share * limit));
}

bool HeapLimit::Raise(Bytes wanted, Bytes seen) {
  absl::MutexLock lock(&mu_);
  return RaiseUpTo(MostLocked(), wanted, seen);
}

bool HeapLimit::RaiseRatherThanWait(Bytes wanted, Bytes seen) {
  absl::MutexLock lock(&mu_);
  if (sizer_.under_pressure()) return false;
  const Bytes most = MostLocked();
  const Bytes by_policy = sizer_.Limit(most);
  return RaiseUpTo(std::min(by_policy + by_policy / 2 + wanted, most), wanted, seen);
}

bool HeapLimit::RaiseUpTo(Bytes most, Bytes wanted, Bytes seen) {
  const Bytes limit = spaces_.ledger().limit();
  if (limit > seen) return true;
  if (limit >= most || wanted > most) return false;
  const Bytes raised = limit + std::max({wanted, limit / 8, kLeastRaise});
  spaces_.SetLimit(std::min(raised, most), MostLocked());
  ++raises_;
  return true;
}

int64_t HeapLimit::raises() const {
  absl::MutexLock lock(&mu_);
  return raises_;
}

void HeapLimit::NoteDry(int64_t cycles, Bytes allocated) {
  absl::MutexLock lock(&mu_);
  sizer_.NoteDry(cycles, allocated, spaces_.copy().room().for_mutators);
}

bool HeapLimit::CollectsTooMuch(Bytes wanted) {
  absl::MutexLock lock(&mu_);
  return sizer_.CollectsTooMuch() && !RaiseUpTo(MostLocked(), wanted, spaces_.ledger().limit());
}

void HeapLimit::AtFork(platform::ForkStep step) { platform::LockAcrossFork(mu_, step); }

}  // namespace ebb::internal
