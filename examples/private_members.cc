// A managed class with private members and a constructor, as docs/design/types.md shows it.

#include <cstdint>
#include <iostream>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "heap/ebb.h"

// [private_members]
class Tree {
 public:
  explicit Tree(int64_t key) : key_(key) {}

 private:
  ebb::Field<Tree> left_, right_;
  int64_t key_;
  EBB_FIELDS(Tree, left_, right_, key_)
};
// [/private_members]

int main() {
  absl::StatusOr<std::unique_ptr<ebb::Heap>> heap = ebb::Heap::Create({.max_bytes = 64 << 20});
  absl::Status status = heap.status();
  if (status.ok()) {
    ebb::Mutator mutator(**heap);
    ebb::Local<Tree> tree(mutator, mutator.New<Tree>(int64_t{7}));
    status = (*heap)->Collect();
    if (status.ok()) status = (*heap)->Verify();
  }
  std::cout << status << "\n";
  return status.ok() ? 0 : 1;
}
