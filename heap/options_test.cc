#include "heap/options.h"

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "heap/ebb.h"

namespace ebb {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string ErrorOf(absl::string_view text) {
  auto options = Options::Parse(text);
  EXPECT_EQ(options.status().code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(options.status().message());
}

TEST(OptionsTest, ParsesEveryKind) {
  auto options = Options::Parse(
      "max_bytes=1g, reserve_bytes=2G,workers=3,collector=parallel,page_out=false,"
      "page_out_tick=250ms,release_backend=io_uring,large_object_bytes=4k,stress_poison=true,"
      "stress_collect_every=100,stress_seed=7,huge_pages=dense");
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->max_bytes, int64_t{1} << 30);
  EXPECT_EQ(options->reserve_bytes, int64_t{2} << 30);
  EXPECT_EQ(options->workers, 3);
  EXPECT_FALSE(options->page_out);
  EXPECT_EQ(options->page_out_tick, absl::Milliseconds(250));
  EXPECT_EQ(options->release_backend, platform::ReleaseBackend::kIoUring);
  EXPECT_EQ(options->huge_pages, HugePages::kDense);
  EXPECT_EQ(options->large_object_bytes, 4096);
  EXPECT_TRUE(options->stress.poison);
  EXPECT_EQ(options->stress.collect_every, 100);
  EXPECT_EQ(options->stress.seed, 7);
}

TEST(OptionsTest, KeepsWhatTheTextDoesNotName) {
  Options base;
  base.workers = 5;
  auto options = Options::Parse("max_bytes=2m", base);
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->workers, 5);
  EXPECT_TRUE(Options::Parse("").ok());
}

TEST(OptionsTest, ErrorsNameOptionValueAndRange) {
  EXPECT_THAT(ErrorOf("max_byte=1g"), AllOf(HasSubstr("'max_byte'"), HasSubstr("max_bytes")));
  EXPECT_THAT(ErrorOf("max_bytes=many"),
              AllOf(HasSubstr("max_bytes"), HasSubstr("'many'"), HasSubstr("1048576")));
  EXPECT_THAT(ErrorOf("max_bytes=1k"), AllOf(HasSubstr("'1k'"), HasSubstr("1048576")));
  EXPECT_THAT(ErrorOf("workers=-1"), AllOf(HasSubstr("workers"), HasSubstr("0 to 256")));
  EXPECT_THAT(ErrorOf("workers"), HasSubstr("''"));
  EXPECT_THAT(ErrorOf("collector=fast"), AllOf(HasSubstr("'fast'"), HasSubstr("parallel")));
  EXPECT_THAT(ErrorOf("huge_pages=some"),
              AllOf(HasSubstr("huge_pages"), HasSubstr("'some'"), HasSubstr("never dense always")));
  EXPECT_THAT(ErrorOf("page_out=maybe"), HasSubstr("true or false"));
  EXPECT_THAT(ErrorOf("page_out_tick=0s"), HasSubstr("1ms to 24h"));
  EXPECT_THAT(ErrorOf("max_bytes=2g,reserve_bytes=1g"),
              AllOf(HasSubstr("reserve_bytes"), HasSubstr("max_bytes")));
  EXPECT_THAT(ErrorOf("max_bytes=99999999999999999999"), HasSubstr("max_bytes"));
  EXPECT_THAT(ErrorOf("max_bytes=9999999999999t"), HasSubstr("max_bytes"));
}

TEST(OptionsTest, DescribeParsesBack) {
  auto options = Options::Parse("max_bytes=64m,workers=2");
  ASSERT_TRUE(options.ok());
  std::string text;
  for (absl::string_view line : absl::StrSplit(options->Describe(), '\n', absl::SkipEmpty())) {
    absl::StrAppend(&text, line.substr(0, line.find("  (")), ",");
  }
  auto again = Options::Parse(text);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->Describe(), options->Describe());
}

TEST(OptionsTest, CreateChecksTheStruct) {
  Options options;
  options.max_bytes = 17;
  auto heap = Heap::Create(options);
  EXPECT_EQ(heap.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(heap.status().message()), HasSubstr("'17'"));
  options.max_bytes = 1 << 20;
  options.collector = static_cast<Collector>(9);
  EXPECT_THAT(std::string(Heap::Create(options).status().message()),
              AllOf(HasSubstr("collector"), HasSubstr("'9'"), HasSubstr("parallel")));
  options = Options();
  options.max_bytes = 4 << 20;
  options.min_bytes = 8 << 20;
  EXPECT_THAT(std::string(Heap::Create(options).status().message()), HasSubstr("min_bytes"));
}

TEST(OptionsTest, CreateRefusesMoreWorkersThanTheHeapHasMemoryFor) {
  Options options;
  options.read_environment = false;
  options.max_bytes = 1 << 20;
  options.workers = 256;
  auto heap = Heap::Create(options);
  EXPECT_EQ(heap.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(heap.status().message()),
              AllOf(HasSubstr("workers"), HasSubstr("'256'")));
}

TEST(OptionsTest, EnvironmentOverrides) {
  const char* before = std::getenv("EBB_OPTIONS");
  const std::string saved = before == nullptr ? "" : before;
  ASSERT_EQ(setenv("EBB_OPTIONS", "max_bytes=3m", 1), 0);
  Options options;
  options.max_bytes = 8 << 20;
  auto heap = Heap::Create(options);
  ASSERT_TRUE(heap.ok());
  EXPECT_EQ((*heap)->options().max_bytes, 3 << 20);
  options.read_environment = false;
  heap = Heap::Create(options);
  ASSERT_TRUE(heap.ok());
  EXPECT_EQ((*heap)->options().max_bytes, 8 << 20);
  ASSERT_EQ(setenv("EBB_OPTIONS", "max_bytes", 1), 0);
  options.read_environment = true;
  EXPECT_THAT(std::string(Heap::Create(options).status().message()), HasSubstr("EBB_OPTIONS"));
  ASSERT_EQ(setenv("EBB_OPTIONS", saved.c_str(), 1), 0);
}

}  // namespace
}  // namespace ebb
