#include "platform/cgroup.h"

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "platform/bytes.h"

namespace ebb::platform {
namespace {

constexpr Bytes kNoLimit(std::numeric_limits<int64_t>::max());

// A made-up /sys/fs/cgroup and /proc/self/cgroup.
class CgroupTest : public testing::Test {
 protected:
  CgroupTest() {
    const testing::TestInfo* const test = testing::UnitTest::GetInstance()->current_test_info();
    directory_ = absl::StrCat(testing::TempDir(), "/cgroup_test.", test->name());
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }
  ~CgroupTest() override { std::filesystem::remove_all(directory_); }

  void Write(absl::string_view file, absl::string_view contents) {
    const std::filesystem::path path = absl::StrCat(directory_, "/", file);
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << contents;
  }

  Bytes Memory() {
    return CgroupMemoryLimit(absl::StrCat(directory_, "/sys"), absl::StrCat(directory_, "/self"));
  }
  double Pressure() {
    return MemoryPressure(absl::StrCat(directory_, "/sys"), absl::StrCat(directory_, "/self"),
                          absl::StrCat(directory_, "/machine"));
  }
  std::optional<double> Cpu() {
    return CgroupCpuQuota(absl::StrCat(directory_, "/sys"), absl::StrCat(directory_, "/self"));
  }

