// CopySpaceDriver: runs one operation after another on a copy space, chosen by whoever calls, with
// a naive model beside it that knows every object. For the model test, the fuzz target and the
// failure test.

#ifndef EBB_COPYSPACE_COPY_SPACE_DRIVER_H_
#define EBB_COPYSPACE_COPY_SPACE_DRIVER_H_

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "copyspace/bump_allocator.h"
#include "copyspace/copy_space.h"
#include "copyspace/geometry.h"
#include "copyspace/space_for_test.h"

namespace ebb::copyspace {

class CopySpaceDriver {
 public:
  // A number below `bound`.
  using Draw = absl::FunctionRef<uint32_t(uint32_t bound)>;

  CopySpaceDriver(Bytes limit, const CopySpace::Options& options);
  ~CopySpaceDriver();

  // One operation; an error if the space did what it must not.
  absl::Status Step(Draw draw);
  // Closes all allocators and compares the space with the model, bytes and all.
  absl::Status Verify();

  platform::FakeSystem& system() { return space_.system(); }
  int64_t collections() const { return collections_; }
  // Of these, the ones that did not end in a pause.
  int64_t concurrent_finishes() const { return concurrent_finishes_; }
  int64_t retained_objects() const { return retained_objects_; }
  // Operations that reported an error of the system.
  int64_t reported_errors() const { return reported_errors_; }

 private:
  // Header word: the size, as the type. Payload: words made of the identity and their index.
  struct Object {
    Reference reference;
    uint32_t size;
    uint64_t identity;
  };

  absl::Status Allocate(BumpAllocator& allocator, Draw draw);
  // The memory for an object, checked against the model; 0 if there is none.
  absl::StatusOr<uintptr_t> TakeMemory(BumpAllocator& allocator, AcquirePurpose purpose,
                                       uint32_t size);
  absl::Status CheckMemory(const BumpAllocator& allocator, uintptr_t memory, uint32_t size);
  void Drop(Draw draw);
  absl::Status Collect(Draw draw);
  absl::Status Evacuate(Object& object, Draw draw);
  absl::Status AllowAccess();
  absl::Status CheckObject(const Object& object) const;
  absl::Status Remember(Draw draw);
  void Report(const absl::Status& status);
  void CloseAll();

  const CopySpace::Options options_;
  SpaceForTest space_;
  std::array<BumpAllocator, 3> allocators_;
  std::vector<Object> live_;
  // Bytes of objects, dead ones too, by the begin of the region they are in.
  std::map<uintptr_t, uint32_t> regions_;
  // Blocks that hold retained objects: nothing may be allocated there.
  std::set<const Block*> retained_blocks_;
  // During a cycle.
  std::set<uintptr_t> failed_regions_;

  uint64_t next_identity_ = 1;
  int64_t collections_ = 0;
  int64_t concurrent_finishes_ = 0;
  int64_t retained_objects_ = 0;
  int64_t reported_errors_ = 0;
};

}  // namespace ebb::copyspace

#endif  // EBB_COPYSPACE_COPY_SPACE_DRIVER_H_
