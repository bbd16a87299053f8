// MutatorForwarder: a mutator's part in a concurrent cycle: it forwards what its load barrier
// meets, and its own roots, and hands over what turned grey by that. Design:
// docs/design/concurrent.md

#ifndef EBB_HEAP_MUTATOR_FORWARDER_H_
#define EBB_HEAP_MUTATOR_FORWARDER_H_

#include <atomic>
#include <cstdint>
#include <utility>

#include "copyspace/geometry.h"
#include "heap/evacuator.h"
#include "heap/shared_greys.h"
#include "heap/spaces.h"
#include "heap/weak_reads.h"

namespace ebb::internal {

// For its mutator's thread; or, while that is stopped or blocked, for the thread that runs the
// cycle.
class MutatorForwarder {
 public:
  MutatorForwarder(Spaces& spaces, SharedGreys& shared, EvacuationRules& rules,
                   WeakReads& weak_reads)
      : spaces_(spaces),
        shared_(shared),
        weak_reads_(weak_reads),
        evacuator_(spaces.copy(), rules) {}
  MutatorForwarder(const MutatorForwarder&) = delete;
  MutatorForwarder& operator=(const MutatorForwarder&) = delete;

  // The to-space reference of the object, which is evacuated or marked if it has not been.
  copyspace::Reference Forward(copyspace::Reference reference);
  // As LoadBarrier::Forward, for a reference into this heap.
  uintptr_t ForwardLoaded(std::atomic<uintptr_t>& slot, uintptr_t bits);
  // As LoadBarrier::ForwardWeak, likewise.
  uintptr_t ForwardLoadedWeak(std::atomic<uintptr_t>& slot, uintptr_t bits);

  // Leaves what is grey to the workers.
  void HandOver() {
    waiting_ = 0;
    shared_.Add(std::exchange(greys_, GreyChain()));
  }
  // Before the mutator takes a worker's objects to scan them: as if it had found them grey itself.
  void NoteAssist() { found_grey_ = true; }
  // Whether anything has turned grey by this mutator's doing since the last call.
  bool TakeFoundGrey() { return std::exchange(found_grey_, false); }

  // When the barrier is disarmed, or allocators are closed: gives the evacuator's region back and
  // hands over the counts.
  EvacuationCounts Finish() { return evacuator_.Finish(); }

 private:
  // Copies that may wait to be handed over.
  static constexpr int kMostWaiting = 64;

  static void Heal(std::atomic<uintptr_t>& slot, uintptr_t bits, copyspace::Reference to);
  void NoteGrey(copyspace::Reference object, const TypeInfo& type, copyspace::Reference original);

  Spaces& spaces_;
  SharedGreys& shared_;
  WeakReads& weak_reads_;
  Evacuator evacuator_;
  GreyChain greys_;
  int waiting_ = 0;
  bool found_grey_ = false;
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_MUTATOR_FORWARDER_H_
