// Generations: the nursery of a heap whose collector is generational: how much of it mutators use
// between two minor cycles, and what a minor cycle and the whole ones do to each other.
// Design: docs/design/generations.md

#ifndef EBB_HEAP_GENERATIONS_H_
#define EBB_HEAP_GENERATIONS_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "copyspace/geometry.h"
#include "copyspace/mutators_stopped.h"
#include "heap/allowance.h"
#include "heap/balance.h"
#include "heap/evacuator.h"
#include "heap/minor_cycle.h"
#include "heap/options.h"
#include "heap/remembered_set.h"
#include "heap/root_table.h"
#include "heap/spaces.h"
#include "platform/bytes.h"
#include "platform/fork.h"

namespace ebb::internal {

// What says nothing else is for the thread that holds a pause.
class Generations {
 public:
  // `options` are resolved; `spaces` have a nursery.
  Generations(Spaces& spaces, RootTable& roots, RootTable& weak_roots, DeathWatches& watches,
              Balance& balance, const Options& options);

  // By mutators, any thread.
  RememberedSet& remembered() { return remembered_; }
  // Whether a mutator may have another region before the next minor cycle.
  bool TakeRegion() {
    // Relaxed: a count; the pause that sets it publishes the rest.
    return regions_left_.fetch_sub(1, std::memory_order_relaxed) > 0;
  }
  // Whether that is to be one of the nursery. If not, nothing is young. Stable between pauses.
  bool nursery_in_use() const { return bypass_regions_ == 0; }
  // Minor cycles so far, those inside whole ones included. Relaxed: a count.
  int64_t minor_cycles() const { return minor_cycles_.load(std::memory_order_relaxed); }

  // A minor cycle; allocators are closed. `beside_cycle`: a whole one has flipped and not yet
  // ended. Then everything is promoted, and barriers that are armed let the nursery pass.
  MinorCounts Collect(const std::vector<Mutator*>& mutators, bool beside_cycle,
                      const copyspace::MutatorsStopped& stopped);

  // Before the flip of a whole cycle: everything is promoted, as far as there is room. Whether
  // nothing is left in the nursery; if not, the whole cycle must take place in this pause, takes
  // what is left for roots, and begins with ForgetEdges.
  // `in_part`: as of CopySpace::EvacuateInPart.
  bool EmptyNursery(const std::vector<Mutator*>& mutators, bool in_part,
                    const copyspace::MutatorsStopped& stopped);
  void ForgetEdges();
  // After the flip: as AlignWithCopySpace.
  void NoteFlip(const copyspace::MutatorsStopped& stopped) { minor_.AlignWithCopySpace(stopped); }
  // `visit` gets the address of each reference in what is left.
  void ForEachEdgeLeft(absl::FunctionRef<void(std::atomic<uintptr_t>& slot)> visit) const;
  // At the end of such a whole cycle: remembers the edges that lead to what is left. O(heap).
  void RememberEdgesToWhatIsLeft();

  // Something could not be evacuated, and is in the way of what is new.
  bool has_retained() const { return spaces_.nursery().has_retained(); }

  // Bytes that mutators may allocate between two minor cycles, about.
  platform::Bytes allowance() const { return copyspace::kRegionSize * allowance_.regions(); }

  void AtFork(platform::ForkStep step) { remembered_.AtFork(step); }

 private:
  MinorCounts Run(const std::vector<Mutator*>& mutators, MinorCycle::Survivors survivors,
                  const copyspace::MutatorsStopped& stopped);
  // Notes what a minor cycle has copied of what was new, and whether so much survives that objects
  // had better begin in the copy space.
  bool TooMuchSurvives(platform::Bytes fresh, platform::Bytes evacuated);
  // Until so many regions have been taken from the copy space. Only with nothing young.
  void BypassNursery(int64_t regions);
  void SetRegionsLeft();

  Spaces& spaces_;
  Balance& balance_;
  const bool poison_;
  const bool may_bypass_;
  RememberedSet remembered_;
  EvacuationRules rules_;
  MinorCycle minor_;

  Allowance allowance_;
  // How many regions mutators take from the copy space before the nursery is tried again; 0 while
  // it is in use. And the last such number.
  int64_t bypass_regions_ = 0;
  int64_t last_bypass_regions_ = 0;
  platform::Bytes left_;  // in the nursery, by the last minor cycle
  // Since the nursery came into use, the older the less they count.
  int64_t trials_ = 0;
  double fresh_ = 0;
  double evacuated_ = 0;
  std::atomic<int64_t> regions_left_;
  std::atomic<int64_t> minor_cycles_ = 0;
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_GENERATIONS_H_
