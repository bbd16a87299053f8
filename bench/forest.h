// Forest: an array of trees, which take as many bytes as are asked for.

#ifndef EBB_BENCH_FOREST_H_
#define EBB_BENCH_FOREST_H_

#include <cstdint>

#include "bench/trees.h"

namespace ebb::bench {

template <typename S>
class Forest {
 public:
  using Node = TreeNode<S>;

  static constexpr int kTreeDepth = 9;
  static constexpr int64_t kTreeBytes = TreeNodes(kTreeDepth) * kTreeNodeBytes;

  // Of about `bytes`.
  Forest(typename S::Thread& thread, int64_t bytes)
      : thread_(thread),
        length_(bytes / kTreeBytes),
        trees_(thread, thread.template NewRefArray<Node>(length_)) {
    TreeBuilder<S> builder(thread);
    for (int64_t i = 0; i < length_; ++i) {
      typename S::template Temp<Node> tree = builder.BottomUp(kTreeDepth);
      (*trees_)[i] = tree;
    }
  }
  Forest(const Forest&) = delete;
  ~Forest() {
    if constexpr (S::kManual) {
      for (int64_t i = 0; i < length_; ++i) DropTree<S>(thread_, (*trees_)[i]);
      thread_.Free(trees_);
    }
  }

 private:
  typename S::Thread& thread_;
  const int64_t length_;
  typename S::template Root<typename S::template RefArray<Node>> trees_;
};

}  // namespace ebb::bench

#endif  // EBB_BENCH_FOREST_H_
