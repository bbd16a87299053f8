// Array, RefArray and String. Runs as it is and under stress modes.

#include "heap/array.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "heap/heap_for_test.h"

namespace ebb {

struct ArrayTestPair {
  Field<Node> first;
  int64_t key = 42;
  Field<Node> second;
};

struct alignas(16) ArrayTestWide {
  int64_t x = 1;
  int64_t y = 2;
};

namespace {

using ::testing::HasSubstr;

using Pair = ArrayTestPair;
using Wide = ArrayTestWide;

template <typename E>
bool AllAre(const Array<E>& array, E value) {
  return std::all_of(array.begin(), array.end(), [=](E element) { return element == value; });
}

class ArrayTest : public ::testing::Test {
 protected:
  std::unique_ptr<Heap> heap_ = NewHeap();
  Mutator mutator_{*heap_};

  Ref<Node> NewNode(int64_t value) { return mutator_.New<Node>(nullptr, nullptr, value); }

  void Collect() {
    ASSERT_TRUE(heap_->Collect().ok());
    absl::Status status = heap_->Verify();
    ASSERT_TRUE(status.ok()) << status;
  }
};

TEST_F(ArrayTest, Numbers) {
  Local<Array<double>> array(mutator_, mutator_.NewArray<double>(100));
  EXPECT_EQ(array->size(), 100u);
  EXPECT_FALSE(array->empty());
  EXPECT_TRUE(AllAre(*array, {}));
  for (size_t i = 0; i < 100; ++i) (*array)[i] = 0.5 * static_cast<double>(i);
  Collect();
  for (size_t i = 0; i < 100; ++i) EXPECT_EQ(array->at(i), 0.5 * static_cast<double>(i));
  EXPECT_EQ(array->end() - array->begin(), 100);
}

// Reused memory is not zero by itself.
TEST_F(ArrayTest, ElementsAreZeroInReusedMemory) {
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 50; ++i) {
      Local<Array<uint8_t>> array(mutator_, mutator_.NewArray<uint8_t>(1001));
      EXPECT_TRUE(AllAre(*array, {}));
      for (uint8_t& byte : *array) byte = 0xee;
    }
    Collect();
  }
}

TEST_F(ArrayTest, SizesThatAreNotWholeWords) {
  Local<RefArray<Array<char>>> arrays(mutator_, mutator_.NewRefArray<Array<char>>(40));
  for (size_t length = 0; length < 40; ++length) {
    (*arrays)[length] = mutator_.NewArray<char>(length);
    for (char& c : *(*arrays)[length]) c = static_cast<char>(length);
  }
  Collect();
  for (size_t length = 0; length < 40; ++length) {
    Ref<Array<char>> array = (*arrays)[length];
    EXPECT_EQ(array->size(), length);
    EXPECT_TRUE(AllAre(*array, static_cast<char>(length)));
  }
}

TEST_F(ArrayTest, AggregatesWithFields) {
  Local<Array<Pair>> array(mutator_, mutator_.NewArray<Pair>(30));
  for (const Pair& pair : *array) {
    EXPECT_EQ(pair.key, 42);
    EXPECT_EQ(pair.first, nullptr);
  }
  for (size_t i = 0; i < 30; ++i) {
    (*array)[i].first = NewNode(static_cast<int64_t>(i));
    (*array)[i].second = (*array)[i].first;
    (*array)[i].key = -static_cast<int64_t>(i);
  }
  Collect();
  Collect();
  for (size_t i = 0; i < 30; ++i) {
    const auto value = static_cast<int64_t>(i);
    EXPECT_EQ((*array)[i].first->value, value);
    EXPECT_EQ((*array)[i].second, (*array)[i].first);
    EXPECT_EQ((*array)[i].key, -value);
  }
}

TEST_F(ArrayTest, LargeArraysRunDefaultInitialisersToo) {
  Local<Array<Pair>> array(mutator_, mutator_.NewArray<Pair>(1000));
  EXPECT_GT(heap_->stats().large_bytes, 0);
  for (const Pair& pair : *array) EXPECT_EQ(pair.key, 42);
}

TEST_F(ArrayTest, SixteenByteAlignment) {
  Local<RefArray<Array<Wide>>> arrays(mutator_, mutator_.NewRefArray<Array<Wide>>(20));
  for (size_t i = 0; i < 20; ++i) {
    NewNode(0);  // so that the next header is now at one, now at the other parity
    (*arrays)[i] = mutator_.NewArray<Wide>(i);
    if (i % 3 == 0) mutator_.NewArray<char>(1);
  }
  for (int round = 0; round < 3; ++round) {
    for (size_t i = 0; i < 20; ++i) {
      Ref<Array<Wide>> array = (*arrays)[i];
      EXPECT_EQ(reinterpret_cast<uintptr_t>(array->data()) % 16, 0u);
      EXPECT_EQ(array->size(), i);
      for (const Wide& wide : *array) {
        EXPECT_EQ(wide.x, 1);
        EXPECT_EQ(wide.y, 2);
      }
    }
    Collect();
  }
  // Large as well.
  Local<Array<Wide>> large(mutator_, mutator_.NewArray<Wide>(1000));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(large->data()) % 16, 0u);
  EXPECT_EQ(large->at(999).y, 2);
}

