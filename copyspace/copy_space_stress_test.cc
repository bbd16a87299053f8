// Threads allocate, and in pauses evacuate, while a background thread ticks, shrinks, expands and
// gives reserve regions back. Contents are stamped. EBB_SOAK lengthens it.

#include <atomic>
#include <barrier>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "copyspace/bump_allocator.h"
#include "copyspace/space_for_test.h"
#include "gtest/gtest.h"

namespace ebb::copyspace {
namespace {

constexpr int kThreads = 3;
constexpr size_t kSize = 512;
constexpr size_t kKeep = 300;

struct Thread {
  BumpAllocator allocator;
  std::vector<uintptr_t> objects;  // header addresses; the header word holds the stamp
  uint64_t stamp = 0;
};

bool Intact(uintptr_t object) {
  const uint64_t* words = reinterpret_cast<const uint64_t*>(object);
  for (size_t i = 1; i < kSize / 8; ++i) {
    if (words[i] != words[0] + i) return false;
  }
  return true;
}

uintptr_t Take(CopySpace& space, BumpAllocator& allocator, AcquirePurpose purpose) {
  uintptr_t memory = allocator.TryAllocate(kSize);
  if (memory != 0 || !allocator.Refill(space, purpose, kSize)) return memory;
  return allocator.TryAllocate(kSize);
}

// Until the space is full; keeps the last kKeep objects.
void Allocate(CopySpace& space, Thread& thread, int most) {
  for (int i = 0; i < most; ++i) {
    const uintptr_t memory = Take(space, thread.allocator, AcquirePurpose::kMutator);
    if (memory == 0) break;
    uint64_t* words = reinterpret_cast<uint64_t*>(memory);
    words[0] = ++thread.stamp << 8;
    for (size_t w = 1; w < kSize / 8; ++w) words[w] = words[0] + w;
    if (thread.objects.size() < kKeep) {
      thread.objects.push_back(memory);
    } else {
      thread.objects[thread.stamp % kKeep] = memory;
    }
  }
  thread.allocator.Close(space);
}

void Evacuate(CopySpace& space, Thread& thread, std::atomic<int>& errors) {
  for (uintptr_t& object : thread.objects) {
    if (!Intact(object)) errors.fetch_add(1);
    const uintptr_t memory = Take(space, thread.allocator, AcquirePurpose::kEvacuation);
    if (memory == 0) {
      space.RetainRegionOf(object + 8);
      continue;
    }
    std::memcpy(reinterpret_cast<void*>(memory), reinterpret_cast<void*>(object), kSize);
    object = memory;
  }
  thread.allocator.Close(space);
}

void Tick(CopySpace& space, std::atomic<int>& errors) {
  space.AdvancePageOutAges();
  if (!space.Shrink(kBlockSize * 2).ok()) errors.fetch_add(1);
  space.Expand(kBlockSize);
  if (!space.PageOutNow(kBlockSize).ok()) errors.fetch_add(1);
  if (!space.DiscardReserve().ok()) errors.fetch_add(1);
  if (!space.DiscardOldest().ok()) errors.fetch_add(1);
}

absl::Duration Length() {
  int seconds = 0;
  const char* soak = std::getenv("EBB_SOAK");
  if (soak != nullptr && absl::SimpleAtoi(soak, &seconds)) return absl::Seconds(seconds);
  return absl::Seconds(2);
}

TEST(CopySpaceStress, AllocateEvacuateAndPageOut) {
  SpaceForTest space(platform::MiB(5), {.overdraft = platform::KiB(512)});
  std::vector<Thread> threads(kThreads);
  std::atomic<int> errors = 0;
  std::atomic<bool> done = false;
  const absl::Time end = absl::Now() + Length();

  // The barrier's completion runs with all threads stopped: Flip and FinishCycle in turn.
  int phase = 0;
  int cycles = 0;
  std::barrier barrier(kThreads, [&]() noexcept {
    if (phase == 0) {
      space->Flip(space.stopped());
    } else {
      if (!space->CheckInvariants().ok()) errors.fetch_add(1);
      space->FinishCycle(space.stopped());
      if (!space->CheckInvariants().ok()) errors.fetch_add(1);
      ++cycles;
      if (absl::Now() >= end) done.store(true);
    }
    phase = 1 - phase;
  });
  std::thread background([&] {
    while (!done.load()) Tick(*space, errors);
  });
  std::vector<std::thread> mutators;
  for (Thread& thread : threads) {
    mutators.emplace_back([&] {
      while (!done.load()) {
        Allocate(*space, thread, 4000);
        barrier.arrive_and_wait();
        Evacuate(*space, thread, errors);
        barrier.arrive_and_wait();
      }
    });
  }
  for (std::thread& mutator : mutators) mutator.join();
  background.join();
  EXPECT_EQ(errors.load(), 0);
  EXPECT_GT(cycles, 3);
  EXPECT_EQ(space->CheckInvariants(), absl::OkStatus());
  for (const Thread& thread : threads) {
    for (const uintptr_t object : thread.objects) EXPECT_TRUE(Intact(object));
  }
}

}  // namespace
}  // namespace ebb::copyspace
