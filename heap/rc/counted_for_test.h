// What the tests of counting share: a heap with a domain and a thread attached, and objects that
// say when they are destroyed.

#ifndef EBB_HEAP_RC_COUNTED_FOR_TEST_H_
#define EBB_HEAP_RC_COUNTED_FOR_TEST_H_

#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "heap/heap_for_test.h"
#include "heap/rc/rc.h"

namespace ebb::rc {

// Appends its name to `log` when it is destroyed.
struct Witness {
  Field<Witness> left, right;
  std::vector<int64_t>* log = nullptr;
  int64_t name = 0;

  ~Witness() {
    if (log != nullptr) log->push_back(name);
  }
};

// A link of a list, or a node of a tree.
struct Link {
  Field<Link> next, other;
  int64_t value = 0;
};

// A domain with an Owner for the test's thread.
struct Counting {
  explicit Counting(const DomainOptions& options = DomainOptions(), int64_t max_bytes = 16 << 20)
      : heap(NewHeap(Options{.max_bytes = max_bytes,
                             .collector = CollectorUnderTest(),
                             .field_logging = options.stores == rc::Stores::kCoalesced})),
        mutator(*heap),
        domain(*heap, options),
        owner(domain, mutator) {}

  // Objects that have been made and not destroyed.
  int64_t alive() const {
    const DomainStats stats = domain.stats();
    return stats.made - stats.destroyed;
  }

  // As many, or few of them where there is a cycle for each allocation.
  int64_t Many(int64_t many) const {
    return heap->options().stress.collect_every == 0 ? many : many / 100;
  }

  std::unique_ptr<Heap> heap;
  Mutator mutator;
  Domain domain;
  Owner owner;
};

// body() on another thread, which may wait for a pause meanwhile.
template <typename Body>
void RunThread(Counting& c, Body body) {
  const Blocking blocking(c.mutator);
  std::thread(std::move(body)).join();
}
// The same on one with an Owner: body(owner), or body().
template <typename Body>
void RunOwner(Counting& c, Body body) {
  RunThread(c, [&] {
    Mutator mutator(*c.heap);
    Owner owner(c.domain, mutator);
    if constexpr (std::is_invocable_v<Body&, Owner&>) {
      body(owner);
    } else {
      body();
    }
  });
}

inline Detection Collect(Counting& c) {
  absl::StatusOr<Detection> detection = c.domain.Collect();
  EXPECT_TRUE(detection.ok()) << detection.status();
  return detection.ok() ? *detection : Detection();
}

}  // namespace ebb::rc

#endif  // EBB_HEAP_RC_COUNTED_FOR_TEST_H_
