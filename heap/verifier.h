// Verifier: checks a heap by a plain walk of its own, which shares with the tracer only what types
// say (heap/type_info.h). While mutators are stopped and no allocator is open.
// Design: docs/design/heap.md#verify

#ifndef EBB_HEAP_VERIFIER_H_
#define EBB_HEAP_VERIFIER_H_

#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "copyspace/block.h"
#include "copyspace/geometry.h"
#include "heap/remembered_set.h"
#include "heap/spaces.h"
#include "heap/type_info.h"

namespace ebb::internal {

class Verifier {
 public:
  // `remembered`: null without generations.
  Verifier(Spaces& spaces, RememberedSet* remembered) : spaces_(spaces), remembered_(remembered) {}

  void AddRoot(copyspace::Reference object) { roots_.push_back(object); }

  // Internal, with the first fault: every layer's own invariants; that regions parse
  // (inv.region-parsable); that every reference that a root leads to names an object of this heap,
  // in the region where it may be (inv.tospace), with an intact header (inv.type-magic,
  // inv.object-size); that every edge from an old to a young object is remembered (inv.remembered).
  absl::Status Check();

 private:
  absl::Status CheckRegions();
  absl::Status CheckRegion(const copyspace::Block& block, int region);
  absl::Status CheckReference(copyspace::Reference from, uintptr_t edge,
                              copyspace::Reference object);
  absl::Status Scan(copyspace::Reference object);
  bool IsRemembered(uintptr_t edge) const;
  absl::Status FaultAt(copyspace::Reference from, uintptr_t edge, copyspace::Reference object,
                       absl::string_view fault) const;

  Spaces& spaces_;
  RememberedSet* const remembered_;
  std::vector<copyspace::Reference> roots_;
  // Objects in active and retained regions, and whether a root leads there.
  absl::flat_hash_map<copyspace::Reference, bool> in_regions_;
  absl::flat_hash_map<copyspace::Reference, bool> in_place_;  // pinned and large, once met
  std::vector<copyspace::Reference> grey_;
  absl::flat_hash_set<uintptr_t> logged_;  // edges
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_VERIFIER_H_
