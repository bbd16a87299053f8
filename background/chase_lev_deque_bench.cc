// What a ChaseLevDeque costs its owner, alone and with thieves, and what a theft costs.

#include <cstdint>
#include <optional>

#include "background/chase_lev_deque.h"
#include "benchmark/benchmark.h"

namespace ebb::background {
namespace {

constexpr size_t kMaxCapacity = 1 << 22;

// A push and a take, in runs of the given length: 1 competes for the last element each time.
void BM_PushTake(benchmark::State& state) {
  ChaseLevDeque deque(1024, kMaxCapacity);
  const int64_t run = state.range(0);
  for (auto _ : state) {
    for (int64_t i = 0; i < run; ++i) benchmark::DoNotOptimize(deque.Push(i));
    for (int64_t i = 0; i < run; ++i) benchmark::DoNotOptimize(deque.Take());
  }
  state.SetItemsProcessed(state.iterations() * run);
}
BENCHMARK(BM_PushTake)->Arg(1)->Arg(16)->Arg(1024);

// Growth from 1,024 to 1,048,576 elements, and freeing.
void BM_Grow(benchmark::State& state) {
  ChaseLevDeque deque(1024, kMaxCapacity);
  constexpr int64_t kElements = 1 << 20;
  for (auto _ : state) {
    for (int64_t i = 0; i < kElements; ++i) benchmark::DoNotOptimize(deque.Push(i));
    while (deque.Take().has_value()) {
    }
    deque.ResetWhenQuiescent();
  }
  state.SetItemsProcessed(state.iterations() * kElements);
}
BENCHMARK(BM_Grow)->Unit(benchmark::kMillisecond);

void BM_StealAlone(benchmark::State& state) {
  ChaseLevDeque deque(1024, kMaxCapacity);
  for (auto _ : state) {
    benchmark::DoNotOptimize(deque.Push(1));
    benchmark::DoNotOptimize(deque.Steal());
  }
}
BENCHMARK(BM_StealAlone);

// Thread 0 owns the deque, the others steal from it; time is per push and take of the owner.
void BM_PushTakeWithThieves(benchmark::State& state) {
  static ChaseLevDeque* deque = new ChaseLevDeque(1024, kMaxCapacity);
  int64_t stolen = 0;
  for (auto _ : state) {
    if (state.thread_index() == 0) {
      for (int i = 0; i < 16; ++i) benchmark::DoNotOptimize(deque->Push(i));
      for (int i = 0; i < 16; ++i) benchmark::DoNotOptimize(deque->Take());
    } else {
      stolen += deque->Steal().has_value();
    }
  }
  if (state.thread_index() == 0) state.SetItemsProcessed(state.iterations() * 16);
  state.counters["stolen"] = static_cast<double>(stolen);
}
BENCHMARK(BM_PushTakeWithThieves)->Threads(2)->UseRealTime();

}  // namespace
}  // namespace ebb::background
