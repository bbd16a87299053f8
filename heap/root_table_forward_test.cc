// RootTable::ForwardBesideMutators: no slot is left behind, whatever happens to slots meanwhile.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <random>
#include <shared_mutex>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"
#include "heap/root_table.h"

namespace ebb::internal {
namespace {

constexpr size_t kSlotsPerChunk = RootTable::kSlotsPerChunk;

// What a slot holds stands for a generation of objects: a flip makes a new one, and what was the
// last one is from-space.
constexpr uintptr_t Bits(uintptr_t generation) { return 16 * generation; }

// Forwards as a cycle does; true if there was something to do. Anything but the last generation or
// this one is a fault.
bool Forward(std::atomic<uintptr_t>& slot, uintptr_t generation) {
  uintptr_t bits = slot.load(std::memory_order_acquire);
  if (bits == Bits(generation)) return false;
  EXPECT_EQ(bits, Bits(generation - 1));
  // Orders as in heap/tracer.cc. Nothing is published here but the number itself.
  return slot.compare_exchange_strong(bits, Bits(generation), std::memory_order_release,
                                      std::memory_order_relaxed);
}

// How many slots hold anything that is not null, and how many of those are not forwarded.
struct Census {
  size_t all = 0;
  size_t left_behind = 0;
};

Census Count(RootTable& table, uintptr_t generation) {
  Census census;
  const RootTable::Scan scan(table);
  for (size_t i = 0; i < scan.chunk_count(); ++i) {
    scan.VisitChunk(i, [&](std::atomic<uintptr_t>& slot) {
      ++census.all;
      // Relaxed: a number that publishes nothing.
      if (slot.load(std::memory_order_relaxed) != Bits(generation)) ++census.left_behind;
    });
  }
  return census;
}

// `all` slots are not null, and those are forwarded.
void ExpectAllForwarded(RootTable& table, uintptr_t generation, size_t all) {
  const Census census = Count(table, generation);
  ASSERT_EQ(census.all, all);
  ASSERT_EQ(census.left_behind, 0u) << "after " << generation - 1 << " passes";
}

std::vector<RootSlot*> AcquireSlots(RootTable& table, size_t count, uintptr_t generation) {
  std::vector<RootSlot*> slots;
  for (size_t i = 0; i < count; ++i) {
    slots.push_back(table.Acquire());
    slots.back()->Store(Bits(generation));
  }
  return slots;
}

void ReleaseAll(const std::vector<RootSlot*>& slots) {
  for (RootSlot* slot : slots) RootTable::Release(slot);
}

TEST(RootTableForwardTest, VisitsNothingInAnEmptyTable) {
  RootTable* table = RootTable::New();
  int visits = 0;
  table->ForwardBesideMutators([&](std::atomic<uintptr_t>&) { ++visits; });
  RootSlot* null = table->Acquire();
  table->ForwardBesideMutators([&](std::atomic<uintptr_t>&) { ++visits; });
  EXPECT_EQ(visits, 0);
  RootTable::Release(null);
  table->Disown();
}

// One visit each: nulls and free slots between them are none, and the last batch may be short.
TEST(RootTableForwardTest, ForwardsEverySlotOnce) {
  for (const size_t count : {size_t{1}, size_t{63}, size_t{64}, size_t{65}, kSlotsPerChunk,
                             kSlotsPerChunk + 1, 3 * kSlotsPerChunk - 1}) {
    SCOPED_TRACE(count);
    RootTable* table = RootTable::New();
    std::vector<RootSlot*> slots = AcquireSlots(*table, count, 1);
    std::vector<RootSlot*> kept;
    size_t not_null = 0;
    for (size_t i = 0; i < count; ++i) {
      if (i % 5 == 4) {
        RootTable::Release(slots[i]);
        continue;
      }
      kept.push_back(slots[i]);
      if (i % 3 == 2) {
        RootTable::StoreNull(slots[i]);
      } else {
        ++not_null;
      }
    }
    size_t visits = 0;
    table->ForwardBesideMutators([&](std::atomic<uintptr_t>& slot) {
      ++visits;
      Forward(slot, 2);
    });
    EXPECT_EQ(visits, not_null);
    ExpectAllForwarded(*table, 2, not_null);
    ReleaseAll(kept);
    table->Disown();
  }
}

// The copy of a slot that is still to be visited, made in one that has been passed already. Each
// pass offers one chance after the other, but a thread that waits for the lock need not get it.
TEST(RootTableForwardTest, ForwardsCopiesMadeBehindItsBack) {
  constexpr size_t kChunks = 16;
  constexpr int kPasses = 200;
  RootTable* table = RootTable::New();
  std::vector<RootSlot*> slots = AcquireSlots(*table, kChunks * kSlotsPerChunk, 1);
  // What is made next lies in the first chunk; what is visited last is the last chunk's first.
  const size_t passed = kSlotsPerChunk - 1;
  RootTable::Release(slots[0]);
  slots.erase(slots.begin());
  RootSlot* last = slots[(kChunks - 1) * kSlotsPerChunk - 1];
  bool behind = false;
  for (uintptr_t generation = 2; generation < 2 + kPasses && !behind; ++generation) {
    absl::Notification first_chunk_passed;
    std::thread copier([&] {
      first_chunk_passed.WaitForNotification();
      slots.push_back(RootTable::Duplicate(last));
    });
    size_t visits = 0;
    size_t forwarded = 0;
    table->ForwardBesideMutators([&](std::atomic<uintptr_t>& slot) {
      if (++visits == passed) first_chunk_passed.Notify();
      if (visits > passed) std::this_thread::yield();
      if (Forward(slot, generation)) ++forwarded;
    });
    copier.join();
    ASSERT_NO_FATAL_FAILURE(ExpectAllForwarded(*table, generation, slots.size()));
    // One more than there were slots: the copy, made while its model was not yet forwarded.
    behind = forwarded == slots.size();
    RootTable::Release(slots.back());
    slots.pop_back();
  }
  EXPECT_TRUE(behind) << "no copy was made in time in any of " << kPasses << " passes";
  ReleaseAll(slots);
  table->Disown();
}

// A copy that was made meanwhile and given back, perhaps made into something else, before its turn.
TEST(RootTableForwardTest, SlotsComeAndGoMeanwhile) {
  constexpr size_t kThreads = 3;
  constexpr uintptr_t kPasses = 300;
  RootTable* table = RootTable::New();
  const std::vector<RootSlot*> ballast = AcquireSlots(*table, 4 * kSlotsPerChunk, 1);
  std::atomic<uintptr_t> generation = 1;
  std::atomic<bool> stop = false;
  // A flip is a pause: shared by a thread while it stores what it knows to be of this generation.
  std::shared_mutex pause;
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t);
      std::vector<RootSlot*> slots;
      while (!stop.load(std::memory_order_relaxed)) {  // publishes nothing
        const size_t choice = random() % 8;
        if (choice < 4) {
          slots.push_back(RootTable::Duplicate(ballast[random() % ballast.size()]));
        } else if (choice == 4) {
          const std::shared_lock lock(pause);
          slots.push_back(table->Acquire());
          // Relaxed: the lock orders it after the store.
          slots.back()->Store(Bits(generation.load(std::memory_order_relaxed)));
        } else if (choice == 5) {
          slots.push_back(table->Acquire());
          if (random() % 2 == 0) RootTable::StoreNull(slots[random() % slots.size()]);
        }
        while (slots.size() > 64 || (choice > 5 && !slots.empty())) {
          std::swap(slots[random() % slots.size()], slots.back());
          RootTable::Release(slots.back());
          slots.pop_back();
          if (random() % 4 == 0) break;
        }
      }
      ReleaseAll(slots);
    });
  }
  for (uintptr_t now = 2; now < 2 + kPasses; ++now) {
    {
      const std::lock_guard lock(pause);
      generation.store(now, std::memory_order_relaxed);  // the lock publishes it
    }
    table->ForwardBesideMutators([&](std::atomic<uintptr_t>& slot) { Forward(slot, now); });
    const Census census = Count(*table, now);
    EXPECT_GE(census.all, ballast.size());
    ASSERT_EQ(census.left_behind, 0u) << "in pass " << now - 1;
  }
  stop.store(true, std::memory_order_relaxed);  // publishes nothing
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(table->slots_in_use(), static_cast<int64_t>(ballast.size()));
  ReleaseAll(ballast);
  table->Disown();
}

}  // namespace
}  // namespace ebb::internal
