// StoppedHeap: the roots of a heap that is stopped, for who traces it on his own account.

#ifndef EBB_HEAP_STOPPED_HEAP_H_
#define EBB_HEAP_STOPPED_HEAP_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "heap/region_walk.h"
#include "heap/root_table.h"

namespace ebb {

class Mutator;

namespace internal {

// In a pause, while no cycle is under way: nothing is in from-space. See Heap::RunBetweenCycles.
class StoppedHeap {
 public:
  using Visit = absl::FunctionRef<void(std::atomic<uintptr_t>& slot)>;

  StoppedHeap(const std::vector<Mutator*>& mutators, RootTable& roots, RootTable& weak_roots)
      : mutators_(mutators), roots_(roots), weak_roots_(weak_roots) {}

  // Of Locals and Persistents; of Weaks and cleanups.
  void ForEachRoot(Visit visit) const;
  void ForEachWeak(Visit visit) const { RootTable::Scan(weak_roots_).Visit(visit); }

 private:
  const std::vector<Mutator*>& mutators_;
  RootTable& roots_;
  RootTable& weak_roots_;
};

// What is reached from objects that are added, by references of the heap's own. In such a pause.
// 9 to 18 bytes an object; may throw std::bad_alloc.
class Reachability {
 public:
  // `object` may be null.
  void Add(uintptr_t object) {
    if (object != 0 && reached_.insert(object).second) grey_.push_back(object);
  }
  // As if it had been reached, and had no references.
  void AddAlone(uintptr_t object) { reached_.insert(object); }
  bool IsReached(uintptr_t object) const { return reached_.contains(object); }
  // f(object) for each that is reached from what was added, and has not been passed to one yet. f
  // may add more.
  template <typename F>
  void Trace(F f) {
    while (!grey_.empty()) {
      const uintptr_t object = grey_.back();
      grey_.pop_back();
      ForEachReferenceOf(TypeOf(object), object, [this](uintptr_t edge) {
        Add(*reinterpret_cast<const uintptr_t*>(edge));
      });
      f(object);
    }
  }

 private:
  absl::flat_hash_set<uintptr_t> reached_;
  std::vector<uintptr_t> grey_;
};

}  // namespace internal
}  // namespace ebb

#endif  // EBB_HEAP_STOPPED_HEAP_H_
