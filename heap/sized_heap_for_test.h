// What the tests of heaps' sizes share: a heap of which one thing after the other is set, on a
// system that says what it is told to say; and objects that soon fill it.

#ifndef EBB_HEAP_SIZED_HEAP_FOR_TEST_H_
#define EBB_HEAP_SIZED_HEAP_FOR_TEST_H_

#include <cstdint>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "heap/heap_for_test.h"
#include "platform/bytes.h"
#include "platform/fake_system.h"

namespace ebb {

inline constexpr int64_t kMiB = int64_t{1} << 20;

// Large enough that a heap is soon full.
struct Leaf {
  Field<Leaf> left;
  int64_t words[30];
};
inline constexpr int64_t kLeafBytes = 256;
static_assert(sizeof(Leaf) + 8 == kLeafBytes);

class SizedHeapTest : public ::testing::Test {
 protected:
  SizedHeapTest() {
    options_.read_environment = false;
    options_.system = &system_;
    options_.collector = CollectorUnderTest();
    options_.nursery_bytes = kMiB;
    options_.max_bytes = 256 * kMiB;
    options_.page_out_tick = absl::Milliseconds(10);
    system_.SetMemoryLimit(platform::MiB(16 << 10));
    system_.SetMemoryPressure(0);
  }

  // A list of about `bytes`.
  static Ref<Leaf> List(Mutator& mutator, int64_t bytes) {
    Local<Leaf> first(mutator);
    for (int64_t i = 0; i < bytes / kLeafBytes; ++i) first = mutator.New<Leaf>(first);
    return first;
  }
  // Until `holds`, or for ten seconds.
  template <typename Condition>
  static bool Eventually(Condition holds) {
    for (int i = 0; i < 1'000; ++i) {
      if (holds()) return true;
      absl::SleepFor(absl::Milliseconds(10));
    }
    return false;
  }

  platform::FakeSystem system_;
  Options options_;
};

}  // namespace ebb

#endif  // EBB_HEAP_SIZED_HEAP_FOR_TEST_H_
