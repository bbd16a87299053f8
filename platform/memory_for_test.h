// What the kernel makes of memory, for tests: which pages are resident, and whether huge pages put
// back what has been given back.

#ifndef EBB_PLATFORM_MEMORY_FOR_TEST_H_
#define EBB_PLATFORM_MEMORY_FOR_TEST_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "platform/address_range.h"
#include "platform/bytes.h"

namespace ebb::platform {

// How much of `range`, which is page-aligned and committed, is resident. O(pages).
absl::StatusOr<Bytes> ResidentIn(AddressRange range);

// The VmFlags of the mapping that `address` is in, as /proc/self/smaps has them, with a blank on
// either side: " rd wr mr mw me nh ".
absl::StatusOr<std::string> MappingFlags(uintptr_t address);

// Has the kernel put huge pages into the aligned 2 MiB runs of `range` at once, where something of
// them is resident, as khugepaged would in its own time (MADV_COLLAPSE). Needs no privilege, and
// works whatever the machine's setting is. Not OK where the advice, or the kernel, does not allow
// it; then some runs may have been done.
absl::Status CollapseNow(AddressRange range);

// Has khugepaged hurry until the end of the scope. Needs the right to write to /sys. The setting
// stays changed if the process is killed.
class KhugepagedInAHurry {
 public:
  // FailedPrecondition if the machine has huge pages switched off.
  static absl::StatusOr<std::unique_ptr<KhugepagedInAHurry>> Start();
  ~KhugepagedInAHurry();
  KhugepagedInAHurry(const KhugepagedInAHurry&) = delete;
  KhugepagedInAHurry& operator=(const KhugepagedInAHurry&) = delete;

 private:
  explicit KhugepagedInAHurry(std::string before) : before_(std::move(before)) {}

  const std::string before_;
};

}  // namespace ebb::platform

#endif  // EBB_PLATFORM_MEMORY_FOR_TEST_H_
