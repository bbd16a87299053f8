// The memory of cells: what the heap is told of it.

#include <cstdint>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"

namespace ebb::rc {
namespace {

constexpr int64_t kManyBytes = 64 << 20;
// Of a cell beside the heap: all but its address.
constexpr int64_t kBytesBeside = 16;

std::vector<Ptr<Link>> MakeLinks(int64_t count) {
  std::vector<Ptr<Link>> links;
  for (int64_t i = 0; i < count; ++i) links.push_back(MakePtr<Link>());
  return links;
}

TEST(CellsTest, AreExternalMemoryOfTheHeap) {
  Counting c(DomainOptions(), kManyBytes);
  EXPECT_EQ(c.heap->stats().external_bytes, 0);
  const std::vector<Ptr<Link>> links = MakeLinks(100'000);
  const int64_t beside = c.domain.stats().cells * kBytesBeside;
  EXPECT_GE(c.heap->stats().external_bytes, beside);
  EXPECT_LE(c.heap->stats().external_bytes, beside + beside / 50);
}

TEST(CellsTest, AreNoneWhenTheDomainHasGone) {
  const std::unique_ptr<Heap> heap = NewHeap({.max_bytes = kManyBytes});
  Mutator mutator(*heap);
  Ptr<Link> left;
  {
    Domain domain(*heap), other(*heap);
    Owner owner(domain, mutator);
    left = MakeLinks(50'000).back();
    EXPECT_GT(heap->stats().external_bytes, 50'000 * kBytesBeside);
    Owner of_other(other, mutator);
    const std::vector<Ptr<Link>> links = MakeLinks(10);
    EXPECT_GT(heap->stats().external_bytes, 60'000 * kBytesBeside);
  }
  EXPECT_EQ(heap->stats().external_bytes, 0);
}

}  // namespace
}  // namespace ebb::rc
