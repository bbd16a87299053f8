// MinorCycle: a collection of the nursery alone, in a pause. When to run one, and which, is decided
// elsewhere (heap/generations.h). Design: docs/design/generations.md

#ifndef EBB_HEAP_MINOR_CYCLE_H_
#define EBB_HEAP_MINOR_CYCLE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "copyspace/bump_allocator.h"
#include "copyspace/copy_space.h"
#include "copyspace/geometry.h"
#include "copyspace/mutators_stopped.h"
#include "heap/death_watch.h"
#include "heap/evacuator.h"
#include "heap/remembered_set.h"
#include "heap/root_table.h"
#include "heap/shared_greys.h"
#include "heap/spaces.h"
#include "heap/type_info.h"
#include "platform/bytes.h"

namespace ebb {
class Mutator;
}  // namespace ebb

namespace ebb::internal {

struct MinorCounts {
  int64_t evacuated_bytes = 0;
  int64_t promoted_bytes = 0;    // of these
  int64_t retained_objects = 0;  // evacuations that found no memory
  int64_t left_bytes = 0;        // as of Balance::AddLeft

  MinorCounts& operator+=(const MinorCounts& other) {
    evacuated_bytes += other.evacuated_bytes;
    promoted_bytes += other.promoted_bytes;
    retained_objects += other.retained_objects;
    left_bytes += other.left_bytes;
    return *this;
  }
};

// Kept from cycle to cycle; used by the thread that holds a pause, beside which workers may trace
// the copy space (see the design page). O(survivors, roots, remembered edges, and chunks of Weaks
// that have been stored to).
class MinorCycle {
 public:
  MinorCycle(Spaces& spaces, RootTable& roots, RootTable& weak_roots, DeathWatches& watches,
             RememberedSet& remembered, EvacuationRules& rules)
      : spaces_(spaces),
        nursery_(spaces.nursery()),
        roots_(roots),
        weak_roots_(weak_roots),
        watches_(watches),
        remembered_(remembered),
        rules_(rules),
        edges_(&remembered) {}
  MinorCycle(const MinorCycle&) = delete;
  MinorCycle& operator=(const MinorCycle&) = delete;

  enum class Survivors {
    kAge,      // to the nursery's other half; those of the cycle before to the copy space
    kPromote,  // all to the copy space
  };
  // Allocators are closed. What finds no room in the copy space stays in the nursery.
  MinorCounts Run(const std::vector<Mutator*>& mutators, Survivors survivors,
                  const copyspace::MutatorsStopped& stopped);

  // After a Run that was to promote everything, in the same pause: visits each object that is young
  // all the same. O(the nursery).
  void ForEachLeft(absl::FunctionRef<void(copyspace::Reference)> visit) const;
  bool anything_left() const { return nursery_.allocated_bytes() > platform::Bytes(0); }
  // In such a pause: the objects that are to be allocated next pass the load filter of a cycle that
  // has just flipped (Spaces::FilterFor), if nothing is left.
  void AlignWithCopySpace(const copyspace::MutatorsStopped& stopped);

 private:
  static constexpr size_t kStackCapacity = 4096;
  // As of Tracer: grey objects between the prefetch of their referents' headers and their scan.
  static constexpr size_t kWindow = 16;
  // As far ahead are remembered edges prefetched, which are anywhere.
  static constexpr size_t kEdgesAhead = 16;

  // What an edge is in. A root counts as young: none is remembered.
  enum class Holder { kYoung, kOld };

  void ForwardRoots(const std::vector<Mutator*>& mutators);
  void ForwardRemembered();
  template <Holder kHolder>
  void ForwardEdge(uintptr_t edge);
  copyspace::Reference Evacuate(copyspace::Reference from);
  bool MayPromote(copyspace::Reference from) const {
    return may_promote_ && (promote_all_ || nursery_.IsSurvivor(from));
  }
  // The header of memory for a copy, or 0. `noexcept` as Evacuator::AllocateSlow.
  uintptr_t AllocateSlow(copyspace::Reference from, const TypeInfo& type, size_t bytes) noexcept;
  static uintptr_t AllocateIn(copyspace::CopySpace& space, copyspace::AcquirePurpose purpose,
                              copyspace::BumpAllocator& allocator, const TypeInfo& type,
                              size_t bytes);
  void Push(copyspace::Reference object, const TypeInfo& type, copyspace::Reference original);
  bool Pop(copyspace::Reference& object);
  // Scans until nothing is grey.
  void Drain();
  void Scan(copyspace::Reference object);
  template <Holder kHolder>
  void ScanAs(copyspace::Reference object);
  void ClearWeakRoots();
  void CloseAllocators();

  Spaces& spaces_;
  copyspace::CopySpace& nursery_;
  RootTable& roots_;
  RootTable& weak_roots_;
  DeathWatches& watches_;
  RememberedSet& remembered_;
  EvacuationRules& rules_;

  copyspace::BumpAllocator survivors_;
  copyspace::BumpAllocator promoted_;
  // When the copy space has no more for mutators, nothing is promoted before the nursery is full.
  bool may_promote_ = true;
  bool promote_all_ = false;
  EdgeBuffer edges_;  // those that this cycle remembers
  // Grey objects: on the stack, and where that is full, by way of their originals.
  std::array<copyspace::Reference, kStackCapacity> stack_;
  size_t stack_size_ = 0;
  std::array<copyspace::Reference, kWindow> window_;  // a queue
  size_t window_begin_ = 0;
  size_t window_size_ = 0;
  GreyChain overflow_;
  bool rescan_ = false;  // something was retained, and had no room on the stack
  MinorCounts counts_;
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_MINOR_CYCLE_H_
