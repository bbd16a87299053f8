// Binary trees of small nodes, on any subject: built top-down and bottom-up, counted, dropped.

#ifndef EBB_BENCH_TREES_H_
#define EBB_BENCH_TREES_H_

#include <cstdint>
#include <utility>

namespace ebb::bench {

// Two references and two 32-bit integers.
template <typename S>
struct TreeNode {
  typename S::template Edge<TreeNode> left = nullptr;
  typename S::template Edge<TreeNode> right = nullptr;
  int32_t i = 0;
  int32_t j = 0;
};

// A TreeNode in an Ebb heap: a header, two references, two 32-bit integers.
inline constexpr int64_t kTreeNodeBytes = 32;

// Nodes of a full tree; depth 0 is one node.
constexpr int64_t TreeNodes(int depth) { return (int64_t{2} << depth) - 1; }

// Called between nodes; the default does nothing.
struct NothingBetween {
  void operator()() const {}
};

template <typename S, typename Between = NothingBetween>
class TreeBuilder {
 public:
  using Node = TreeNode<S>;
  using Temp = typename S::template Temp<Node>;
  using Root = typename S::template Root<Node>;

  explicit TreeBuilder(typename S::Thread& thread, Between between = Between())
      : thread_(thread), between_(std::move(between)) {}

  // Stores into older objects.
  Temp TopDown(int depth) {
    Root root(thread_, thread_.template New<Node>());
    if (depth > 0) Populate(depth, root);
    return root;
  }

  // Only initializing stores.
  Temp BottomUp(int depth) {
    if (depth == 0) return thread_.template New<Node>();
    Root left(thread_, BottomUp(depth - 1));
    between_();
    Temp right = BottomUp(depth - 1);
    return thread_.template New<Node>(left, right, 0, int32_t{depth});
  }

 private:
  void Populate(int depth, const Root& node) {
    between_();
    node->left = thread_.template New<Node>();
    between_();
    node->right = thread_.template New<Node>();
    node->j = depth;
    if (depth == 1) return;
    Populate(depth - 1, Root(thread_, node->left));
    Populate(depth - 1, Root(thread_, node->right));
  }

  typename S::Thread& thread_;
  Between between_;
};

// Where ownership is manual, gives all nodes back; elsewhere the last reference just goes.
template <typename S>
void DropTree([[maybe_unused]] typename S::Thread& thread,
              [[maybe_unused]] const typename S::template Temp<TreeNode<S>>& tree) {
  if constexpr (S::kManual) {
    if (tree == nullptr) return;
    DropTree<S>(thread, tree->left);
    DropTree<S>(thread, tree->right);
    thread.Free(tree);
  }
}

// Nodes of a tree of the given depth. Reaches a safepoint every few thousand nodes.
template <typename S>
int64_t CountTree(typename S::Thread& thread, const typename S::template Temp<TreeNode<S>>& tree,
                  int depth) {
  constexpr int kNoStopDepth = 10;
  if (tree == nullptr) return 0;
  if (depth <= kNoStopDepth) {
    return 1 + CountTree<S>(thread, tree->left, depth - 1) +
           CountTree<S>(thread, tree->right, depth - 1);
  }
  typename S::template Root<TreeNode<S>> root(thread, tree);
  thread.Safepoint();
  const int64_t left = CountTree<S>(thread, root->left, depth - 1);
  return 1 + left + CountTree<S>(thread, root->right, depth - 1);
}

}  // namespace ebb::bench

#endif  // EBB_BENCH_TREES_H_