TEST_F(ArrayTest, ZeroLength) {
  Local<Array<double>> numbers(mutator_, mutator_.NewArray<double>(0));
  Local<RefArray<Node>> references(mutator_, mutator_.NewRefArray<Node>(0));
  Local<String> string(mutator_, mutator_.NewString(""));
  Collect();
  EXPECT_TRUE(numbers->empty());
  EXPECT_EQ(references->begin(), references->end());
  EXPECT_EQ(string->view(), "");
}

TEST_F(ArrayTest, ReferencesMayFormCycles) {
  struct Tree {
    Field<RefArray<Tree>> children;
  };
  Local<Tree> root(mutator_, mutator_.New<Tree>());
  root->children = mutator_.NewRefArray<Tree>(3);
  (*root->children)[1] = root;
  Collect();
  EXPECT_EQ((*root->children)[1], root);
  EXPECT_EQ((*root->children)[0], nullptr);
  root = nullptr;
  Collect();
  EXPECT_EQ(heap_->stats().live_bytes, 0);
}

struct LongArray {
  int64_t large_object_bytes;
  size_t length;
};

class LongArrayTest : public ::testing::TestWithParam<LongArray> {};

// Longer than what is scanned in one go, by two workers; moved, or large and in place.
TEST_P(LongArrayTest, EveryElementIsForwarded) {
  Options options;
  options.max_bytes = 16 << 20;
  options.workers = 2;
  options.large_object_bytes = GetParam().large_object_bytes;
  auto heap = NewHeap(options);
  Mutator mutator(*heap);
  const size_t length = GetParam().length;
  const size_t nodes = heap->options().stress.collect_every == 0 ? length : 60;
  Local<RefArray<Node>> array(mutator, mutator.NewRefArray<Node>(length));
  for (size_t i = 0; i < nodes; ++i) {
    (*array)[i] = mutator.New<Node>(nullptr, nullptr, static_cast<int64_t>(i));
  }
  for (size_t i = nodes; i < length; ++i) (*array)[i] = (*array)[i % nodes];
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(heap->Collect().ok());
    absl::Status status = heap->Verify();
    ASSERT_TRUE(status.ok()) << status;
    for (size_t i = 0; i < length; ++i) {
      ASSERT_EQ((*array)[i]->value, static_cast<int64_t>(i % nodes)) << "at " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(MovedAndLarge, LongArrayTest,
                         ::testing::Values(LongArray{32 << 10, 4'000}, LongArray{8 << 10, 12'000}));

TEST_F(ArrayTest, LengthsThatNoHeapCanHold) {
  constexpr size_t kMost = std::numeric_limits<size_t>::max();
  for (size_t length : {kMost, kMost / 8, kMost / 8 + 2, kMost / 16 + 1, size_t{1} << 60,
                        size_t{1} << 43, size_t{1} << 40}) {
    auto numbers = mutator_.TryNewArray<double>(length);
    EXPECT_EQ(numbers.status().code(), absl::StatusCode::kResourceExhausted) << numbers.status();
    auto references = mutator_.TryNewRefArray<Node>(length);
    EXPECT_EQ(references.status().code(), absl::StatusCode::kResourceExhausted);
    auto wide = mutator_.TryNewArray<Wide>(length);
    EXPECT_EQ(wide.status().code(), absl::StatusCode::kResourceExhausted);
  }
  EXPECT_THROW(mutator_.NewArray<char>(kMost), HeapExhausted);
  EXPECT_THAT(std::string(mutator_.TryNewArray<char>(kMost).status().message()),
              HasSubstr("more than any heap can hold"));
  Collect();
}

// The values of an array of nodes, -1 for null.
std::vector<int64_t> Values(const RefArray<Node>& array) {
  std::vector<int64_t> values;
  for (const Field<Node>& field : array) values.push_back(field ? field->value : -1);
  return values;
}

// Against a vector, for arrays that move and large ones, in one array and between two, whatever
// overlaps; with cycles in between.
TEST_F(ArrayTest, CopiesOfRanges) {
  for (size_t size : {size_t{40}, size_t{2000}}) {
    Local<RefArray<Node>> arrays[] = {{mutator_, mutator_.NewRefArray<Node>(size)},
                                      {mutator_, mutator_.NewRefArray<Node>(size + 7)}};
    std::vector<int64_t> model[] = {std::vector<int64_t>(size, -1),
                                    std::vector<int64_t>(size + 7, -1)};
    std::mt19937 random(7);
    const auto below = [&random](size_t n) { return static_cast<size_t>(random()) % n; };
    for (int step = 0; step < 60; ++step) {
      const size_t to = below(2);
      const size_t from = below(2);
      for (int i = 0; i < 5; ++i) {
        const size_t index = below(size);
        const int64_t value = step * 10 + i;
        (*arrays[from])[index] = NewNode(value);
        model[from][index] = value;
      }
      const size_t to_index = below(model[to].size() + 1);
      const size_t from_index = below(model[from].size() + 1);
      const size_t most = std::min(model[to].size() - to_index, model[from].size() - from_index);
      const size_t count = below(most + 1);
      arrays[to]->CopyFrom(*arrays[from], from_index, to_index, count);
      const std::vector<int64_t> before = model[from];
      std::copy_n(before.begin() + static_cast<std::ptrdiff_t>(from_index), count,
                  model[to].begin() + static_cast<std::ptrdiff_t>(to_index));
      if (step % 20 == 0) Collect();
      ASSERT_EQ(Values(*arrays[to]), model[to]) << "step " << step;
    }
    EXPECT_EQ(Values(*arrays[0]), model[0]);
    EXPECT_EQ(Values(*arrays[1]), model[1]);
  }
}

TEST_F(ArrayTest, CopiesOfNothing) {
  Local<RefArray<Node>> array(mutator_, mutator_.NewRefArray<Node>(3));
  Local<RefArray<Node>> empty(mutator_, mutator_.NewRefArray<Node>(0));
  empty->CopyFrom(*array, 3, 0, 0);
  array->CopyFrom(*empty, 0, 3, 0);
  (*array)[1] = NewNode(1);
  array->CopyFrom(*array, 0, 0, 3);
  EXPECT_EQ(Values(*array), (std::vector<int64_t>{-1, 1, -1}));
}

TEST_F(ArrayTest, CopyFromChecksBothRanges) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Local<RefArray<Node>> four(mutator_, mutator_.NewRefArray<Node>(4));
  Local<RefArray<Node>> nine(mutator_, mutator_.NewRefArray<Node>(9));
  EXPECT_DEATH(four->CopyFrom(*nine, 0, 0, 5), "5 elements from index 0.*an array of 4");
  EXPECT_DEATH(four->CopyFrom(*nine, 8, 0, 2), "2 elements from index 8.*an array of 9");
  EXPECT_DEATH(four->CopyFrom(*four, 0, 5, 0), "0 elements from index 5.*an array of 4");
  EXPECT_DEATH(nine->CopyFrom(*nine, 1, 2, size_t{0} - 1), "from index 1 on are past the end");
}

TEST_F(ArrayTest, AtChecksTheIndex) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Local<Array<double>> array(mutator_, mutator_.NewArray<double>(3));
  EXPECT_EQ(array->at(2), 0);
  EXPECT_DEATH(array->at(3), "3 vs. 3.*index past the end of double");
  const Array<double>& constant = *array;
  EXPECT_DEATH((void)constant.at(size_t{0} - 1), "index past the end of double");
}

