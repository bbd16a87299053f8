// Owners, domains and objects that are made while each allocation of memory fails in turn.

#include <array>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "gtest/gtest.h"
#include "heap/rc/coalescer.h"
#include "heap/rc/counted_for_test.h"
#include "heap/rc/failing_new_for_test.h"

namespace ebb::rc {
namespace {

constexpr DomainOptions kCoalescedDomain = {.stores = Stores::kCoalesced};

// Too large for a nursery, which has no logging bits.
struct Board {
  std::array<Field<Link>, 5000> fields;
};

std::unique_ptr<Heap> MakeHeap() {
  return NewHeap(
      Options{.max_bytes = 16 << 20, .collector = CollectorUnderTest(), .field_logging = true});
}

// Calls make() with an allocation that fails, the next one each time, until none does. How many
// times it has thrown.
template <typename F>
int64_t CallWithFailures(F make) {
  int64_t failures = 0;
  bool failed = true;
  for (int64_t k = 0; failed; ++k) {
    SCOPED_TRACE(k);
    const FailingNew failing(k);
    try {
      make();
    } catch (const std::bad_alloc&) {  // HeapExhausted is one
      ++failures;
    }
    failed = failing.has_failed();
  }
  return failures;
}

// Nothing is left of one that a store could find.
TEST(NoMemoryTest, OwnersOfACoalescedDomain) {
  const auto heap = MakeHeap();
  Mutator mutator(*heap);
  Domain domain(*heap, kCoalescedDomain);
  const auto make = [&] {
    try {
      Owner(domain, mutator);
    } catch (...) {
      EXPECT_EQ(internal::this_threads_log, nullptr);
      throw;
    }
  };
  EXPECT_GT(CallWithFailures(make), 1);
}

TEST(NoMemoryTest, CoalescedDomains) {
  std::vector<std::unique_ptr<Heap>> heaps;
  std::vector<std::unique_ptr<Domain>> domains;  // so that the process's list is full at times
  const int before = internal::coalesced_domains.load();
  int64_t failures = 0;
  for (int i = 0; i < 9; ++i) {
    const auto heap = MakeHeap();
    failures += CallWithFailures([&] { Domain(*heap, kCoalescedDomain); });
    ASSERT_EQ(internal::coalesced_domains.load(), before);
    Domain(*heap, kCoalescedDomain);  // there is no other
    heaps.push_back(MakeHeap());
    domains.push_back(std::make_unique<Domain>(*heaps.back()));
  }
  EXPECT_GT(failures, 9);
  Counting c(kCoalescedDomain);
  const Ptr<Board> board = MakePtr<Board>();
  const Ptr<Link> link = MakePtr<Link>();
  RunThread(c, [&] {
    Mutator second(*c.heap);  // and no Owner: it looks for the domain
    board->fields[0] = link;
  });
  EXPECT_EQ(board->fields[0], link);
}

// Counts what it refers to, and stores twice. In the copy space: the large one may lose addresses
// where there is no memory for its own tables.
struct Storing {
  std::array<Field<Link>, 3> fields;
  Storing(const Ptr<Link>& a, const Ptr<Link>& b) {
    fields[0] = a;
    fields[0] = b;
    fields[1] = a;
    fields[2] = fields[1];
  }
  EBB_FIELDS(Storing, fields)
};

// What has been made is destroyed if there is no memory for its cell.
TEST(NoMemoryTest, ObjectsOfACoalescedDomain) {
  Counting c(kCoalescedDomain);
  const Ptr<Link> a = MakePtr<Link>(), b = MakePtr<Link>();
  std::vector<Ptr<Link>> others;
  others.reserve(100'000);
  int64_t failures = 0;
  for (int chunk = 0; chunk < 5; ++chunk) {
    // Until a chunk of cells is full.
    while (c.domain.stats().cells > static_cast<int64_t>(others.size()) + 2) {
      others.push_back(MakePtr<Link>());
    }
    failures += CallWithFailures([&] {
      MakePtr<Storing>(a, b);
      NewHolder<Storing>(a, b);
    });
    for (int i = 0; i < 3; ++i) {
      while (c.owner.Step()) {
      }
      ASSERT_TRUE(c.heap->Collect().ok());
    }
    while (c.owner.Step()) {
    }
    ASSERT_EQ(a.use_count(), 1);
    ASSERT_EQ(b.use_count(), 1);
    ASSERT_EQ(c.alive(), static_cast<int64_t>(others.size()) + 2);
  }
  EXPECT_GT(failures, 0);
}

}  // namespace
}  // namespace ebb::rc
