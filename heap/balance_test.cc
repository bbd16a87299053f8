// The balance of a heap's counters: it holds after cycles of every kind, whatever is in the heap,
// and a counter that is off by a word is noticed.

#include "heap/balance.h"

#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/log_severity.h"
#include "absl/log/scoped_mock_log.h"
#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "heap/heap_core.h"
#include "heap/heap_for_test.h"
#include "platform/bytes.h"

namespace ebb {

// Wants padding in front of it now and then.
struct alignas(16) BalanceTestWide {
  int64_t words[4];
};

namespace {

using platform::Bytes;
using testing::_;
using testing::HasSubstr;
using Wide = BalanceTestWide;

class BalanceTest : public testing::Test {
 protected:
  BalanceTest() {
    options_.read_environment = false;
    options_.collector = CollectorUnderTest();
    options_.nursery_bypass = false;
    options_.max_bytes = 8 << 20;
    options_.workers = 2;
  }

  // Objects of all spaces, some of which live on.
  static void Churn(Mutator& mutator, Local<Node>& kept, int rounds) {
    for (int i = 0; i < rounds; ++i) {
      Local<Node> pinned(mutator, mutator.NewPinned<Node>(kept, nullptr, i));
      mutator.New<Wide>();
      mutator.NewArray<int64_t>(static_cast<size_t>(i % 7) * 500);  // some of them large
      mutator.New<Wide>();
      if (i % 3 == 0) kept = pinned;
      if (i % 100 == 0) kept = NewTree(mutator, 6);
    }
  }
  static void ExpectBalanced(Heap& heap) {
    const HeapStats stats = heap.stats();
    EXPECT_EQ(stats.counter_faults, 0);
    EXPECT_EQ(stats.allocated_bytes, stats.live_bytes + stats.freed_bytes);
    const absl::Status status = heap.Verify();
    EXPECT_TRUE(status.ok()) << status;
  }

  Options options_;
};

TEST_F(BalanceTest, HoldsAfterEveryCycle) {
  auto heap = NewHeap(options_);
  Mutator mutator(*heap);
  Local<Node> kept(mutator);
  int64_t freed = 0;
  for (int i = 0; i < 10; ++i) {
    Churn(mutator, kept, 1000);
    ASSERT_TRUE(heap->Collect().ok());
    ExpectBalanced(*heap);
    EXPECT_GT(heap->stats().freed_bytes, freed);
    freed = heap->stats().freed_bytes;
  }
  kept = nullptr;
  ASSERT_TRUE(heap->Collect().ok());
  ExpectBalanced(*heap);
  EXPECT_EQ(heap->stats().live_bytes, 0);
  EXPECT_EQ(heap->stats().freed_bytes, heap->stats().allocated_bytes);
}

TEST_F(BalanceTest, HoldsAfterMinorCycles) {
  options_.collector = Collector::kGenerational;
  auto heap = NewHeap(options_);
  Mutator mutator(*heap);
  Local<Node> kept(mutator);
  for (int i = 0; i < 10; ++i) {
    Churn(mutator, kept, 300);
    ASSERT_TRUE(heap->Collect(CollectKind::kMinor).ok());
    const absl::Status status = heap->Verify();
    EXPECT_TRUE(status.ok()) << status;
  }
  EXPECT_GT(heap->stats().freed_bytes, 0);
  EXPECT_EQ(heap->stats().counter_faults, 0);
}

// What lies beside a retained object counts as live, and is freed later.
TEST_F(BalanceTest, HoldsWhereEvacuationsFail) {
  options_.stress.fail_evacuation = 7;
  auto heap = NewHeap(options_);
  Mutator mutator(*heap);
  Local<Node> kept(mutator);
  for (int i = 0; i < 10; ++i) {
    Churn(mutator, kept, 300);
    ASSERT_TRUE(heap->Collect().ok());
    ExpectBalanced(*heap);
  }
  EXPECT_GT(heap->stats().retained_objects, 0);
}

// The last resort evacuates in part.
TEST_F(BalanceTest, HoldsWhereMemoryRunsOut) {
  options_.max_bytes = 2 << 20;
  auto heap = NewHeap(options_);
  Mutator mutator(*heap);
  for (int i = 0; i < 3; ++i) {
    Local<Node> head(mutator);
    for (;;) {
      absl::StatusOr<Ref<Node>> node = mutator.TryNew<Node>(head, nullptr, i);
      if (!node.ok()) break;
      head = *node;
    }
    const absl::Status status = heap->Verify();
    EXPECT_TRUE(status.ok()) << status;
  }
  ASSERT_TRUE(heap->Collect().ok());
  ExpectBalanced(*heap);
}

TEST_F(BalanceTest, ACounterThatIsOffIsNoticed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  auto heap = NewHeap(options_);
  Mutator mutator(*heap);
  Local<Node> kept(mutator, NewTree(mutator, 6));
  ASSERT_TRUE(heap->Collect().ok());
  heap->core()->balance().AddAllocated(Bytes(8));
  const absl::Status status = heap->Verify();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("so 8 are astray"));
#ifdef NDEBUG
  absl::ScopedMockLog log(absl::MockLogDefault::kIgnoreUnexpected);
  EXPECT_CALL(log, Log(absl::LogSeverity::kError, _, HasSubstr("so 8 are astray"))).Times(1);
  log.StartCapturingLogs();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(heap->Collect().ok()) << "the program goes on";
  EXPECT_EQ(heap->stats().counter_faults, 1) << "one fault, told once";
#else
  EXPECT_DEATH(
      {
        auto other = NewHeap(options_);
        other->core()->balance().AddAllocated(Bytes(8));
        (void)other->Collect();
      },
      "so 8 are astray");
#endif
  heap->core()->balance().AddAllocated(Bytes(-8));
  EXPECT_TRUE(heap->Collect().ok());
  EXPECT_TRUE(heap->Verify().ok());
}

// Each of the others, one way or the other.
TEST_F(BalanceTest, EachCounterMatters) {
  auto heap = NewHeap(options_);
  Mutator mutator(*heap);
  Local<Node> kept(mutator, NewTree(mutator, 6));
  ASSERT_TRUE(heap->Collect().ok());
  internal::Balance& balance = heap->core()->balance();
  balance.AddEvacuated(Bytes(16));
  EXPECT_THAT(heap->Verify().ToString(), HasSubstr("so 16 are astray"));
  balance.AddLeft(Bytes(16));
  EXPECT_TRUE(heap->Verify().ok());
  balance.AddLeft(Bytes(24));
  EXPECT_THAT(heap->Verify().ToString(), HasSubstr("so -24 are astray"));
  balance.AddLeft(Bytes(-24));
  EXPECT_TRUE(heap->Verify().ok());
}

}  // namespace
}  // namespace ebb
