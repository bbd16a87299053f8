// StoppedHeap: the roots of a heap that is stopped, for who traces it on his own account.

#ifndef EBB_HEAP_STOPPED_HEAP_H_
#define EBB_HEAP_STOPPED_HEAP_H_

#include <atomic>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

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

// A set of objects: a bit for each word of the 64 KiB spans that any of them are in.
class ObjectSet {
 public:
  // Whether it was not in the set. May throw std::bad_alloc.
  bool Insert(uintptr_t object) {
    Span& span = spans_[object / kSpan];
    const size_t bit = object % kSpan / 8;
    if (span.test(bit)) return false;
    span.set(bit);
    return true;
  }
  bool Contains(uintptr_t object) const {
    const auto span = spans_.find(object / kSpan);
    return span != spans_.end() && span->second.test(object % kSpan / 8);
  }

 private:
  static constexpr uintptr_t kSpan = uintptr_t{64} << 10;
  using Span = std::bitset<kSpan / 8>;

  // Not Abseil's: that does not survive an allocation that throws.
  std::unordered_map<uintptr_t, Span> spans_;
};

// What is reached from objects that are added, by references of the heap's own. In such a pause.
// 1/64 of the memory that they are in, and a list; may throw std::bad_alloc.
class Reachability {
 public:
  // `object` may be null.
  void Add(uintptr_t object) {
    if (object != 0 && reached_.Insert(object)) grey_.push_back(object);
  }
  // As if it had been reached, and had no references.
  void AddAlone(uintptr_t object) { reached_.Insert(object); }
  bool IsReached(uintptr_t object) const { return reached_.Contains(object); }
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
  ObjectSet reached_;
  std::vector<uintptr_t> grey_;
};

}  // namespace internal
}  // namespace ebb

#endif  // EBB_HEAP_STOPPED_HEAP_H_
