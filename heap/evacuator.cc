#include "heap/evacuator.h"

#include "heap/align.h"
#include "heap/freezer.h"

namespace ebb::internal {

uintptr_t Evacuator::AllocateSlow(copyspace::Reference from, const TypeInfo& type,
                                  size_t bytes) noexcept {
  Freezer* const freezer = rules_.freezer();
  if (rules_.IsToFail(from)) {
    if (freezer != nullptr) freezer->NoteLeft(bytes);
    return 0;
  }
  if (freezer != nullptr) {
    if (const uintptr_t header = freezer->Allocate(bytes, type.align16); header != 0) return header;
  }
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
