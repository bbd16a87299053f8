// What the allocation fast path, a refill, and an uncontended forwarding cost.

#include <memory>

#include "benchmark/benchmark.h"
#include "copyspace/bump_allocator.h"
#include "copyspace/forwarding_word.h"
#include "copyspace/space_for_test.h"

namespace ebb::copyspace {
namespace {

// Objects of 32 bytes, with refills and flips: nothing survives.
void BM_TryAllocate(benchmark::State& state) {
  SpaceForTest space(platform::MiB(32));
  BumpAllocator allocator;
  for (auto _ : state) {
    uintptr_t object = allocator.TryAllocate(32);
    if (object == 0) {
      if (!allocator.Refill(*space, AcquirePurpose::kMutator, 32)) {
        space->Flip(space.stopped());
        space->FinishCycle(space.stopped());
        allocator.Refill(*space, AcquirePurpose::kMutator, 32);
      }
      object = allocator.TryAllocate(32);
    }
    benchmark::DoNotOptimize(object);
  }
  allocator.Close(*space);
}
BENCHMARK(BM_TryAllocate);

void BM_AcquireReturn(benchmark::State& state) {
  static std::unique_ptr<SpaceForTest> space;
  if (state.thread_index() == 0) space = std::make_unique<SpaceForTest>(platform::MiB(32));
  for (auto _ : state) {
    Block* block = (*space)->AcquireBlock(AcquirePurpose::kMutator, Bytes(32));
    (*space)->ReturnBlock(block, 0);
  }
  if (state.thread_index() == 0) space.reset();
}
BENCHMARK(BM_AcquireReturn)->Threads(1)->Threads(2);

void BM_ClaimAndCommit(benchmark::State& state) {
  alignas(8) uint64_t object[2];
  ForwardingWord& word = ForwardingWord::Of(reinterpret_cast<Reference>(&object[1]));
  for (auto _ : state) {
    word.Initialize(0x1000);
    ForwardingWord::Snapshot seen = word.Load();
    benchmark::DoNotOptimize(word.TryClaim(seen));
    word.Commit(0x2000);
    benchmark::DoNotOptimize(word.Load());
  }
}
BENCHMARK(BM_ClaimAndCommit);

void FillBlocks(CopySpace& space, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    space.ReturnBlock(space.AcquireBlock(AcquirePurpose::kMutator, Bytes(32)), 64 << 10);
  }
}

// A pause's part of a cycle of a space of `range(0)` full blocks: it does not grow with them.
void BM_Flip(benchmark::State& state) {
  SpaceForTest space(platform::GiB(2), {}, /*slabs=*/32);
  for (auto _ : state) {
    state.PauseTiming();
    FillBlocks(*space, state.range(0));
    state.ResumeTiming();
    space->Flip(space.stopped());
    state.PauseTiming();
    space->FinishCycleConcurrently();
    state.ResumeTiming();
  }
}
BENCHMARK(BM_Flip)->Arg(64)->Arg(8192);

// All of it, nothing survives.
void BM_FlipAndFinish(benchmark::State& state) {
  SpaceForTest space(platform::GiB(2), {}, /*slabs=*/32);
  for (auto _ : state) {
    state.PauseTiming();
    FillBlocks(*space, state.range(0));
    state.ResumeTiming();
    space->Flip(space.stopped());
    space->FinishCycle(space.stopped());
  }
}
BENCHMARK(BM_FlipAndFinish)->Arg(64)->Arg(8192);

}  // namespace
}  // namespace ebb::copyspace
