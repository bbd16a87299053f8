// WorkerPools: the WorkerPools that the heaps of this process share, so that the number of threads
// does not grow with the number of heaps. Design: docs/design/background.md#worker-pool

#ifndef EBB_BACKGROUND_WORKER_POOLS_H_
#define EBB_BACKGROUND_WORKER_POOLS_H_

#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "background/worker_pool.h"
#include "platform/fork.h"
#include "platform/system.h"

namespace ebb::background {

// Thread-safe; one for the process, never destroyed (but tests may make their own).
class WorkerPools {
 public:
  static WorkerPools& Get();

  WorkerPools() = default;
  WorkerPools(const WorkerPools&) = delete;
  WorkerPools& operator=(const WorkerPools&) = delete;

  // The pool of all who name this `system` and this `niceness`, with at least `helpers` helpers.
  // The pool sets no niceness: a helper inherits, for good, that of the thread that started it,
  // which is mostly a collector thread; hence a pool for each. One that a nicer thread, or a pause
  // of the last resort, has started is as nice as that. The last owner's thread joins the helpers:
  // it is none of them, since a helper owns nothing. `thread_name` as of WorkerPool, of the first.
  std::shared_ptr<WorkerPool> Share(platform::System& system, int niceness, int helpers,
                                    absl::string_view thread_name) ABSL_LOCKS_EXCLUDED(mu_);

  // Around a fork, of all pools that are there: see docs/design/fork.md.
  void AtFork(platform::ForkStep step);

 private:
  struct Shared {
    const platform::System* system;
    int niceness;
    std::weak_ptr<WorkerPool> pool;
  };

  // Never held while a pool ends, which waits for its threads.
  absl::Mutex mu_;
  std::vector<Shared> pools_ ABSL_GUARDED_BY(mu_);
  // Across a fork: none of those that it has locked ends meanwhile.
  std::vector<std::shared_ptr<WorkerPool>> at_fork_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ebb::background

#endif  // EBB_BACKGROUND_WORKER_POOLS_H_
