// When the memory of cells is given back.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"

namespace ebb::rc {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kManyBytes = 64 << 20;

std::vector<Ptr<Link>> MakeLinks(int64_t count) {
  std::vector<Ptr<Link>> links;
  for (int64_t i = 0; i < count; ++i) links.push_back(MakePtr<Link>());
  return links;
}

TEST(CellsTest, AreGivenBackWhenADetectionEnds) {
  Counting c(DomainOptions(), kManyBytes);
  std::vector<Ptr<Link>> links = MakeLinks(100'000);
  links.clear();
  EXPECT_GE(c.domain.stats().cells, 100'000);
  Collect(c);
  EXPECT_LT(c.domain.stats().cells, 20'000);
  links = MakeLinks(100'000);
  for (size_t i = 0; i < links.size(); ++i) links[i]->value = static_cast<int64_t>(i);
  EXPECT_EQ(Collect(c).visited, 100'000);
  EXPECT_TRUE(c.heap->Verify().ok());
  for (size_t i = 0; i < links.size(); ++i) ASSERT_EQ(links[i]->value, static_cast<int64_t>(i));
}

TEST(CellsTest, AreKeptForWhatMayBeMadeUntilTheNextDetection) {
  Counting c({.detect_after = 100'000}, kManyBytes);
  MakeLinks(300'000);
  Collect(c);
  EXPECT_GE(c.domain.stats().cells, 100'000);
  EXPECT_LT(c.domain.stats().cells, 120'000);
  ASSERT_TRUE(c.domain.SetThresholds(0, 0.5).ok());
  const std::vector<Ptr<Link>> links = MakeLinks(80'000);
  Collect(c);
  EXPECT_GE(c.domain.stats().cells, 100'000);
  MakeLinks(100'000);
  Collect(c);
  EXPECT_GE(c.domain.stats().cells, 120'000);
  EXPECT_LT(c.domain.stats().cells, 140'000);
}

TEST(CellsTest, AreGivenBackOnRequest) {
  Counting c(DomainOptions(), kManyBytes);
  std::vector<Ptr<Link>> links = MakeLinks(300'000);
  const int64_t cells = c.domain.stats().cells;
  EXPECT_EQ(*c.domain.TrimCells(), 0);
  links.clear();
  EXPECT_EQ(*c.domain.TrimCells(), cells);
  EXPECT_EQ(c.domain.stats().cells, 0);
  EXPECT_EQ(*c.domain.TrimCells(), 0);
  links = MakeLinks(100'000);
  EXPECT_EQ(Collect(c).visited, 100'000);
}

// The heap gets back what the addresses took, too.
TEST(CellsTest, LeaveNothingInTheHeap) {
  Counting c(DomainOptions(), kManyBytes);
  MakeLinks(300'000);
  EXPECT_GE(c.heap->stats().large_bytes, 300'000 * int64_t{sizeof(void*)});
  ASSERT_TRUE(c.domain.TrimCells().ok());
  ASSERT_TRUE(c.heap->Collect().ok());
  EXPECT_EQ(c.heap->stats().large_bytes, 0);
}

// A reference of whichever kind keeps a cell, and with it its neighbours'.
TEST(CellsTest, ThatAreInUseStay) {
  Counting c(DomainOptions(), kManyBytes);
  std::vector<Ptr<Link>> links = MakeLinks(300'000);
  std::vector<Ptr<Link>> kept;
  std::vector<Weak<Link>> weak;
  for (size_t i = 10'000; i < links.size(); i += 100'000) {
    links[i]->value = static_cast<int64_t>(i);
    kept.push_back(links[i]);
    weak.emplace_back(links[i + 50'000]);
  }
  links.clear();
  ASSERT_TRUE(c.domain.TrimCells().ok());
  EXPECT_EQ(c.domain.stats().cells, 6 * 8'176);
  for (size_t i = 0; i < kept.size(); ++i) {
    EXPECT_EQ(kept[i]->value, static_cast<int64_t>(10'000 + i * 100'000));
    EXPECT_EQ(weak[i].Upgrade(), nullptr);
  }
  links = MakeLinks(100'000);
  EXPECT_EQ(Collect(c).visited, static_cast<int64_t>(100'000 + kept.size()));
}

TEST(CellsTest, AtOtherThreadsHandStay) {
  Counting c(DomainOptions(), kManyBytes);
  absl::Notification made, trimmed;
  std::thread other([&] {
    Mutator mutator(*c.heap);
    Owner owner(c.domain, mutator);
    MakePtr<Link>();
    {
      const Blocking blocking(mutator);
      made.Notify();
      trimmed.WaitForNotification();
    }
    EXPECT_EQ(MakePtr<Link>(nullptr, nullptr, 5)->value, 5);
  });
  {
    const Blocking blocking(c.mutator);
    made.WaitForNotification();
  }
  EXPECT_EQ(*c.domain.TrimCells(), 0);
  EXPECT_EQ(c.domain.stats().cells, 8'176);
  {
    const Blocking blocking(c.mutator);
    trimmed.Notify();
    other.join();
  }
  EXPECT_EQ(*c.domain.TrimCells(), 8'176);
}

TEST(CellsTest, AreNotGivenBackWhereNoDetectionMayBe) {
  Counting c;
  Ptr<Link> link = MakePtr<Link>();
  EXPECT_TRUE(c.domain
                  .VisitObjects([&](const AnyPtr&) {
                    EXPECT_EQ(c.domain.TrimCells().status().code(),
                              absl::StatusCode::kFailedPrecondition);
                    return true;
                  })
                  .ok());
  const NoSafepoint scope(c.mutator);
  const absl::Status status = c.domain.TrimCells().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("ebb::rc::Domain::TrimCells"));
}

// Who may use the domain without a turn to detect.
TEST(CellsTest, AreGivenBackWhileOthersFreeze) {
  Counting c(DomainOptions(), kManyBytes);
  std::atomic<bool> stop = false;
  std::atomic<int> rounds = 0;
  std::thread freezer([&] {
    while (!stop.load(std::memory_order_relaxed)) {  // publishes nothing
      EXPECT_TRUE(c.domain.Freeze().ok());
      c.domain.Unfreeze();
      rounds.fetch_add(1, std::memory_order_relaxed);  // as above
    }
  });
  for (int i = 0; i < 10 || rounds.load(std::memory_order_relaxed) < 2; ++i) {  // as above
    MakeLinks(30'000);
    EXPECT_GE(*c.domain.TrimCells(), 3 * 8'176);
  }
  stop.store(true, std::memory_order_relaxed);  // publishes nothing
  const Blocking blocking(c.mutator);
  freezer.join();
}

// Threads make, hand over, and drop, with an Owner and without, while one detects and trims.
TEST(CellsTest, AreGivenBackBesideOthers) {
  Counting c({.detect_after = 0, .detect_share = 0}, kManyBytes);
  constexpr int kThreads = 3;
  constexpr int kRounds = 10;
  absl::Mutex mu;
  std::vector<Ptr<Link>> handed_over;
  std::atomic<int> running = kThreads;
  const auto make = [&](int64_t stamp) {
    for (int round = 0; round < kRounds; ++round) {
      std::vector<Ptr<Link>> others;
      {
        Mutator mutator(*c.heap);
        Owner owner(c.domain, mutator);
        std::vector<Ptr<Link>> links;
        for (int i = 0; i < 10'000; ++i) {
          links.push_back(MakePtr<Link>(nullptr, nullptr, stamp));
          if (i % 10 == 0) links.back()->next = links.back();
        }
        const Weak<Link> weak = links.back();
        for (Ptr<Link>& link : links) EXPECT_EQ(std::exchange(link->value, 0), stamp);
        {
          absl::MutexLock lock(&mu);
          others = std::exchange(handed_over, std::move(links));
        }
        if (Ptr<Link> upgraded = weak.Upgrade()) {
          EXPECT_EQ(upgraded->value, 0);
        }
        if (round % 2 == 0) others.clear();
      }
      others.clear();  // by a thread that is not attached
    }
    running.fetch_sub(1, std::memory_order_relaxed);  // publishes nothing
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back(make, i + 1);
  while (running.load(std::memory_order_relaxed) > 0) {  // publishes nothing
    Collect(c);
    MakeLinks(100);
    ASSERT_TRUE(c.domain.TrimCells().ok());
  }
  {
    const Blocking blocking(c.mutator);
    for (std::thread& thread : threads) thread.join();
  }
  handed_over.clear();
  while (c.alive() > 0) {
    c.owner.Step();
    Collect(c);
  }
  ASSERT_TRUE(c.domain.TrimCells().ok());
  EXPECT_EQ(c.domain.stats().cells, 0);
  EXPECT_EQ(c.domain.stats().made, c.domain.stats().destroyed);
  EXPECT_TRUE(c.heap->Verify().ok());
}

}  // namespace
}  // namespace ebb::rc
