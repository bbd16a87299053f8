// A program in a workspace of its own that uses Ebb: the words of a text in a sorted tree.

#include <cstdint>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>

#include "heap/ebb.h"

namespace {

struct Node {  // a plain aggregate: its Fields are found by reflection
  ebb::Field<Node> left, right;
  ebb::Field<ebb::String> word;
  int64_t count = 0;
};

void Insert(ebb::Mutator& mutator, ebb::Local<Node>& root, std::string_view word) {
  // Allocate first: from here on there is no safepoint, so plain references stay good.
  ebb::Ref<Node> fresh = mutator.New<Node>(nullptr, nullptr, mutator.NewString(word));
  if (!root) root = fresh;
  ebb::Ref<Node> at = root;
  while (at->word->view() != word) {
    ebb::Field<Node>& child = word < at->word->view() ? at->left : at->right;
    if (!child) child = fresh;
    at = child;
  }
  ++at->count;  // if that is another node, `fresh` is garbage
}

void Print(ebb::Ref<Node> node) {
  if (!node) return;
  Print(node->left);
  std::cout << node->word->view() << " " << node->count << "\n";
  Print(node->right);
}

}  // namespace

int main() {
  auto heap = ebb::Heap::Create({.max_bytes = 64 << 20});
  if (!heap.ok()) {
    std::cerr << heap.status() << "\n";
    return 1;
  }
  ebb::Mutator mutator(**heap);
  ebb::Local<Node> root(mutator);
  for (int round = 0; round < 1000; ++round) {
    std::istringstream text("the tide turns and the tide ebbs and the live move on");
    for (std::string word; text >> word;) Insert(mutator, root, word);
    if (round % 100 == 0 && !(*heap)->Collect().ok()) return 1;
  }
  Print(root);
  std::cout << ((*heap)->stats().collections >= 10 ? "collected" : "not collected") << "\n";
}
