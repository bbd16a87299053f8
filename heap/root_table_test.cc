// RootTable: the contract, and threads beside a scan.

#include "heap/root_table.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <random>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace ebb::internal {
namespace {

constexpr size_t kSlotsPerChunk = RootTable::kSlotsPerChunk;

std::vector<uintptr_t> Values(RootTable& table) {
  std::vector<uintptr_t> values;
  const RootTable::Scan scan(table);
  for (size_t i = 0; i < scan.chunk_count(); ++i) {
    scan.VisitChunk(i, [&](std::atomic<uintptr_t>& slot) {
      // Relaxed: numbers that publish nothing.
      values.push_back(slot.load(std::memory_order_relaxed));
    });
  }
  std::sort(values.begin(), values.end());
  return values;
}

TEST(RootTableTest, ScanMeetsWhatIsInUseAndNotNull) {
  RootTable* table = RootTable::New();
  RootSlot* a = table->Acquire();
  RootSlot* b = table->Acquire();
  RootSlot* c = table->Acquire();
  EXPECT_EQ(a->Load(), 0u);
  a->Store(16);
  b->Store(32);
  RootSlot* d = RootTable::Duplicate(b);
  EXPECT_EQ(Values(*table), (std::vector<uintptr_t>{16, 32, 32}));
  EXPECT_EQ(table->slots_in_use(), 4);
  RootTable::Release(b);
  EXPECT_EQ(Values(*table), (std::vector<uintptr_t>{16, 32}));
  for (RootSlot* slot : {a, c, d}) RootTable::Release(slot);
  EXPECT_TRUE(Values(*table).empty());
  EXPECT_EQ(table->slots_in_use(), 0);
  table->Disown();
}

TEST(RootTableTest, ScanMayChangeValues) {
  RootTable* table = RootTable::New();
  RootSlot* slot = table->Acquire();
  slot->Store(16);
  {
    const RootTable::Scan scan(*table);
    scan.VisitChunk(0, [](std::atomic<uintptr_t>& bits) {
      bits.store(48, std::memory_order_relaxed);  // read by this thread
    });
  }
  EXPECT_EQ(slot->Load(), 48u);
  RootTable::Release(slot);
  table->Disown();
}

TEST(RootTableTest, GrowsByChunksAndReusesSlots) {
  RootTable* table = RootTable::New();
  std::vector<RootSlot*> slots;
  for (size_t i = 0; i < 3 * kSlotsPerChunk; ++i) {
    slots.push_back(table->Acquire());
    slots.back()->Store(8 * (i + 1));
  }
  EXPECT_EQ(RootTable::Scan(*table).chunk_count(), 3u);
  EXPECT_EQ(Values(*table).size(), slots.size());
  for (RootSlot* slot : slots) RootTable::Release(slot);
  for (RootSlot*& slot : slots) {
    slot = table->Acquire();
    EXPECT_EQ(slot->Load(), 0u);
  }
  EXPECT_EQ(RootTable::Scan(*table).chunk_count(), 3u);
  for (RootSlot* slot : slots) RootTable::Release(slot);
  table->Disown();
}

TEST(RootTableTest, ClearedSlotsAreStillRoots) {
  RootTable* table = RootTable::New();
  RootSlot* slot = table->Acquire();
  slot->Store(16);
  table->Clear();
  EXPECT_EQ(slot->Load(), 0u);
  slot->Store(24);
  EXPECT_EQ(Values(*table), (std::vector<uintptr_t>{24}));
  RootTable::Release(slot);
  table->Clear();  // without a slot in use the table is still the heap's
  EXPECT_EQ(table->slots_in_use(), 0);
  table->Disown();
}

// The last slot frees the table; AddressSanitizer sees if it is freed too early or not at all.
TEST(RootTableTest, SlotsOutliveTheHeap) {
  RootTable* table = RootTable::New();
  RootSlot* a = table->Acquire();
  a->Store(16);
  table->Disown();
  EXPECT_EQ(a->Load(), 0u);
  RootSlot* b = RootTable::Duplicate(a);
  EXPECT_EQ(b->Load(), 0u);
  RootTable::Release(a);
  EXPECT_EQ(b->Load(), 0u);
  RootTable::Release(b);
}

TEST(RootTableTest, DisownRacesWithTheLastRelease) {
  for (int i = 0; i < 200; ++i) {
    RootTable* table = RootTable::New();
    std::vector<std::thread> threads;
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([slot = table->Acquire()] {
        RootTable::Release(RootTable::Duplicate(slot));
        RootTable::Release(slot);
      });
    }
    table->Disown();
    for (std::thread& thread : threads) thread.join();
  }
}

// No scan meets the link of a free slot, or a slot that is half made.
TEST(RootTableTest, ThreadsAcquireDuplicateAndReleaseWhileScanned) {
  RootTable* table = RootTable::New();
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  for (uint64_t t = 1; t <= 3; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t);
      RootSlot* home = table->Acquire();
      home->Store(16 * t);
      std::vector<RootSlot*> slots;
      while (!stop.load(std::memory_order_relaxed)) {  // publishes nothing
        if (slots.empty() || random() % 2 == 0) {
          slots.push_back(RootTable::Duplicate(home));
          EXPECT_EQ(slots.back()->Load() % (16 * t), 0u);
        } else {
          RootTable::Release(slots.back());
          slots.pop_back();
        }
      }
      slots.push_back(home);
      for (RootSlot* slot : slots) RootTable::Release(slot);
    });
  }
  for (int i = 0; i < 500; ++i) {
    for (uintptr_t value : Values(*table)) {
      ASSERT_TRUE(value == 16 || value == 32 || value == 48) << value;
    }
  }
  stop.store(true, std::memory_order_relaxed);  // publishes nothing
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(table->slots_in_use(), 0);
  table->Disown();
}

}  // namespace
}  // namespace ebb::internal
