#include "heap/evacuator.h"

#include "heap/align.h"

namespace ebb::internal {

uintptr_t Evacuator::AllocateSlow(copyspace::Reference from, const TypeInfo& type,
                                  size_t bytes) noexcept {
  if (failures_.Next(from)) return 0;
  for (;;) {
    if (uintptr_t header = AllocateAligned(allocator_, bytes, type.align16); header != 0) {
      return header;
    }
    if (!allocator_.Refill(space_, copyspace::AcquirePurpose::kEvacuation,
                           bytes + AlignmentPadding(type.align16))) {
      return 0;
    }
  }
}

}  // namespace ebb::internal
