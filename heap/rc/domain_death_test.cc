// Misuse of domains that cannot be survived: the program is stopped by a message that says what to
// do.

#include <memory>
#include <optional>

#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"

namespace ebb::rc {
namespace {

TEST(DomainDeathTest, TheHeapGoesFirst) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  std::unique_ptr<Heap> heap = NewHeap(4 << 20);
  std::optional<Domain> domain(*heap);
  EXPECT_DEATH(heap = nullptr, "destroyed before an ebb::rc::Domain.*declaring them after");
}

struct Leaves {
  static inline std::optional<Domain>* domain = nullptr;
  Field<Leaves> next;
  static void Finalize(Ptr<Leaves>) { domain->reset(); }
};

// It would wait for a thread that waits for this one's turn.
TEST(DomainDeathTest, IsDestroyedByItsOwnDetection) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  std::unique_ptr<Heap> heap = NewHeap(4 << 20);
  std::optional<Domain> domain(std::in_place, *heap, DomainOptions{.detect = Detect::kBackground});
  Leaves::domain = &domain;
  Mutator mutator(*heap);
  Owner owner(*domain, mutator);
  const auto collect = [&] {
    {
      const Ptr<Leaves> ring = MakePtr<Leaves>();
      ring->next = ring;
    }
    domain->Collect().IgnoreError();
  };
  EXPECT_DEATH(collect(), "by what a detection of it calls");
}

}  // namespace
}  // namespace ebb::rc
