#include "platform/bytes.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace ebb::platform {
namespace {

TEST(BytesTest, Units) {
  EXPECT_EQ(Bytes().count(), 0);
  EXPECT_EQ(KiB(1).count(), 1024);
  EXPECT_EQ(MiB(3), KiB(3 * 1024));
  EXPECT_EQ(GiB(8).count(), int64_t{8} << 30);
  EXPECT_EQ(KiB(2).size(), size_t{2048});
}

TEST(BytesTest, Arithmetic) {
  constexpr Bytes kAmount = MiB(5);
  static_assert(kAmount + KiB(1) - kAmount == KiB(1));
  static_assert(kAmount * 2 == 2 * kAmount);
  static_assert(kAmount / 5 == MiB(1));
  static_assert(kAmount / KiB(64) == 80, "an amount over an amount is a count");
  static_assert(Bytes(1000) % Bytes(300) == Bytes(100));
  static_assert(Bytes(1) - Bytes(3) == Bytes(-2));
  Bytes sum = kAmount;
  sum += MiB(2);
  sum -= MiB(1);
  EXPECT_EQ(sum, MiB(6));
}

TEST(BytesTest, Order) {
  EXPECT_LT(KiB(1), MiB(1));
  EXPECT_GT(Bytes(0), Bytes(-1));
  EXPECT_LE(KiB(1024), MiB(1));
}

TEST(BytesTest, RoundUp) {
  EXPECT_EQ(RoundUp(Bytes(0), KiB(4)), Bytes(0));
  EXPECT_EQ(RoundUp(Bytes(1), KiB(4)), KiB(4));
  EXPECT_EQ(RoundUp(KiB(4), KiB(4)), KiB(4));
  EXPECT_EQ(RoundUp(KiB(4) + Bytes(1), KiB(4)), KiB(8));
}

TEST(BytesTest, Text) {
  EXPECT_EQ(Bytes(0).ToString(), "0 bytes");
  EXPECT_EQ(Bytes(1023).ToString(), "1023 bytes");
  EXPECT_EQ(KiB(1).ToString(), "1.0 KiB (1024 bytes)");
  EXPECT_EQ((MiB(1) + KiB(512)).ToString(), "1.5 MiB (1572864 bytes)");
  EXPECT_EQ(GiB(2048).ToString(), "2.0 TiB (2199023255552 bytes)");
  EXPECT_EQ(MiB(-1).ToString(), "-1.0 MiB (-1048576 bytes)");
  EXPECT_EQ(absl::StrCat("got ", MiB(64)), "got 64.0 MiB (67108864 bytes)");
}

}  // namespace
}  // namespace ebb::platform
