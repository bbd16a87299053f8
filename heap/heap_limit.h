// HeapLimit: the limit of a heap's ledger, as it moves: what the Sizer wants, within the hard
// maximum. Design: docs/design/sizing.md

#ifndef EBB_HEAP_HEAP_LIMIT_H_
#define EBB_HEAP_HEAP_LIMIT_H_

#include <cstdint>
#include <limits>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "heap/external_memory.h"
#include "heap/options.h"
#include "heap/sizer.h"
#include "heap/spaces.h"
#include "platform/bytes.h"
#include "platform/fork.h"
#include "platform/system.h"

namespace ebb::internal {

// Thread-safe. Amounts that are `allocated`: by mutators, ever; where they set a rate, what objects
// hold outside of the heap included.
class HeapLimit {
 public:
  // `options` are resolved, and outlive it, as does `external`. Sets the limit.
  HeapLimit(Spaces& spaces, const ExternalMemory& external, platform::System& system,
            const Options& options);
  HeapLimit(const HeapLimit&) = delete;
  HeapLimit& operator=(const HeapLimit&) = delete;

  static constexpr platform::Bytes kLeast = platform::MiB(1);

  // The hard maximum: what SetMaxBytes said, or what the process's memory limit and what objects
  // hold outside leave the heap.
  platform::Bytes most() const ABSL_LOCKS_EXCLUDED(mu_);
  platform::Bytes max_bytes() const ABSL_LOCKS_EXCLUDED(mu_);
  // At least kLeast. The Status: as of Resize.
  absl::Status SetMaxBytes(platform::Bytes max_bytes) ABSL_LOCKS_EXCLUDED(mu_);

  // In the pause, or by the thread that runs the cycle.
  void NoteCycle(const Sizer::Cycle& cycle) ABSL_LOCKS_EXCLUDED(mu_);
  // After a cycle, outside of its pause: the limit becomes what is wanted, and empty blocks are
  // given back as far as that needs it, some at a time. Errors: what the system refused; nothing is
  // lost.
  absl::Status ResizeAfterCycle() ABSL_LOCKS_EXCLUDED(mu_);
  // The background's tick: the same, with all that is to be given back.
  absl::Status ResizeAtTick(platform::Bytes allocated) ABSL_LOCKS_EXCLUDED(mu_);

  // Raises a limit that only a policy has set, by `wanted` at least, unless another thread has
  // raised it above what was `seen`. False if it is the hard maximum, or would not help.
  bool Raise(platform::Bytes wanted, platform::Bytes seen) ABSL_LOCKS_EXCLUDED(mu_);
  // The same, to half as much again as the policy says: a program that allocates faster than cycles
  // run must wait for them some time. Nor where memory is short.
  bool RaiseRatherThanWait(platform::Bytes wanted, platform::Bytes seen) ABSL_LOCKS_EXCLUDED(mu_);
  int64_t raises() const ABSL_LOCKS_EXCLUDED(mu_);

  // An allocation found room, but only by the `cycles`th cycle.
  void NoteDry(int64_t cycles, platform::Bytes allocated) ABSL_LOCKS_EXCLUDED(mu_);
  // Whether that has happened too often, and no limit can be raised.
  bool CollectsTooMuch(platform::Bytes wanted) ABSL_LOCKS_EXCLUDED(mu_);

  void AtFork(platform::ForkStep step);

 private:
  static constexpr platform::Bytes kNoBound{std::numeric_limits<int64_t>::max()};

  platform::Bytes MostLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Unless that was done a moment ago.
  void ReadMemoryLimit() ABSL_LOCKS_EXCLUDED(mu_);
  // The limit becomes what the sizer wants. Lower than what is in use and the overdraft need: as
  // low as it can be, and no lower than the hard maximum. Returns the bytes that are missing.
  platform::Bytes Set() ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Resize(platform::Bytes most_paged_out) ABSL_LOCKS_EXCLUDED(mu_);
  bool RaiseUpTo(platform::Bytes most, platform::Bytes wanted, platform::Bytes seen)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Spaces& spaces_;
  const ExternalMemory& external_;
  platform::System& system_;
  const Options& options_;

  mutable absl::Mutex mu_;
  Sizer sizer_ ABSL_GUARDED_BY(mu_);
  platform::Bytes max_bytes_ ABSL_GUARDED_BY(mu_);
  platform::Bytes memory_limit_ ABSL_GUARDED_BY(mu_);  // the heap's share of it
  int64_t memory_limit_read_at_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t raises_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_HEAP_LIMIT_H_
