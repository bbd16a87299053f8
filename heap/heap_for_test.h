// What the tests of the heap share: small heaps, stamped nodes and trees.

#ifndef EBB_HEAP_HEAP_FOR_TEST_H_
#define EBB_HEAP_HEAP_FOR_TEST_H_

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>

#include "absl/log/check.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "heap/ebb.h"

namespace ebb {

struct Node {
  Field<Node> left, right;
  int64_t value = 0;
};

// Of an all_collectors_test (heap/stress_modes.bzl).
inline Collector CollectorUnderTest() {
  const char* name = std::getenv("EBB_TEST_COLLECTOR");
  const absl::StatusOr<Options> options =
      Options::Parse(absl::StrCat("collector=", name == nullptr ? "concurrent" : name));
  CHECK_OK(options.status());
  return options->collector;
}

inline std::unique_ptr<Heap> NewHeap(const Options& options) {
  auto heap = Heap::Create(options);
  CHECK_OK(heap.status());
  return *std::move(heap);
}

inline std::unique_ptr<Heap> NewHeap(int64_t max_bytes = 16 << 20) {
  Options options;
  options.max_bytes = max_bytes;
  return NewHeap(options);
}

// Whether stats().live_bytes is what is reachable: what lies beside an object that could not be
// evacuated counts as live until the next cycle.
inline bool LiveBytesAreExact(const Heap& heap) {
  return heap.options().stress.fail_evacuation == 0;
}

// Whether the collector thread runs the cycles; a thread that asks for one is blocked meanwhile.
inline bool IsConcurrent(const Heap& heap) {
  return IsConcurrent(heap.options().collector);
}

// Garbage is then mostly collected by minor cycles, and part of the memory is the nursery's.
inline bool HasGenerations(const Heap& heap) {
  return heap.options().collector == Collector::kGenerational;
}

// A complete tree of 2^(depth + 1) - 1 nodes, each with the value 1.
inline Ref<Node> NewTree(Mutator& mutator, int depth) {
  if (depth == 0) return mutator.New<Node>(nullptr, nullptr, 1);
  Local<Node> left(mutator, NewTree(mutator, depth - 1));
  Local<Node> right(mutator, NewTree(mutator, depth - 1));
  return mutator.New<Node>(left, right, 1);
}

// The sum of the values of a tree.
inline int64_t Sum(Ref<Node> node) {
  if (node == nullptr) return 0;
  return node->value + Sum(node->left) + Sum(node->right);
}

// A list of `length` nodes with the values `length` to 1, linked by `left`.
inline Ref<Node> NewList(Mutator& mutator, int64_t length) {
  Local<Node> head(mutator);
  for (int64_t i = 1; i <= length; ++i) head = mutator.New<Node>(head, nullptr, i);
  return head;
}

// Whether `node` is such a list.
inline bool IsList(Ref<Node> node, int64_t length) {
  for (; length > 0; --length, node = node->left) {
    if (node == nullptr || node->value != length) return false;
  }
  return node == nullptr;
}

}  // namespace ebb

#endif  // EBB_HEAP_HEAP_FOR_TEST_H_
