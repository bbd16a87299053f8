#include "platform/range_releaser.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "platform/address_range.h"
#include "platform/bytes.h"
#include "platform/page_size.h"
#include "platform/system.h"

namespace ebb::platform {
namespace {

AddressRange Range(uintptr_t begin, int64_t size) { return {.begin = begin, .size = Bytes(size)}; }

TEST(MergeAdjacentTest, SortsAndMerges) {
  EXPECT_EQ(MergeAdjacent({}), std::vector<AddressRange>());
  EXPECT_EQ(MergeAdjacent({Range(10, 5)}), std::vector({Range(10, 5)}));
  // Given backwards; [10, 20) and [20, 25) touch; [30, 40) stands apart.
  EXPECT_EQ(MergeAdjacent({Range(30, 10), Range(20, 5), Range(10, 10)}),
            std::vector({Range(10, 15), Range(30, 10)}));
}

TEST(MergeAdjacentTest, LeavesOutEmptyRanges) {
  EXPECT_EQ(MergeAdjacent({Range(0, 0), Range(20, 0), Range(10, 5)}), std::vector({Range(10, 5)}));
}

TEST(MergeAdjacentTest, OverlapsCountOnce) {
  EXPECT_EQ(MergeAdjacent({Range(10, 10), Range(15, 10), Range(12, 2)}),
            std::vector({Range(10, 15)}));
  EXPECT_EQ(MergeAdjacent({Range(10, 10), Range(10, 10)}), std::vector({Range(10, 10)}));
}

// Pages in a row, each filled with a stamp of its own.
class Pages {
 public:
  explicit Pages(int count) : count_(count) {
    range_ = *System::Real().Reserve(PageSize() * count, PageSize(), "test");
    EXPECT_TRUE(System::Real().Commit(range_, "test").ok());
    for (int i = 0; i < count; ++i) std::memset(at(i), Stamp(i), PageSize().size());
  }
  ~Pages() { EXPECT_TRUE(System::Real().Release(range_, "test").ok()); }

  // Pages [first, first + count).
  AddressRange Slice(int first, int count) const {
    return {.begin = range_.begin + first * PageSize().size(), .size = PageSize() * count};
  }

  // Which of the pages are all zero; the others must be untouched.
  std::vector<int> Gone() const {
    std::vector<int> gone;
    for (int i = 0; i < count_; ++i) {
      const uint8_t want = at(i)[0];
      EXPECT_TRUE(std::all_of(at(i), at(i) + PageSize().size(),
                              [want](uint8_t byte) { return byte == want; }));
      if (want == 0) {
        gone.push_back(i);
      } else {
        EXPECT_EQ(want, Stamp(i));
      }
    }
    return gone;
  }

 private:
  static uint8_t Stamp(int i) { return static_cast<uint8_t>(1 + i % 255); }
  uint8_t* at(int i) const { return reinterpret_cast<uint8_t*>(Slice(i, 1).begin); }

