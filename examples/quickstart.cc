// The shortest program that shows Ebb at work; the README quotes it.

// [quickstart]
#include "heap/ebb.h"

struct Node {  // a plain aggregate: its Fields are found by reflection
  ebb::Field<Node> left, right;
  int64_t value = 0;
};
// [/quickstart]

#include <cstdint>
#include <iostream>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

int main() {
  // [quickstart]
  absl::StatusOr<std::unique_ptr<ebb::Heap>> heap = ebb::Heap::Create({.max_bytes = 1 << 30});
  if (!heap.ok()) return 1;
  ebb::Mutator mutator(**heap);                         // attaches this thread, for this scope
  ebb::Local<Node> root(mutator, mutator.New<Node>());  // a root: follows its object
  root->left = mutator.New<Node>();
  root->left->value = 7;
  // [/quickstart]

  const absl::Status collected = (*heap)->Collect();
  if (!collected.ok()) {
    std::cerr << collected << "\n";
    return 1;
  }
  std::cout << "left is " << root->left->value << ", right is "
            << (root->right == nullptr ? "null" : "not null") << ", after "
            << (*heap)->stats().collections << " collection\n";
}
