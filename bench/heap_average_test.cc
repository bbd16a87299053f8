#include "bench/heap_average.h"

#include <cstdint>

#include "absl/synchronization/blocking_counter.h"
#include "absl/time/time.h"
#include "bench/periodic.h"
#include "bench/record.h"
#include "gtest/gtest.h"

namespace ebb::bench {
namespace {

TEST(TimeAverageTest, AValueCountsForAsLongAsItHolds) {
  TimeAverage average;
  EXPECT_EQ(average.value(), 0);
  average.Add(10, absl::Seconds(5));
  EXPECT_EQ(average.value(), 10);
  average.Add(100, absl::Seconds(8));
  EXPECT_DOUBLE_EQ(average.value(), 10);
  average.Add(7, absl::Seconds(9));
  EXPECT_DOUBLE_EQ(average.value(), (3 * 10 + 1 * 100) / 4.0);
}

TEST(PeriodicTest, CallsAgainAndAgainUntilItIsGone) {
  constexpr int kCalls = 3;
  int calls = 0;
  {
    absl::BlockingCounter some(kCalls);
    Periodic periodic(absl::Microseconds(100), [&] {
      if (++calls <= kCalls) some.DecrementCount();
    });
    some.Wait();
  }
  EXPECT_GE(calls, kCalls);  // no race: the thread has been joined
}

TEST(HeapAverageTest, AFixedHeapHasItsMaximumAsItsLimit) {
  constexpr int64_t kMaxBytes = 32 << 20;
  auto heap = Heap::Create({.max_bytes = kMaxBytes, .read_environment = false});
  ASSERT_TRUE(heap.ok()) << heap.status();
  const HeapAverage average(**heap);
  Record record;
  while (record.Number("average_limit_bytes").value_or(0) == 0) average.Write(record);
  EXPECT_EQ(record.Number("average_limit_bytes"), kMaxBytes);
  EXPECT_LE(record.Number("average_heap_bytes").value(), kMaxBytes);
}

}  // namespace
}  // namespace ebb::bench