  const int count_;
  AddressRange range_;
};

class RangeReleaserTest : public testing::TestWithParam<ReleaseBackend> {
 protected:
  std::unique_ptr<RangeReleaser> releaser_ = System::Real().NewRangeReleaser(GetParam());
};

TEST_P(RangeReleaserTest, DiscardsRangesAndKeepsNeighbours) {
  Pages pages(10);
  EXPECT_TRUE(releaser_->Discard({pages.Slice(7, 1), pages.Slice(2, 2), pages.Slice(4, 1)}).ok());
  EXPECT_EQ(pages.Gone(), std::vector({2, 3, 4, 7}));
}

TEST_P(RangeReleaserTest, NothingToDoIsFine) {
  Pages pages(2);
  EXPECT_TRUE(releaser_->Discard({}).ok());
  EXPECT_TRUE(releaser_->Discard({pages.Slice(1, 0)}).ok());
  EXPECT_EQ(pages.Gone(), std::vector<int>());
}

TEST_P(RangeReleaserTest, MoreRangesThanOneSystemCallTakes) {
  constexpr int kPages = 5000;
  Pages pages(kPages);
  std::vector<AddressRange> ranges;
  std::vector<int> want;
  for (int i = 0; i < kPages; i += 2) {
    ranges.push_back(pages.Slice(i, 1));
    want.push_back(i);
  }
  EXPECT_TRUE(releaser_->Discard(ranges).ok());
  EXPECT_EQ(pages.Gone(), want);
}

// Longer than 32 bits count, than process_madvise takes in a call, and than one io_uring request.
TEST_P(RangeReleaserTest, LongRanges) {
  const Bytes size = GiB(5);
  const AddressRange range = *System::Real().Reserve(size, MiB(2), "test");
  ASSERT_TRUE(System::Real().Commit(range, "test").ok());
  std::vector<volatile char*> probes;
  for (Bytes at; at < size; at += MiB(511)) {
    probes.push_back(reinterpret_cast<volatile char*>(range.begin + at.size()));
  }
  probes.push_back(reinterpret_cast<volatile char*>(range.end() - 1));
  for (volatile char* probe : probes) *probe = 1;
  // A hole of a page, so that there are two ranges and the second one begins past 4 GiB.
  const AddressRange low{.begin = range.begin, .size = GiB(4)};
  const Bytes high_offset = low.size + PageSize();
  const AddressRange high{.begin = range.begin + high_offset.size(), .size = size - high_offset};
  EXPECT_TRUE(releaser_->Discard({high, low}).ok());
  for (volatile char* probe : probes) EXPECT_EQ(*probe, 0);
  EXPECT_TRUE(System::Real().Release(range, "test").ok());
}

TEST_P(RangeReleaserTest, UnalignedIsRefusedAndNothingDone) {
  Pages pages(4);
  AddressRange shifted = pages.Slice(2, 1);
  shifted.begin += 8;
  AddressRange odd = pages.Slice(2, 1);
  odd.size += Bytes(1);
  for (const AddressRange& bad : {shifted, odd}) {
    const absl::Status status = releaser_->Discard({pages.Slice(0, 1), bad});
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(absl::StrContains(status.message(), absl::StrCat(bad))) << status;
  }
  EXPECT_EQ(pages.Gone(), std::vector<int>());
}

TEST_P(RangeReleaserTest, AFailedRangeIsNamedAndTheOthersAreDone) {
  Pages pages(8);
  const AddressRange hole = pages.Slice(3, 1);
  ASSERT_EQ(munmap(reinterpret_cast<void*>(hole.begin), hole.size.size()), 0);
  const absl::Status status =
      releaser_->Discard({pages.Slice(1, 1), hole, pages.Slice(5, 1), pages.Slice(7, 1)});
  // Mapped anew, so that all pages can be looked at; in the tests' single thread nobody else maps.
  ASSERT_NE(mmap(reinterpret_cast<void*>(hole.begin), hole.size.size(), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
            MAP_FAILED);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(absl::StrContains(status.message(), absl::StrCat(hole))) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), hole.size.ToString())) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "failed ranges: 1")) << status;
  EXPECT_EQ(pages.Gone(), std::vector({1, 3, 5, 7}));
  // The releaser is none the worse for it.
  EXPECT_TRUE(releaser_->Discard({pages.Slice(0, 1)}).ok());
}

// The child has neither the parent's pidfd target nor its ring, and must not touch its memory.
TEST_P(RangeReleaserTest, WorksInAForkedChild) {
  Pages pages(4);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const bool ok =
        releaser_->Discard({pages.Slice(1, 1)}).ok() && pages.Gone() == std::vector({1}) &&
        releaser_->Discard({pages.Slice(3, 1)}).ok() && pages.Gone() == std::vector({1, 3});
    releaser_.reset();
    _exit(ok ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_EQ(pages.Gone(), std::vector<int>());
  EXPECT_TRUE(releaser_->Discard({pages.Slice(0, 1)}).ok());
  EXPECT_EQ(pages.Gone(), std::vector({0}));
}

INSTANTIATE_TEST_SUITE_P(Backends, RangeReleaserTest,
                         testing::Values(ReleaseBackend::kProcessMadvise, ReleaseBackend::kIoUring,
                                         ReleaseBackend::kMadvise),
                         [](const testing::TestParamInfo<ReleaseBackend>& info) -> std::string {
                           switch (info.param) {
                             case ReleaseBackend::kProcessMadvise:
                               return "ProcessMadvise";
                             case ReleaseBackend::kIoUring:
                               return "IoUring";
                             default:
                               return "Madvise";
                           }
                         });

// Each factory's answer agrees with what System chooses.
TEST(RangeReleaserFallbackTest, SystemChoosesWhatWorks) {
  const bool process_madvise = NewProcessMadviseReleaser().ok();
  const bool io_uring = NewIoUringReleaser().ok();
  const absl::string_view second = process_madvise ? "process_madvise" : "madvise";
  System& system = System::Real();
  EXPECT_EQ(system.NewRangeReleaser(ReleaseBackend::kAuto)->name(), second);
  EXPECT_EQ(system.NewRangeReleaser(ReleaseBackend::kProcessMadvise)->name(), second);
  EXPECT_EQ(system.NewRangeReleaser(ReleaseBackend::kIoUring)->name(),
            io_uring ? "io_uring" : second);
  EXPECT_EQ(system.NewRangeReleaser(ReleaseBackend::kMadvise)->name(), "madvise");
}

}  // namespace
}  // namespace ebb::platform
