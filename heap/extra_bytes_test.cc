// Objects with plain bytes behind them. Runs as it is and under stress modes.

#include "heap/extra_bytes.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "heap/heap_fixture_for_test.h"
#include "heap/heap_for_test.h"

namespace ebb {

struct alignas(16) ExtraBytesTestWide {
  int64_t x = 1;
  int64_t y = 2;
};

// Of the least size: its number of bytes is its second word.
struct ExtraBytesTestTag {
  char tag = 't';
};

struct ExtraBytesTestThrows {
  ExtraBytesTestThrows() { throw std::runtime_error("no"); }
};

namespace {

using ::testing::HasSubstr;

using Throws = ExtraBytesTestThrows;
using Tag = ExtraBytesTestTag;
using Wide = ExtraBytesTestWide;

template <typename T>
bool AllAre(Ref<T> object, uint8_t value) {
  const absl::Span<const std::byte> bytes = ExtraBytes(object);
  return std::all_of(bytes.begin(), bytes.end(),
                     [=](std::byte b) { return b == std::byte{value}; });
}
template <typename T>
void Fill(Ref<T> object, uint8_t value) {
  for (std::byte& byte : ExtraBytes(object)) byte = std::byte{value};
}

class ExtraBytesTest : public HeapTest {};

TEST_F(ExtraBytesTest, ZeroAtFirst) {
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 50; ++i) {
      Local<Node> node(mutator_, mutator_.NewWithBytes<Node>(1001, nullptr, nullptr, i));
      EXPECT_EQ(ExtraBytes<Node>(node).size(), 1001u);
      EXPECT_TRUE(AllAre<Node>(node, 0));
      EXPECT_EQ(node->value, i);
      Fill<Node>(node, 0xee);
    }
    Collect();
  }
}

TEST_F(ExtraBytesTest, NoneOfOtherObjects) {
  EXPECT_TRUE(ExtraBytes(Ref<Node>()).empty());
  EXPECT_TRUE(ExtraBytes(mutator_.New<Node>()).empty());
  EXPECT_TRUE(ExtraBytes(mutator_.NewString("of another kind")).empty());
  EXPECT_TRUE(ExtraBytes(mutator_.NewWithBytes<Node>(0)).empty());
}

// All sizes about those of a word, and such that a collector copies by different means: in a list,
// each with a payload that says how many bytes it has.
TEST_F(ExtraBytesTest, MoveWithTheirObjects) {
  constexpr int64_t kMost = 100;
  Local<Node> list(mutator_);
  for (int64_t n = 0; n < kMost; ++n) {
    Local<Node> leaf(mutator_, mutator_.New<Node>(nullptr, nullptr, n));
    list = mutator_.NewWithBytes<Node>(static_cast<size_t>(n), list, leaf, n);
    Fill<Node>(list, static_cast<uint8_t>(n));
    mutator_.NewWithBytes<Tag>(static_cast<size_t>(n % 7));  // garbage between them
  }
  for (int round = 0; round < 4; ++round) {
    Collect();
    Ref<Node> node = list;
    for (int64_t n = kMost - 1; n >= 0; --n, node = node->left) {
      ASSERT_EQ(ExtraBytes(node).size(), static_cast<size_t>(n));
      ASSERT_TRUE(AllAre(node, static_cast<uint8_t>(n)));
      ASSERT_EQ(node->value, n);
      ASSERT_EQ(node->right->value, n);
    }
    ASSERT_EQ(node, nullptr);
  }
}

TEST_F(ExtraBytesTest, OfTheSmallestObjects) {
  std::vector<Persistent<Tag>> tags;
  for (size_t i = 0; i < 200; ++i) {
    const Ref<Tag> tag = mutator_.NewWithBytes<Tag>(i % 20);
    Fill(tag, static_cast<uint8_t>(i));
    tags.emplace_back(*heap_, tag);
  }
  for (int round = 0; round < 3; ++round) {
    Collect();
    for (size_t i = 0; i < 200; ++i) {
      const Ref<Tag> tag = tags[i];
      ASSERT_EQ(tag->tag, 't');
      ASSERT_EQ(ExtraBytes(tag).size(), i % 20);
      ASSERT_TRUE(AllAre(tag, static_cast<uint8_t>(i)));
    }
  }
}

