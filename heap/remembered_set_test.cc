#include "heap/remembered_set.h"

#include <cstdint>
#include <vector>

#include "copyspace/ledger.h"
#include "gtest/gtest.h"
#include "platform/bytes.h"

namespace ebb::internal {
namespace {

using platform::Bytes;
using platform::MiB;

std::vector<uintptr_t> Edges(const RememberedSet& set) {
  std::vector<uintptr_t> edges;
  set.ForEach([&](uintptr_t edge) { edges.push_back(edge); });
  return edges;
}

TEST(RememberedSetTest, HoldsWhatBuffersHandOver) {
  copyspace::Ledger ledger(MiB(1));
  RememberedSet set(ledger, /*keep_free=*/Bytes(0), /*most_chunks=*/10);
  {
    EdgeBuffer buffer(&set);
    for (uintptr_t edge = 1; edge <= EdgeChunk::kEdges + 3; ++edge) buffer.Add(8 * edge);
    EXPECT_EQ(Edges(set).size(), EdgeChunk::kEdges) << "what is full is handed over at once";
  }
  EXPECT_EQ(Edges(set).size(), EdgeChunk::kEdges + 3);
  EXPECT_FALSE(set.overflowed());
  EXPECT_EQ(ledger.used(), 2 * kEdgeChunkBytes);

  // Dealt with, its chunks are used again.
  int64_t chunks = 0;
  set.TakeEach([&](const EdgeChunk&) { ++chunks; });
  EXPECT_EQ(chunks, 2);
  EXPECT_TRUE(Edges(set).empty());
  {
    EdgeBuffer again(&set);
    again.Add(8);
    EXPECT_EQ(ledger.used(), 2 * kEdgeChunkBytes);
  }
  set.Trim();
  EXPECT_EQ(ledger.used(), kEdgeChunkBytes) << "one is in use";
}

TEST(RememberedSetTest, WithoutMemoryItSaysSo) {
  copyspace::Ledger ledger(2 * kEdgeChunkBytes + Bytes(1));
  {
    RememberedSet set(ledger, /*keep_free=*/kEdgeChunkBytes, /*most_chunks=*/10);
    EdgeBuffer one(&set);
    EdgeBuffer two(&set);
    one.Add(8);
    EXPECT_FALSE(set.overflowed());
    two.Add(16);
    EXPECT_TRUE(set.overflowed());
    EXPECT_TRUE(set.TakeOverflow());
    EXPECT_FALSE(set.overflowed());
    one.HandOver();
    two.HandOver();
    EXPECT_EQ(Edges(set), std::vector<uintptr_t>{8});
  }
  EXPECT_EQ(ledger.used(), Bytes(0));
}

TEST(RememberedSetTest, NoMoreChunksThanItMayHave) {
  copyspace::Ledger ledger(MiB(1));
  RememberedSet set(ledger, /*keep_free=*/Bytes(0), /*most_chunks=*/1);
  EdgeBuffer buffer(&set);
  for (uintptr_t edge = 1; edge <= EdgeChunk::kEdges; ++edge) buffer.Add(8 * edge);
  EXPECT_FALSE(set.overflowed());
  buffer.Add(8);
  EXPECT_TRUE(set.overflowed());
  EXPECT_EQ(Edges(set).size(), EdgeChunk::kEdges);
}

}  // namespace
}  // namespace ebb::internal
