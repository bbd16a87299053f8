// Heap and Mutator: their contracts. Runs as it is, and under stress modes (see BUILD).

#include "heap/heap.h"

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "heap/ebb.h"

namespace ebb {
namespace {

struct Node {
  Field<Node> left, right;
  int64_t value = 0;
};

std::unique_ptr<Heap> NewHeap(int64_t max_bytes = 16 << 20) {
  Options options;
  options.max_bytes = max_bytes;
  auto heap = Heap::Create(options);
  CHECK_OK(heap.status());
  return *std::move(heap);
}

Ref<Node> Tree(Mutator& mutator, int depth) {
  if (depth == 0) return mutator.New<Node>(nullptr, nullptr, 1);
  Local<Node> left(mutator, Tree(mutator, depth - 1));
  Local<Node> right(mutator, Tree(mutator, depth - 1));
  return mutator.New<Node>(left, right, 1);
}

int64_t Sum(Ref<Node> node) {
  if (node == nullptr) return 0;
  return node->value + Sum(node->left) + Sum(node->right);
}

TEST(HeapTest, ExampleOfTheDesign) {
  auto heap = NewHeap();
  Mutator mutator(*heap);
  Local<Node> root(mutator, mutator.New<Node>());
  root->left = mutator.New<Node>();
  root->left->value = 7;
  ASSERT_TRUE(heap->Collect().ok());
  EXPECT_EQ(root->left->value, 7);
  EXPECT_TRUE(heap->Verify().ok());
}

TEST(HeapTest, KeepsWhatIsReachable) {
  auto heap = NewHeap();
  Mutator mutator(*heap);
  Local<Node> root(mutator, Tree(mutator, 12));
  for (int i = 0; i < 5; ++i) {
    Tree(mutator, 10);
    ASSERT_TRUE(heap->Collect().ok());
    ASSERT_TRUE(heap->Verify().ok()) << heap->Verify();
    EXPECT_EQ(Sum(root), (1 << 13) - 1);
  }
  EXPECT_EQ(heap->stats().live_bytes, ((1 << 13) - 1) * 32);
}

}  // namespace
}  // namespace ebb
