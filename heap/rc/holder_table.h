// HolderTable: a domain's holders, which are traced objects that hold counted references.
// Design: docs/design/mixed.md

#ifndef EBB_HEAP_RC_HOLDER_TABLE_H_
#define EBB_HEAP_RC_HOLDER_TABLE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "heap/death_watch.h"
#include "heap/heap.h"
#include "heap/rc/cell.h"
#include "heap/rc/cell_table.h"
#include "platform/fork.h"

namespace ebb::rc::internal {

struct CountedType;

// inv.holder: a holder that has been made and not been found dead is in the table of its domain;
// and what the Fields of one refer to that has been found dead is in dropped_, until it is counted
// down. Thread-safe.
class HolderTable final : private ebb::internal::DeathWatch {
 public:
  HolderTable(Heap& heap, CellTable& table);
  ~HolderTable();
  HolderTable(const HolderTable&) = delete;
  HolderTable& operator=(const HolderTable&) = delete;

  // A holder, which is alive until the caller's next safepoint. With room for what it may hold, so
  // that its death needs no memory: may throw std::bad_alloc. O(1).
  void Add(uintptr_t object) ABSL_LOCKS_EXCLUDED(mu_);
  int64_t size() const ABSL_LOCKS_EXCLUDED(mu_);

  // Counts down what dead holders held, at most so many references. By a thread with an Owner.
  void ReleaseDropped(int64_t most) ABSL_LOCKS_EXCLUDED(mu_);

  // In a pause between cycles, all of these. Calls f(type, object) for each holder.
  void ForEach(absl::FunctionRef<void(const CountedType& type, uintptr_t object)> f)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Room for EmptyIf; may throw std::bad_alloc.
  void MakeRoomToEmpty() ABSL_LOCKS_EXCLUDED(mu_);
  // The Fields of holders that are garbage become null. What they refer to is counted down later,
  // unless it is condemned. How many holders had any.
  int64_t EmptyIf(absl::FunctionRef<bool(uintptr_t object)> is_garbage,
                  absl::FunctionRef<bool(const Cell& target)> is_condemned)
      ABSL_LOCKS_EXCLUDED(mu_);

  void AtFork(platform::ForkStep step) { platform::LockAcrossFork(mu_, step); }

 private:
  void AfterTrace(SurvivorOf survivor_of) override ABSL_LOCKS_EXCLUDED(mu_);
  void AfterMinorCycle(SurvivorOf survivor_of, absl::FunctionRef<bool(uintptr_t)> is_young) override
      ABSL_LOCKS_EXCLUDED(mu_);
  // Replaces each of `holders` by now(it), from the last to the first; what is 0 is buried.
  void Replace(std::vector<uintptr_t> HolderTable::* holders, SurvivorOf now)
      ABSL_LOCKS_EXCLUDED(mu_);
  // It is dead, and its memory is as it was.
  void Bury(uintptr_t object) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Heap& heap_;
  CellTable& table_;
  mutable absl::Mutex mu_;
  // Those that may be in the nursery, and others, for which there is room for all.
  std::vector<uintptr_t> recent_ ABSL_GUARDED_BY(mu_);
  std::vector<uintptr_t> old_ ABSL_GUARDED_BY(mu_);
  size_t fields_ ABSL_GUARDED_BY(mu_) = 0;  // of all
  // One reference each; room for fields_ more.
  std::vector<Cell*> dropped_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ebb::rc::internal

#endif  // EBB_HEAP_RC_HOLDER_TABLE_H_
