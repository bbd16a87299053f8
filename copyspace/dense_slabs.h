// DenseSlabs: which slabs of a space are advised to have huge pages. A part of CopySpace, under its
// releaser's lock.
// Design: docs/design/giving_back.md#huge-pages

#ifndef EBB_COPYSPACE_DENSE_SLABS_H_
#define EBB_COPYSPACE_DENSE_SLABS_H_

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "copyspace/geometry.h"
#include "platform/system.h"

namespace ebb::copyspace {

// Establishes inv.dense-slabs. The advice changes for whole slabs, so that it costs two kernel
// mappings for each at most.
class DenseSlabs {
 public:
  // All slabs of `range` have been advised to have huge pages.
  DenseSlabs(platform::System& system, AddressRange range);

  // Before the pages of `ranges` are given back: where these are less than whole runs, huge pages
  // are advised against in their slabs. What the system refuses is tried at the next time.
  // `flips`: of the space, so far. O(n log n).
  void BeforeDiscard(absl::Span<const AddressRange> ranges, int64_t flips);

  // After a flip: huge pages are advised again in slabs that lost them before that, and for which
  // `is_dense`, by index, holds. O(slabs), and a system call for each of these.
  void AdviseAgain(int64_t flips, absl::FunctionRef<bool(int64_t slab)> is_dense);

 private:
  // Whether the system agreed.
  bool Advise(int64_t slab, platform::HugePageAdvice advice);

  static constexpr int64_t kDense = -1;

  platform::System& system_;
  const AddressRange range_;
  std::vector<int64_t> thinned_at_;  // by slab: the number of flips at that time, or kDense
};

}  // namespace ebb::copyspace

#endif  // EBB_COPYSPACE_DENSE_SLABS_H_
