#include "platform/address_range.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "platform/bytes.h"

namespace ebb::platform {
namespace {

TEST(AddressRangeTest, ContainsIsHalfOpen) {
  constexpr AddressRange kRange{.begin = 0x1000, .size = KiB(4)};
  static_assert(kRange.end() == 0x2000);
  EXPECT_TRUE(kRange.Contains(0x1000));
  EXPECT_TRUE(kRange.Contains(0x1fff));
  EXPECT_FALSE(kRange.Contains(0x2000));
  EXPECT_FALSE(kRange.Contains(0xfff));
  EXPECT_FALSE(kRange.Contains(0));
  EXPECT_FALSE(kRange.Contains(std::numeric_limits<uintptr_t>::max()));
}

TEST(AddressRangeTest, EmptyContainsNothing) {
  constexpr AddressRange kEmpty{.begin = 0x1000, .size = Bytes(0)};
  EXPECT_FALSE(kEmpty.Contains(0x1000));
  EXPECT_EQ(AddressRange(), (AddressRange{.begin = 0, .size = Bytes(0)}));
}

TEST(AddressRangeTest, Text) {
  EXPECT_EQ(absl::StrCat(AddressRange{.begin = 0x1000, .size = KiB(4)}), "[0x1000, 0x2000)");
}

}  // namespace
}  // namespace ebb::platform
