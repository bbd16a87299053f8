// The copy space agrees with a naive model that knows every object, over random operations.
// EBB_SEED replays one seed.

#include <cstdlib>
#include <random>

#include "absl/strings/numbers.h"
#include "copyspace/copy_space_driver.h"
#include "gtest/gtest.h"

namespace ebb::copyspace {
namespace {

struct Case {
  const char* name;
  Bytes limit;
  CopySpace::Options options;
  uint32_t seeds = 10;
};

void PrintTo(const Case& test_case, std::ostream* out) { *out << test_case.name; }

class CopySpaceModelTest : public testing::TestWithParam<Case> {};

// What happened over all seeds.
struct Coverage {
  int64_t collections = 0;
  int64_t concurrent_finishes = 0;
  int64_t retained_objects = 0;
};

void RunSeed(const Case& test_case, uint32_t seed, Coverage& coverage) {
  SCOPED_TRACE(testing::Message() << "EBB_SEED=" << seed);
  std::mt19937 random(seed);
  const auto draw = [&random](uint32_t bound) { return static_cast<uint32_t>(random() % bound); };
  CopySpaceDriver driver(test_case.limit, test_case.options);
  for (int step = 0; step < 1500; ++step) {
    ASSERT_TRUE(driver.Step(draw).ok()) << "at step " << step;
  }
  ASSERT_EQ(driver.Verify(), absl::OkStatus());
  EXPECT_EQ(driver.reported_errors(), 0);
  EXPECT_GT(driver.collections(), 0);
  coverage.collections += driver.collections();
  coverage.concurrent_finishes += driver.concurrent_finishes();
  coverage.retained_objects += driver.retained_objects();
}

TEST_P(CopySpaceModelTest, AgreesOverRandomOperations) {
  Coverage coverage;
  uint32_t seed;
  if (const char* text = std::getenv("EBB_SEED"); text != nullptr) {
    ASSERT_TRUE(absl::SimpleAtoi(text, &seed));
    RunSeed(GetParam(), seed, coverage);
    return;
  }
  for (seed = 1; seed <= GetParam().seeds && !HasFatalFailure(); ++seed) {
    RunSeed(GetParam(), seed, coverage);
  }
  EXPECT_GT(coverage.retained_objects, 0) << "no seed led to an evacuation that failed";
  EXPECT_GT(coverage.concurrent_finishes, 0) << "all cycles ended in a pause";
  EXPECT_LT(coverage.concurrent_finishes, coverage.collections) << "none did";
}

INSTANTIATE_TEST_SUITE_P(
    Spaces, CopySpaceModelTest,
    testing::Values(
        Case{"roomy", platform::MiB(16), {.overdraft = platform::MiB(1)}},
        Case{"tight", platform::KiB(1300), {.overdraft = platform::KiB(300)}},
        Case{"slack",
             platform::KiB(1300),
             {.overdraft = platform::KiB(128), .hard_limit_slack = platform::KiB(512)}},
        Case{"logging", platform::MiB(4), {.field_logging = true}},
        Case{"fixed", platform::MiB(3), {.overdraft = platform::KiB(300), .fixed = true}, 3},
        Case{"madvise", platform::MiB(2), {.release_backend = platform::ReleaseBackend::kMadvise}}),
    [](const testing::TestParamInfo<Case>& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace ebb::copyspace
