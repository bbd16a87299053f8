// Threads allocate, and in pauses evacuate, while a background thread ticks, shrinks, expands and
// gives reserve regions back; cycles end in a pause or beside the threads. Contents are stamped.
// EBB_SOAK lengthens it.

#include <atomic>
#include <barrier>
#include <cstdlib>
#include <cstring>
#include <random>
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

  // The barrier's completion runs with all threads stopped: Flip and FinishCycle in turn. Every
  // other cycle that may do so ends later, while the first thread waits for it and the others
  // allocate.
  int phase = 0;
  int cycles = 0;
  bool finish_later = false;
  std::barrier barrier(kThreads, [&]() noexcept {
    EXPECT_EQ(space->CheckInvariants(), absl::OkStatus());
    if (phase == 0) {
      space->Flip(space.stopped());
    } else {
      finish_later = cycles % 2 == 0 && space->CanFinishConcurrently();
      if (!finish_later) space->FinishCycle(space.stopped());
      EXPECT_EQ(space->CheckInvariants(), absl::OkStatus());
      ++cycles;
      if (!finish_later && absl::Now() >= end) done.store(true);
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
        if (finish_later && &thread == &threads[0]) space->FinishCycleConcurrently();
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

// Blocks come and go while a cycle of several batches is finished. Nothing is evacuated: what is
// asked is that no block is given to two threads, and none is lost.
class BlockTraffic {
 public:
  explicit BlockTraffic(CopySpace& space) : space_(space) {}

  void Run(uint32_t seed) {
    std::mt19937 random(seed);
    while (!done_.load()) {
      if (pausing_.load()) Stop();
      Block* block = space_.AcquireBlock(AcquirePurpose::kMutator, Bytes(16));
      if (block == nullptr) {
        std::this_thread::yield();
        continue;
      }
      const int region = space_.active_region();
      const uint32_t before = block->used(region);
      // Plain accesses: ThreadSanitizer knows a second owner, or one of a from-space region.
      auto& word = *reinterpret_cast<uint64_t*>(block->region_begin(region) + before);
      word = reinterpret_cast<uintptr_t>(&random) + before;
      constexpr uint32_t kRoom = 64 << 10;
      const uint32_t left = kRoom - before;
      const uint32_t taken[] = {0, left / 16 * 8, left};
      const uint32_t used = before + taken[random() % 3];
      if (word != reinterpret_cast<uintptr_t>(&random) + before) errors_.fetch_add(1);
      if (used == before) word = 0;  // inv.known-zero
      space_.ReturnBlock(block, used);
    }
  }
  // The threads that run stop for `action`.
  template <typename Action>
  void Pause(Action action) {
    pausing_.store(true);
    barrier_.arrive_and_wait();
    action();
    pausing_.store(false);
    barrier_.arrive_and_wait();
  }
  // From within a pause.
  void End() { done_.store(true); }

  static constexpr int kRunning = 2;
  int errors() const { return errors_.load(); }

 private:
  void Stop() {
    barrier_.arrive_and_wait();
    barrier_.arrive_and_wait();
  }

  CopySpace& space_;
  std::barrier<> barrier_{kRunning + 1};
  std::atomic<bool> pausing_ = false;
  std::atomic<bool> done_ = false;
  std::atomic<int> errors_ = 0;
};

TEST(CopySpaceStress, BlocksComeAndGoWhileACycleIsFinished) {
  // Twelve batches of a concurrent finish, and a request for some of them with every cycle.
  constexpr int kBlocks = 768;
  SpaceForTest space(PriceOf(kBlocks), {.overdraft = kBlockSize * 100}, /*slabs=*/2);
  BlockTraffic traffic(*space);
  std::atomic<int> errors = 0;
  std::atomic<bool> done = false;
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < BlockTraffic::kRunning; ++i) {
    threads.emplace_back([&traffic, i] { traffic.Run(i + 1); });
  }
  threads.emplace_back([&] {
    while (!done.load()) Tick(*space, errors);
  });
  std::mt19937 random(1);
  const absl::Time end = absl::Now() + Length();
  int cycles = 0;
  int64_t flipped = 0;
  int64_t left = 0;  // of these, when the finish began
  for (bool last = false; !last; ++cycles) {
    int64_t flipped_now = 0;
    traffic.Pause([&] {
      EXPECT_EQ(space->CheckInvariants(), absl::OkStatus());
      space->Flip(space.stopped());
      EXPECT_EQ(space->CheckInvariants(), absl::OkStatus());
      flipped_now = space->counts().flipped;
    });
    // The finish meets the traffic anywhere in the cycle. It gets there: who acquires goes on until
    // no block is flipped.
    const int64_t enough = static_cast<int64_t>(random() % (flipped_now + 1));
    while (space->counts().flipped > enough) std::this_thread::yield();
    flipped += flipped_now;
    left += space->counts().flipped;
    if (random() % 4 == 0) {
      traffic.Pause([&] {
        EXPECT_EQ(space->CheckInvariants(), absl::OkStatus());
        space->FinishCycle(space.stopped());
        EXPECT_EQ(space->CheckInvariants(), absl::OkStatus());
      });
    } else {
      space->FinishCycleConcurrently();
    }
    last = absl::Now() >= end;
  }
  traffic.Pause([&] {
    EXPECT_EQ(space->CheckInvariants(), absl::OkStatus());
    traffic.End();
  });
  done.store(true);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(traffic.errors(), 0);
  EXPECT_EQ(errors.load(), 0);
  EXPECT_GT(cycles, 3);
  EXPECT_GT(left, 0) << "no finish found a flipped block";
  EXPECT_LT(left, flipped) << "none was acquired before";
  EXPECT_EQ(space->CheckInvariants(), absl::OkStatus());
}

}  // namespace
}  // namespace ebb::copyspace
