// What the kernel makes of memory, for tests: which pages are resident, and whether huge pages put
// back what has been given back.

#ifndef EBB_PLATFORM_MEMORY_FOR_TEST_H_
#define EBB_PLATFORM_MEMORY_FOR_TEST_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
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

// Enables huge pages for all memory of the machine and has khugepaged hurry, until the end of the
// scope. Needs the right to write to /sys. The settings stay changed if the process is killed.
class KhugepagedInAHurry {
 public:
  static absl::StatusOr<std::unique_ptr<KhugepagedInAHurry>> Start();
  ~KhugepagedInAHurry();
  KhugepagedInAHurry(const KhugepagedInAHurry&) = delete;
  KhugepagedInAHurry& operator=(const KhugepagedInAHurry&) = delete;

  // Until khugepaged has looked at all memory twice, once the scan under way is over; DeadlineExceeded after `at_most`.
  absl::Status AwaitScan(absl::Duration at_most) const;

 private:
  KhugepagedInAHurry() = default;

  struct Setting {
    std::string path;
    std::string before;
  };
  std::array<Setting, 2> settings_;
};

}  // namespace ebb::platform

#endif  // EBB_PLATFORM_MEMORY_FOR_TEST_H_
