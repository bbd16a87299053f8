// What a store of a reference costs with a nursery: of an old value, of a young one into an old
// object for the first time since a minor cycle (it is logged), and again (it has been).

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/log/check.h"
#include "benchmark/benchmark.h"
#include "heap/ebb.h"
#include "platform/clock.h"

namespace ebb {
namespace {

struct Value {
  int64_t number = 0;
};

// Large, so old from the beginning.
constexpr size_t kFields = 16'384;

class Stores {
 public:
  Stores() {
    CHECK_OK(heap_->Collect(CollectKind::kWhole));
    CHECK_OK(heap_->Collect(CollectKind::kWhole));
  }

  // Forgets which edges were logged.
  void RunMinorCycle() {
    Fill(old_);
    CHECK_OK(heap_->Collect(CollectKind::kMinor));
    young_ = mutator_.New<Value>();
  }
  // `value` into each field; nanoseconds a store.
  double Time(bool young) {
    const Ref<Value> value = young ? young_ : old_;
    Field<Value>* const fields = array_->data();
    const int64_t start = platform::MonotonicNanos();
    for (size_t i = 0; i < kFields; ++i) fields[i] = value;
    return static_cast<double>(platform::MonotonicNanos() - start) / kFields;
  }

 private:
  void Fill(const Local<Value>& value) {
    for (size_t i = 0; i < kFields; ++i) (*array_)[i] = value;
  }

  std::unique_ptr<Heap> heap_ =
      *Heap::Create({.max_bytes = 64 << 20, .collector = Collector::kGenerational});
  Mutator mutator_{*heap_};
  Local<Value> old_{mutator_, mutator_.New<Value>()};
  Local<Value> young_{mutator_, nullptr};
  Local<RefArray<Value>> array_{mutator_, mutator_.NewRefArray<Value>(kFields)};
};

enum Kind { kOldValue, kLogged, kLoggedBefore };

void BM_Store(benchmark::State& state) {
  Stores stores;
  for (auto _ : state) {
    stores.RunMinorCycle();
    if (state.range(0) == kLoggedBefore) stores.Time(/*young=*/true);
    state.SetIterationTime(stores.Time(state.range(0) != kOldValue) * 1e-9);
  }
}
BENCHMARK(BM_Store)
    ->ArgName("old_logged_again")
    ->Arg(kOldValue)
    ->Arg(kLogged)
    ->Arg(kLoggedBefore)
    ->UseManualTime()
    ->Iterations(2'000);

}  // namespace
}  // namespace ebb