TEST_F(ArrayTest, Strings) {
  Local<String> hello(mutator_, mutator_.NewString("hello"));
  EXPECT_EQ(*hello, "hello");
  EXPECT_EQ(hello->size(), 5u);
  Collect();
  EXPECT_EQ(*hello, "hello");
  EXPECT_FALSE(*hello == "hullo");
  const std::string binary("a\0b", 3);
  EXPECT_EQ(mutator_.NewString(binary)->view(), binary);
}

// The text may move, or die, while room is made for its copy.
TEST_F(ArrayTest, StringOfAViewIntoTheSameHeap) {
  const std::string text(500, 'x');
  Local<String> string(mutator_, mutator_.NewString(text + "tail"));
  for (int i = 0; i < 20; ++i) {
    string = mutator_.NewString(string->view());
    ASSERT_EQ(string->view(), text + "tail");
  }
  Local<String> part(mutator_, mutator_.NewString(string->view().substr(500)));
  EXPECT_EQ(*part, "tail");
}

TEST_F(ArrayTest, LargeStringOfAViewIntoTheSameHeap) {
  const std::string text(20'000, 'y');
  Local<String> string(mutator_, mutator_.NewString(text));
  for (int i = 0; i < 5; ++i) string = mutator_.NewString(string->view());
  EXPECT_EQ(string->view(), text);
  EXPECT_GT(heap_->stats().large_bytes, 20'000);
}

}  // namespace
}  // namespace ebb
