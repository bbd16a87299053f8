// Running out: of what the system gives, of memory to evacuate to, of the heap's maximum. Nothing
// aborts, what was live stays intact, and errors say what was wanted.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "heap/heap_for_test.h"
#include "platform/address_range.h"
#include "platform/fake_system.h"

namespace ebb {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

using platform::Call;
using platform::FakeSystem;

constexpr int64_t kMiB = 1 << 20;

Options SmallHeap(int64_t max_bytes = 2 * kMiB) {
  Options options;
  options.max_bytes = max_bytes;
  options.collector = CollectorUnderTest();
  options.workers = 2;
  options.page_out = false;
  options.read_environment = false;
  return options;
}

void ExpectIntact(Heap& heap, const Local<Node>& list, int64_t length) {
  EXPECT_TRUE(IsList(list, length));
  absl::Status status = heap.Verify();
  EXPECT_TRUE(status.ok()) << status;
}

void ExpectClear(const absl::Status& status) {
  if (status.ok()) return;
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("max_bytes"));
}

// A growing list among garbage of all kinds, more than the heap can hold. Each allocation may fail
// with a clear Status; the list is intact after each round.
void RunWorkload(Heap& heap) {
  Mutator mutator(heap);
  Local<Node> list(mutator);
  int64_t length = 0;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 100; ++i) {
      auto node = mutator.TryNew<Node>(list, nullptr, length + 1);
      ExpectClear(node.status());
      if (node.ok()) {
        list = *node;
        ++length;
      }
      ExpectClear(mutator.TryNewArray<char>(4'000).status());
      if (i % 10 == 0) ExpectClear(mutator.TryNewArray<char>(60'000).status());
      if (i % 20 == 0) ExpectClear(mutator.TryNewPinned<Node>(list, nullptr, 0).status());
    }
    // Fails only where access to from-space was forbidden and cannot be allowed again.
    if (absl::Status status = heap.Collect(); !status.ok()) {
      EXPECT_THAT(std::string(status.message()), HasSubstr("change the protection"));
    }
    ExpectIntact(heap, list, length);
  }
}

class SystemFailsTest : public ::testing::TestWithParam<Call> {
 protected:
  // Creates a heap on `fake` and works on it. False if there is no heap.
  static bool CreateAndRun(FakeSystem& fake, bool page_out) {
    Options options = SmallHeap();
    options.system = &fake;
    options.page_out = page_out;
    options.page_out_tick = absl::Milliseconds(1);
    options.stress.protect_from_space = GetParam() == Call::kProtect;
    auto heap = Heap::Create(options);
    if (!heap.ok()) {
      EXPECT_THAT(std::string(heap.status().message()), HasSubstr("by FakeSystem"));
      return false;
    }
    RunWorkload(**heap);
    fake.StopFailing();
    RunWorkload(**heap);
    return true;
  }
};

TEST_P(SystemFailsTest, Once) {
  for (const bool page_out : {false, true}) {
    for (int nth = 1; nth <= 12; ++nth) {
      SCOPED_TRACE(absl::StrCat(platform::CallName(GetParam()), " ", nth, " page_out ", page_out));
      FakeSystem fake;
      fake.FailOn(GetParam(), nth);
      const bool created = CreateAndRun(fake, page_out);
      // A heap needs nothing at creation but its address range, and a nursery's memory.
      if (GetParam() == Call::kCommit && CollectorUnderTest() == Collector::kGenerational) continue;
      EXPECT_EQ(created, GetParam() != Call::kReserve || nth > 1);
    }
  }
}

TEST_P(SystemFailsTest, AgainAndAgain) {
  for (const bool page_out : {false, true}) {
    for (int every : {1, 2, 3}) {
      SCOPED_TRACE(
          absl::StrCat(platform::CallName(GetParam()), " every ", every, " page_out ", page_out));
      FakeSystem fake;
      fake.FailEvery(GetParam(), every);
      CreateAndRun(fake, page_out);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryCall, SystemFailsTest, ::testing::ValuesIn(platform::kAllCalls),
                         [](const auto& info) { return std::string(CallName(info.param)); });

TEST(RunningOutTest, AddressSpaceIsGivenBackWhenCreationFails) {
  FakeSystem fake;
  fake.LimitReservations(platform::MiB(1));
  Options options = SmallHeap();
  options.system = &fake;
  const absl::Status status = Heap::Create(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("reserve_bytes"));
  EXPECT_EQ(fake.reserved(), platform::Bytes(0));
}

TEST(RunningOutTest, WithoutThreadsTheCallerDoesTheWork) {
  FakeSystem fake;
  fake.FailEvery(Call::kStartThread, 1);
  Options options = SmallHeap(8 * kMiB);
  options.system = &fake;
  options.page_out = true;
  auto heap = NewHeap(options);
  Mutator mutator(*heap);
  Local<Node> tree(mutator, NewTree(mutator, 12));
  ASSERT_TRUE(heap->Collect().ok());
  EXPECT_EQ(Sum(tree), (1 << 13) - 1);
  EXPECT_EQ(heap->stats().workers, 1);
  EXPECT_GT(heap->stats().worker_start_failures, 0);
}

class FailingEvacuationTest : public ::testing::TestWithParam<int64_t> {};

TEST_P(FailingEvacuationTest, ObjectsStayWhereTheyAreAndNothingIsLost) {
  constexpr int64_t kLength = 300;
  for (const int workers : {1, 2}) {
    Options options = SmallHeap(4 * kMiB);
    options.workers = workers;
    options.stress.fail_evacuation = GetParam();
    options.stress.verify = true;
    auto heap = NewHeap(options);
    Mutator mutator(*heap);
    Local<Node> list(mutator, NewList(mutator, kLength));
    Local<Node> tree(mutator, NewTree(mutator, 8));
    Local<RefArray<Array<int64_t>>> arrays(mutator, mutator.NewRefArray<Array<int64_t>>(100));
    for (int64_t round = 0; round < 6; ++round) {
      for (size_t i = 0; i < arrays->size(); ++i) {
        if (round > 0 && i % 7 != static_cast<size_t>(round)) continue;
        (*arrays)[i] = mutator.NewArray<int64_t>(i);
        for (int64_t& element : *(*arrays)[i]) element = static_cast<int64_t>(i);
      }
      NewTree(mutator, 7);
      ASSERT_TRUE(heap->Collect().ok());
      ExpectIntact(*heap, list, kLength);
      EXPECT_EQ(Sum(tree), (1 << 9) - 1);
      for (size_t i = 0; i < arrays->size(); ++i) {
        Ref<Array<int64_t>> array = (*arrays)[i];
        ASSERT_EQ(array->size(), i);
        for (int64_t element : *array) ASSERT_EQ(element, static_cast<int64_t>(i));
      }
    }
    EXPECT_GT(heap->stats().retained_objects, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(EveryNth, FailingEvacuationTest, ::testing::Values(1, 2, 3, 7, 50));

// Adds to the list until the heap is full, and returns why it is.
absl::Status Fill(Mutator& mutator, Local<Node>& list, int64_t& length) {
  for (;;) {
    auto node = mutator.TryNew<Node>(list, nullptr, length + 1);
    if (!node.ok()) return node.status();
    list = *node;
    ++length;
  }
}

TEST(RunningOutTest, ALiveSetThatFillsTheHeap) {
  auto heap = NewHeap(SmallHeap());
  Mutator mutator(*heap);
  Local<Node> list(mutator);
  int64_t length = 0;
  const absl::Status status = Fill(mutator, list, length);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("an object of 32 bytes"), HasSubstr("were live"),
                    HasSubstr(" in use"), HasSubstr("max_bytes"), HasSubstr("2097152")));
  ExpectIntact(*heap, list, length);
  const HeapStats stats = heap->stats();
  EXPECT_GT(stats.exhaustions, 0);
  EXPECT_LE(stats.peak_heap_bytes, stats.max_bytes);
  // At least a quarter of the maximum can be live: two halves, and something for the collector.
  EXPECT_GE(length * 32, stats.max_bytes / 4);

  try {
    for (;;) list = mutator.New<Node>(list, nullptr, ++length);
  } catch (const std::bad_alloc& exhausted) {
    --length;
    EXPECT_THAT(exhausted.what(), HasSubstr("max_bytes"));
  }
  EXPECT_THROW(mutator.NewArray<char>(1'500'000), HeapExhausted);
  Local<Node> pinned(mutator);
  for (;;) {
    auto node = mutator.TryNewPinned<Node>(pinned, nullptr, 0);
    ExpectClear(node.status());
    if (!node.ok()) break;
    pinned = *node;
  }
  EXPECT_LE(heap->stats().peak_heap_bytes, stats.max_bytes);
  ExpectIntact(*heap, list, length);

  list = nullptr;
  EXPECT_TRUE(mutator.TryNew<Node>().ok());
  EXPECT_TRUE(mutator.TryNewArray<char>(500'000).ok());
  EXPECT_TRUE(mutator.TryNewPinned<Node>().ok());
}

// No evacuation succeeds but those of cycles in part. Something lives on in every region, so that
// ordinary cycles give nothing back.
TEST(RunningOutTest, WhatIsScatteredOverAFullHeapIsMovedInTheEnd) {
  constexpr int kDeadForEachThatLives = 5;
  Options options = SmallHeap();
  options.max_bytes = 4 * kMiB;
  options.stress.fail_evacuation = 1;
  auto heap = NewHeap(options);
  Mutator mutator(*heap);
  Local<Node> list(mutator);
  const int64_t length = options.max_bytes / 10 / 32;
  for (int round = 0; round < 3; ++round) {
    list = nullptr;
    for (int64_t i = 1; i <= length; ++i) {
      for (int dead = 0; dead < kDeadForEachThatLives; ++dead) {
        const absl::Status status = mutator.TryNew<Node>().status();
        ASSERT_TRUE(status.ok()) << "round " << round << ", at " << i << ": " << status;
      }
      list = mutator.New<Node>(list, nullptr, i);
    }
    ExpectIntact(*heap, list, length);
  }
  EXPECT_EQ(heap->stats().exhaustions, 0);
  EXPECT_LE(heap->stats().peak_heap_bytes, heap->stats().max_bytes);
}

TEST(RunningOutTest, LargeObjectsThatFillTheHeap) {
  auto heap = NewHeap(SmallHeap());
  Mutator mutator(*heap);
  Local<RefArray<Array<char>>> arrays(mutator, mutator.NewRefArray<Array<char>>(100));
  size_t count = 0;
  for (;; ++count) {
    ASSERT_LT(count, arrays->size());
    auto array = mutator.TryNewArray<char>(100'000);
    if (!array.ok()) {
      ExpectClear(array.status());
      EXPECT_THAT(std::string(array.status().message()), HasSubstr("(100016 bytes)"));
      break;
    }
    (*arrays)[count] = *array;
  }
  EXPECT_GE(count, HasGenerations(*heap) ? 9u : 12u);
  EXPECT_TRUE(heap->Verify().ok());
  (*arrays)[0] = nullptr;
  EXPECT_TRUE(mutator.TryNewArray<char>(100'000).ok());
}

class ExhaustionHandlerTest : public ::testing::Test {
 protected:
  Options WithHandler(std::function<ExhaustionAction(const Exhaustion&)> handler) {
    Options options = SmallHeap();
    options.on_exhaustion = [this, handler](const Exhaustion& exhaustion) {
      calls_.push_back(exhaustion);
      return handler(exhaustion);
    };
    return options;
  }

  std::vector<Exhaustion> calls_;
};

TEST_F(ExhaustionHandlerTest, RetryAfterDroppingARoot) {
  Local<Node>* hog = nullptr;
  auto heap = NewHeap(WithHandler([&](const Exhaustion&) {
    *hog = nullptr;
    return ExhaustionAction::kRetry;
  }));
  Mutator mutator(*heap);
  Local<Node> list(mutator);
  hog = &list;
  for (int64_t i = 0; calls_.empty(); ++i) {
    auto node = mutator.TryNew<Node>(list, nullptr, i);
    ASSERT_TRUE(node.ok()) << node.status();
    if (calls_.empty()) list = *node;
  }
  ASSERT_EQ(calls_.size(), 1u);
  EXPECT_EQ(calls_[0].requested, 32);
  EXPECT_EQ(calls_[0].attempt, 0);
  EXPECT_EQ(calls_[0].max_bytes, 2 * kMiB);
  EXPECT_GT(calls_[0].live, 0);
  EXPECT_GT(calls_[0].heap_bytes, calls_[0].live);
  EXPECT_TRUE(mutator.TryNewArray<char>(500'000).ok());
}

TEST_F(ExhaustionHandlerTest, GrowUpToTheReservation) {
  Options options = WithHandler([](const Exhaustion&) { return ExhaustionAction::kGrow; });
  options.reserve_bytes = 3 * kMiB;
  auto heap = NewHeap(options);
  Mutator mutator(*heap);
  Local<Node> list(mutator);
  int64_t length = 0;
  ExpectClear(Fill(mutator, list, length));
  EXPECT_EQ(heap->stats().max_bytes, 3 * kMiB);
  EXPECT_EQ(heap->options().max_bytes, 3 * kMiB);
  EXPECT_GT(calls_.size(), 1u);
  EXPECT_LE(heap->stats().peak_heap_bytes, 3 * kMiB);
  ExpectIntact(*heap, list, length);
}

TEST_F(ExhaustionHandlerTest, GrowByALargeObject) {
  Options options = WithHandler([](const Exhaustion&) { return ExhaustionAction::kGrow; });
  options.reserve_bytes = 16 * kMiB;
  auto heap = NewHeap(options);
  Mutator mutator(*heap);
  Local<Array<char>> array(mutator, mutator.NewArray<char>(4 * kMiB));
  EXPECT_EQ(array->size(), 4u * kMiB);
  EXPECT_EQ(calls_.size(), 1u);
  EXPECT_GT(calls_[0].requested, 4 * kMiB);
}

TEST_F(ExhaustionHandlerTest, Fail) {
  auto heap = NewHeap(WithHandler([](const Exhaustion&) { return ExhaustionAction::kFail; }));
  Mutator mutator(*heap);
  Local<Node> list(mutator);
  int64_t length = 0;
  ExpectClear(Fill(mutator, list, length));
  EXPECT_EQ(calls_.size(), 1u);
  EXPECT_THROW(mutator.NewArray<char>(1'900'000), HeapExhausted);
  EXPECT_EQ(calls_.size(), 2u);
  ExpectIntact(*heap, list, length);
}

TEST_F(ExhaustionHandlerTest, CallsAreBounded) {
  auto heap = NewHeap(WithHandler([](const Exhaustion&) { return ExhaustionAction::kRetry; }));
  Mutator mutator(*heap);
  EXPECT_EQ(mutator.TryNewArray<char>(4 * kMiB).status().code(),
            absl::StatusCode::kResourceExhausted);
  ASSERT_EQ(calls_.size(), static_cast<size_t>(Options::kMostExhaustionCalls));
  for (size_t i = 0; i < calls_.size(); ++i) EXPECT_EQ(calls_[i].attempt, static_cast<int>(i));
  EXPECT_TRUE(mutator.TryNew<Node>().ok());
}

// Many shares of roots ask for helpers at once; there are none, or none can be started.
TEST(NoHelpersTest, ManyRootsAreForwardedByTheLeaderAlone) {
  for (int workers : {1, 2}) {
    platform::FakeSystem fake;
    fake.FailEvery(platform::Call::kStartThread, 1);
    Options options;
    options.read_environment = false;
    options.system = &fake;
    options.max_bytes = 16 << 20;
    options.workers = workers;
    options.collector = CollectorUnderTest();
    auto heap = NewHeap(options);
    Mutator mutator(*heap);
    std::vector<Persistent<Node>> roots;
    Local<Node> last(mutator);
    for (int64_t i = 0; i < 12'000; ++i) {
      last = mutator.New<Node>(last, nullptr, i);
      roots.emplace_back(*heap, last);
    }
    ASSERT_TRUE(heap->Collect().ok());
    const absl::Status status = heap->Verify();
    EXPECT_TRUE(status.ok()) << status;
    for (int64_t i = 0; i < 12'000; ++i) ASSERT_EQ(roots[i]->value, i);
  }
}

// What a cycle frees is given back also when the allocation that ran it succeeds at once. Before it
// is, there is room for 16 MiB beside it; a concurrent cycle lets the mutator take some of that.
TEST(ReleaseTest, DeadLargeObjectsAreReleasedByTheCycleOfAnAllocation) {
  Options options;
  options.read_environment = false;
  options.max_bytes = 64 << 20;
  options.collector = CollectorUnderTest();
  auto heap = NewHeap(options);
  Mutator mutator(*heap);
  mutator.NewArray<int64_t>(6 << 20);  // 48 MiB, dead at once
  Local<Node> list(mutator);
  while (heap->stats().collections < 1) list = mutator.New<Node>(list);
  EXPECT_EQ(heap->stats().large_bytes, 0);
  // The collector thread counts its cycle, and then gives back.
  const Blocking blocking(mutator);
  const absl::Time end = absl::Now() + absl::Seconds(IsConcurrent(*heap) ? 60 : 0);
  while (heap->stats().heap_bytes >= 48 << 20 && absl::Now() < end) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_LT(heap->stats().heap_bytes, 48 << 20);
}

class SlowToDiscard : public FakeSystem {
 public:
  absl::Status Discard(platform::AddressRange range, absl::string_view purpose) override {
    absl::SleepFor(absl::Milliseconds(5));
    return FakeSystem::Discard(range, purpose);
  }
};

// A thread whose own cycle frees nothing, because another one has just freed it all, waits until
// that has been given back.
TEST(ReleaseTest, WhatAnotherThreadGivesBackIsWaitedFor) {
  constexpr int kPlayers = 3;
  SlowToDiscard system;
  Options options = SmallHeap(64 * kMiB);
  options.system = &system;
  auto heap = NewHeap(options);
  std::atomic<int> at_work = kPlayers;
  std::vector<std::thread> threads;
  for (int player = 0; player < kPlayers; ++player) {
    threads.emplace_back([&] {
      Mutator mutator(*heap);
      for (int i = 0; i < 200; ++i) {
        const auto array = mutator.TryNewArray<char>(4 * kMiB);
        EXPECT_TRUE(array.ok()) << array.status();
      }
      --at_work;
    });
  }
  while (at_work != 0) EXPECT_TRUE(heap->Collect().ok());
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace ebb
