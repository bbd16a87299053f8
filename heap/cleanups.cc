#include "heap/cleanups.h"

#include <exception>
#include <utility>

#include "absl/log/log.h"

namespace ebb::internal {

void Cleanups::Add(uintptr_t object, Function function) {
  std::list<Entry> entry;
  entry.push_back({RootHandle(weak_roots_), std::move(function)});
  entry.back().object.StoreWeak(object);
  absl::MutexLock lock(&mu_);
  entries_.splice(entries_.end(), entry);
}

// A slot that nobody stores to becomes null once: when a cycle has found the object unreachable.
int64_t Cleanups::RunDue() {
  std::list<Entry> due;
  {
    absl::MutexLock lock(&mu_);
    for (auto it = entries_.begin(); it != entries_.end();) {
      const auto entry = it++;
      if (entry->object.is_null()) due.splice(due.end(), entries_, entry);
    }
  }
  const auto count = static_cast<int64_t>(due.size());
  Run(std::move(due));
  return count;
}

void Cleanups::RunAll() {
  std::list<Entry> all;
  {
    absl::MutexLock lock(&mu_);
    all.swap(entries_);
  }
  Run(std::move(all));
}

void Cleanups::Run(std::list<Entry> due) {
  for (Entry& entry : due) {
    try {
      std::move(entry.function)();
    } catch (const std::exception& e) {
      LOG(ERROR) << "the cleanup of an object threw: " << e.what();
    } catch (...) {
      LOG(ERROR) << "the cleanup of an object threw";
    }
  }
}

int64_t Cleanups::waiting() const {
  absl::MutexLock lock(&mu_);
  return static_cast<int64_t>(entries_.size());
}

}  // namespace ebb::internal
