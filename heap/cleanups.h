// Cleanups: what is to be called when objects have been found unreachable. Design:
// docs/design/weak.md#cleanups

#ifndef EBB_HEAP_CLEANUPS_H_
#define EBB_HEAP_CLEANUPS_H_

#include <cstdint>
#include <list>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "heap/root_table.h"
#include "platform/fork.h"

namespace ebb::internal {

// Thread-safe; functions are called without a lock.
class Cleanups {
 public:
  using Function = absl::AnyInvocable<void() &&>;

  explicit Cleanups(RootTable& weak_roots) : weak_roots_(weak_roots) {}
  Cleanups(const Cleanups&) = delete;
  Cleanups& operator=(const Cleanups&) = delete;

  // By a thread that is attached: `object` may be used until the next safepoint. O(1).
  void Add(uintptr_t object, Function function) ABSL_LOCKS_EXCLUDED(mu_);
  // Calls the functions of objects that have been collected; how many. An exception of one is
  // logged. O(all that wait). Needs no memory.
  int64_t RunDue() ABSL_LOCKS_EXCLUDED(mu_);
  // The same for all that are left, whether or not their objects have been collected.
  void RunAll() ABSL_LOCKS_EXCLUDED(mu_);

  int64_t waiting() const ABSL_LOCKS_EXCLUDED(mu_);

  void AtFork(platform::ForkStep step) { platform::LockAcrossFork(mu_, step); }

 private:
  struct Entry {
    RootHandle object;  // weak
    Function function;
  };
  static void Run(std::list<Entry> due);

  RootTable& weak_roots_;
  mutable absl::Mutex mu_;
  std::list<Entry> entries_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_CLEANUPS_H_