// They are old, and their references to young objects are remembered.
TEST_F(ExtraBytesTest, LargeObjects) {
  Local<Node> leaf(mutator_, mutator_.New<Node>(nullptr, nullptr, 7));
  Local<Node> large(mutator_, mutator_.NewWithBytes<Node>(300'000, leaf, nullptr, 8));
  EXPECT_GE(heap_->stats().large_bytes, 300'000);
  EXPECT_TRUE(AllAre<Node>(large, 0));
  Fill<Node>(large, 0x55);
  leaf = nullptr;
  const Node* const at = large.get();
  for (int64_t round = 0; round < 3; ++round) {
    Collect();
    EXPECT_EQ(large->left->value, 7 + round);
    large->left = mutator_.New<Node>(nullptr, nullptr, 8 + round);
    EXPECT_EQ(large.get(), at);
    EXPECT_EQ(ExtraBytes<Node>(large).size(), 300'000u);
    EXPECT_TRUE(AllAre<Node>(large, 0x55));
  }
}

TEST_F(ExtraBytesTest, SixteenByteAlignment) {
  std::vector<Persistent<Wide>> wides;
  for (size_t i = 0; i < 20; ++i) {
    mutator_.New<Node>();  // so that the next header is now at one, now at the other parity
    wides.emplace_back(*heap_, mutator_.NewWithBytes<Wide>(i));
    Fill<Wide>(wides[i], static_cast<uint8_t>(i));
    if (i % 3 == 0) mutator_.NewArray<char>(1);
  }
  for (int round = 0; round < 3; ++round) {
    for (size_t i = 0; i < 20; ++i) {
      const Ref<Wide> wide = wides[i];
      EXPECT_EQ(reinterpret_cast<uintptr_t>(wide.get()) % 16, 0u);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(ExtraBytes(wide).data()) % 16, 0u);
      EXPECT_EQ(wide->x + wide->y, 3);
      EXPECT_EQ(ExtraBytes(wide).size(), i);
      EXPECT_TRUE(AllAre(wide, static_cast<uint8_t>(i)));
    }
    Collect();
  }
}

// What lies about it stays walkable.
TEST_F(ExtraBytesTest, AConstructorMayThrow) {
  Local<Node> before(mutator_, mutator_.NewWithBytes<Node>(20));
  EXPECT_THROW(mutator_.NewWithBytes<Throws>(30), std::runtime_error);
  EXPECT_THROW((void)mutator_.TryNewWithBytes<Throws>(100'000), std::runtime_error);
  Local<Node> after(mutator_, mutator_.NewWithBytes<Node>(40));
  Collect();
  EXPECT_EQ(ExtraBytes<Node>(before).size(), 20u);
  EXPECT_EQ(ExtraBytes<Node>(after).size(), 40u);
}

TEST_F(ExtraBytesTest, TooManyBytes) {
  for (const size_t bytes :
       {size_t{64} << 20, size_t{1} << 40, size_t{1} << 50, std::numeric_limits<size_t>::max(),
        std::numeric_limits<size_t>::max() - 24}) {
    const absl::StatusOr<Ref<Node>> node = mutator_.TryNewWithBytes<Node>(bytes);
    EXPECT_TRUE(absl::IsResourceExhausted(node.status())) << node.status();
    EXPECT_THROW(mutator_.NewWithBytes<Node>(bytes), HeapExhausted);
  }
  EXPECT_THAT(std::string(mutator_.TryNewWithBytes<Node>(size_t{0} - 1).status().message()),
              HasSubstr("was that negative?"));
  const NoSafepoint scope(mutator_);
  EXPECT_TRUE(absl::IsFailedPrecondition(mutator_.TryNewWithBytes<Node>(20'000).status()));
}

}  // namespace
}  // namespace ebb
