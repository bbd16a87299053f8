// What the tests of forks with counted objects share.

#ifndef EBB_HEAP_RC_RC_FORK_FOR_TEST_H_
#define EBB_HEAP_RC_RC_FORK_FOR_TEST_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"
#include "heap/fork_for_test.h"
#include "heap/rc/rc.h"

namespace ebb::rc {

struct Link {
  Field<Link> next;
  int64_t value = 0;
};

inline Ptr<Link> Ring(int length) {
  Ptr<Link> first = MakePtr<Link>();
  Ptr<Link> last = first;
  for (int i = 1; i < length; ++i) last = last->next = MakePtr<Link>(nullptr, i);
  last->next = first;
  return first;
}

inline int64_t Alive(const Domain& domain) {
  const DomainStats stats = domain.stats();
  return stats.made - stats.destroyed;
}

class RcForkTest : public testing::TestWithParam<Collector> {
 public:
  static std::string NameOf(const testing::TestParamInfo<Collector>& info) {
    return ForkCase{info.param, Forker::kRuns}.name();
  }

 protected:
  // Of a debug build: Abseil's search for deadlocks has a lock of its own, which a thread that is
  // not attached may hold at a fork (docs/design/fork.md, "What users must know"). Until the
  // process ends: it cannot be searched where locks have been taken without.
  RcForkTest() { absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore); }

  static constexpr int64_t kMostAlive = 10'000;

  static Options RoomyOptions() {
    Options options = OptionsFor(GetParam());
    options.max_bytes = 16 << 20;
    return options;
  }

  std::unique_ptr<Heap> heap_ = NewHeap(RoomyOptions());
};

}  // namespace ebb::rc

#endif  // EBB_HEAP_RC_RC_FORK_FOR_TEST_H_
