#include "platform/system_error.h"

#include <cerrno>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "platform/address_range.h"
#include "platform/bytes.h"

namespace ebb::platform {
namespace {

TEST(SystemErrorTest, SaysWhatWasTriedAndWhy) {
  const absl::Status status = SystemError(EPERM, "open the door");
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(status.message(), "cannot open the door: Operation not permitted");
}

TEST(SystemErrorTest, EagainIsALimit) {
  EXPECT_EQ(SystemError(EAGAIN, "x").code(), absl::StatusCode::kResourceExhausted);
}

TEST(SystemErrorTest, MemoryErrorCarriesAddressSizeAndPurpose) {
  const AddressRange range{.begin = 0x10000, .size = KiB(64)};
  const absl::Status status = MemoryError(EINVAL, "commit", range, "slab 3");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "cannot commit 64.0 KiB (65536 bytes) at [0x10000, 0x20000) for slab 3: "
            "Invalid argument");
}

TEST(SystemErrorTest, ShortMemoryNamesTheLimits) {
  const absl::Status status = MemoryError(ENOMEM, "commit", {}, "slab 3");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(absl::StrContains(status.message(), "vm.max_map_count")) << status;
  EXPECT_TRUE(absl::EndsWith(status.message(), ": Cannot allocate memory")) << status;
}

}  // namespace
}  // namespace ebb::platform
