#include "background/worker_pools.h"

#include <utility>

namespace ebb::background {

using platform::ForkStep;
using platform::LockAcrossFork;

WorkerPools& WorkerPools::Get() {
  static WorkerPools& pools = *new WorkerPools;
  return pools;
}

std::shared_ptr<WorkerPool> WorkerPools::Share(platform::System& system, int niceness, int helpers,
                                               absl::string_view thread_name) {
  std::shared_ptr<WorkerPool> pool;
  {
    absl::MutexLock lock(&mu_);
    // One whose last owner has gone may still be joining its threads: it is nobody's any more.
    std::erase_if(pools_, [](const Shared& shared) { return shared.pool.expired(); });
    for (const Shared& shared : pools_) {
      if (shared.system != &system || shared.niceness != niceness) continue;
      pool = shared.pool.lock();  // null if the last owner has gone just now
      if (pool != nullptr) break;
    }
    if (pool == nullptr) {
      pool = std::make_shared<WorkerPool>(system, helpers, thread_name);
      pools_.push_back({.system = &system, .niceness = niceness, .pool = pool});
      return pool;
    }
  }
  pool->RaiseMaximum(helpers);
  return pool;
}

void WorkerPools::AtFork(ForkStep step) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (step == ForkStep::kBefore) {
    LockAcrossFork(mu_, step);
    for (const Shared& shared : pools_) {
      if (auto pool = shared.pool.lock(); pool != nullptr) at_fork_.push_back(std::move(pool));
    }
  }
  for (const auto& pool : at_fork_) pool->AtFork(step);
  if (step == ForkStep::kBefore) return;
  std::vector<std::shared_ptr<WorkerPool>> may_end = std::move(at_fork_);
  at_fork_.clear();
  LockAcrossFork(mu_, step);
  // Now may_end does, without mu_.
}

}  // namespace ebb::background
