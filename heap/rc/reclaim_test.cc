// Counted objects in numbers.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include "absl/base/config.h"
#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"

namespace ebb::rc {
namespace {

// Some hundred bytes of stack for each would be too many in either case.
#if defined(__OPTIMIZE__) && !defined(ABSL_HAVE_ADDRESS_SANITIZER) && \
    !defined(ABSL_HAVE_THREAD_SANITIZER)
constexpr int64_t kLength = 10'000'000;
#else
constexpr int64_t kLength = 1'000'000;
#endif

void DropALongList(Reclaim reclaim) {
  Counting c({.reclaim = reclaim}, kLength * 128);
  Ptr<Link> head;
  for (int64_t i = 0; i < kLength; ++i) head = MakePtr<Link>(std::move(head), nullptr, i);
  EXPECT_EQ(c.alive(), kLength);
  head = nullptr;
  EXPECT_EQ(c.alive(), reclaim == Reclaim::kLazy ? kLength : 0);
  EXPECT_FALSE(c.owner.Step());
  EXPECT_EQ(c.alive(), 0);
}

TEST(ReclaimTest, NoRecursionDownALongList) { DropALongList(Reclaim::kPrompt); }
TEST(ReclaimTest, NorInALazyDomain) { DropALongList(Reclaim::kLazy); }

// The memory of what has been destroyed is the heap's again.
TEST(ReclaimTest, MemoryAndCellsAreUsedAgain) {
  Counting c;
  for (int i = 0; i < 300'000; ++i) {
    Ptr<Link> link = MakePtr<Link>();
    ASSERT_EQ(link.use_count(), 1);
  }
  EXPECT_EQ(c.alive(), 0);
  EXPECT_LT(c.domain.stats().cells, 10'000);
}

TEST(ReclaimTest, ThrowsWhenTheHeapIsFullAndGoesOn) {
  Counting c(DomainOptions(), 4 << 20);
  {
    Ptr<Link> head;
    EXPECT_THROW(for (;;) head = MakePtr<Link>(head, nullptr, 0), HeapExhausted);
    EXPECT_GT(c.alive(), 1000);
    const absl::Status status = TryMakePtr<Link>(head, nullptr, 0).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  }
  EXPECT_EQ(c.alive(), 0);
  EXPECT_EQ(MakePtr<Link>(nullptr, nullptr, 4)->value, 4);
}

// Free cells are used in the order of their addresses, whatever the order in which they were freed.
TEST(ReclaimTest, CellsAreTakenInOrder) {
  Counting c;
  std::vector<Ptr<Link>> links;
  for (int i = 0; i < 30'000; ++i) links.push_back(MakePtr<Link>());
  const int64_t cells = c.domain.stats().cells;
  std::shuffle(links.begin(), links.end(), std::mt19937_64(1));
  links.resize(5'000);
  for (int i = 0; i < 20'000; ++i) links.push_back(MakePtr<Link>());
  int in_order = 0;
  for (size_t i = 5'001; i < links.size(); ++i) {
    in_order += links[i - 1].cell() < links[i].cell() ? 1 : 0;
  }
  EXPECT_GT(in_order, 19'500);
  EXPECT_EQ(c.domain.stats().cells, cells);
}

}  // namespace
}  // namespace ebb::rc