 private:
  std::string directory_;
};

TEST_F(CgroupTest, NothingThereIsNoLimit) {
  EXPECT_EQ(Memory(), kNoLimit);
  EXPECT_EQ(Cpu(), std::nullopt);
  Write("self", "0::/a\n");
  EXPECT_EQ(Memory(), kNoLimit);
  EXPECT_EQ(Cpu(), std::nullopt);
}

TEST_F(CgroupTest, V2TightestOfMaxAndHighUpTheTree) {
  Write("self", "0::/a/b/c\n");
  Write("sys/a/b/c/memory.max", "max\n");
  EXPECT_EQ(Memory(), kNoLimit);
  Write("sys/a/memory.max", "1073741824\n");
  EXPECT_EQ(Memory(), GiB(1));
  Write("sys/a/b/memory.high", "536870912\n");
  EXPECT_EQ(Memory(), MiB(512));
  Write("sys/a/b/c/memory.max", "2147483648\n");
  EXPECT_EQ(Memory(), MiB(512));
  Write("sys/memory.max", "1048576\n");
  EXPECT_EQ(Memory(), MiB(1));
  Write("sys/other/memory.max", "4096\n");  // not ours
  EXPECT_EQ(Memory(), MiB(1));
}

TEST_F(CgroupTest, V1MemoryUpTheTree) {
  Write("self", "9:name=systemd:/x\n4:memory:/a/b\n1:cpu:/\n0::/\n");
  Write("sys/memory/memory.limit_in_bytes", "9223372036854771712\n");  // what v1 calls no limit
  EXPECT_GE(Memory(), GiB(int64_t{1} << 32));
  Write("sys/memory/a/memory.limit_in_bytes", "1073741824\n");
  EXPECT_EQ(Memory(), GiB(1));
  Write("sys/memory/a/b/memory.limit_in_bytes", "2147483648\n");
  EXPECT_EQ(Memory(), GiB(1));
  Write("sys/cpu/memory.limit_in_bytes", "4096\n");  // another controller's hierarchy
  EXPECT_EQ(Memory(), GiB(1));
}

TEST_F(CgroupTest, V2BesideV1) {
  Write("self", "4:cpu:/a\n0::/b\n");
  Write("sys/unified/b/memory.max", "1048576\n");
  Write("sys/cpu/a/cpu.cfs_quota_us", "50000\n");
  Write("sys/cpu/a/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(Memory(), MiB(1));
  EXPECT_EQ(Cpu(), 0.5);
}

// The path is the host's; the container sees its own group as the root of the mount.
TEST_F(CgroupTest, PathThatDoesNotExistHere) {
  Write("self", "7:memory:/docker/0123\n3:cpu,cpuacct:/docker/0123\n");
  Write("sys/memory/memory.limit_in_bytes", "1048576\n");
  Write("sys/cpu,cpuacct/cpu.cfs_quota_us", "300000\n");
  Write("sys/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(Memory(), MiB(1));
  EXPECT_EQ(Cpu(), 3.0);
}

TEST_F(CgroupTest, PathsDoNotLeaveTheMount) {
  Write("self", "0::/../../a\n");
  Write("memory.max", "4096\n");
  Write("a/memory.max", "4096\n");
  Write("sys/a/memory.max", "1048576\n");
  EXPECT_EQ(Memory(), MiB(1));
}

TEST_F(CgroupTest, NamesMayHaveColonsAndSpaces) {
  Write("self", "0::/a:b/c d\n");
  Write("sys/a:b/c d/memory.max", "1048576\n");
  EXPECT_EQ(Memory(), MiB(1));
}

TEST_F(CgroupTest, V2QuotaTightestUpTheTree) {
  Write("self", "0::/a/b\n");
  Write("sys/a/b/cpu.max", "max 100000\n");
  EXPECT_EQ(Cpu(), std::nullopt);
  Write("sys/a/cpu.max", "150000 100000\n");
  EXPECT_EQ(Cpu(), 1.5);
  Write("sys/a/b/cpu.max", "400000 100000\n");
  EXPECT_EQ(Cpu(), 1.5);
}

TEST_F(CgroupTest, V1QuotaOfMinusOneIsNone) {
  Write("self", "1:cpu:/\n");
  Write("sys/cpu/cpu.cfs_quota_us", "-1\n");
  Write("sys/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(Cpu(), std::nullopt);
}

TEST_F(CgroupTest, GarbageIsPassedOver) {
  Write("self", "\nnonsense\n0:\n::\n1:cpu\n0::/a\n");
  for (absl::string_view garbage :
       {"", "\n", "soon", "-1", "0", "12 13", "99999999999999999999999", "1e9"}) {
    Write("sys/a/memory.max", garbage);
    EXPECT_EQ(Memory(), kNoLimit) << garbage;
  }
  for (absl::string_view garbage :
       {"", "\n", "1", "a b", "100000 0", "0 100000", "-1 -1", "1 2 3", "max"}) {
    Write("sys/a/cpu.max", garbage);
    EXPECT_EQ(Cpu(), std::nullopt) << garbage;
  }
  Write("sys/memory.max", "1048576");
  EXPECT_EQ(Memory(), MiB(1));
}

TEST(CgroupRealTest, ThisMachineHasAnAnswer) {
  EXPECT_GT(CgroupMemoryLimit(), Bytes(0));
  EXPECT_GT(CgroupCpuQuota().value_or(1), 0);
}

TEST_F(CgroupTest, PressureIsTheGreatestOfGroupsAndMachine) {
  EXPECT_EQ(Pressure(), 0);
  Write("machine", "some avg10=1.50 avg60=0.20 avg300=0.00 total=7\nfull avg10=0.00\n");
  EXPECT_DOUBLE_EQ(Pressure(), 0.015);
  Write("self", "0::/a/b\n");
  Write("sys/a/memory.pressure", "some avg10=12.00 avg60=0.00 avg300=0.00 total=9\n");
  EXPECT_DOUBLE_EQ(Pressure(), 0.12);
  Write("sys/a/b/memory.pressure", "some avg10=40.25 avg60=0.00 avg300=0.00 total=9\n");
  EXPECT_DOUBLE_EQ(Pressure(), 0.4025);
}

TEST_F(CgroupTest, PressureThatMakesNoSenseIsPassedOver) {
  Write("self", "0::/\n");
  for (const char* text : {"", "full avg10=50.00\n", "some avg10=\n", "some avg10=101.00 avg60=0\n",
                           "some avg10=-1.00 avg60=0\n", "some avg10=nan avg60=0\n"}) {
    Write("sys/memory.pressure", text);
    EXPECT_EQ(Pressure(), 0) << text;
  }
}

}  // namespace
}  // namespace ebb::platform
