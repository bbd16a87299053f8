// Workers with real deques unfold trees by stealing from each other. No node is lost (someone
// stopped too early) or handled twice, and all workers agree that it is over.

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "background/chase_lev_deque.h"
#include "background/soak.h"
#include "background/termination.h"
#include "gtest/gtest.h"

namespace ebb::background {
namespace {

// An element is the height of a tree still to be unfolded: a node with a subtree of height - 1 and
// one of height - 2, if it is 2 or more.
int64_t Nodes(uint64_t height) {
  return height < 2 ? 1 : 1 + Nodes(height - 1) + Nodes(height - 2);
}

class Unfolding {
 public:
  Unfolding(int workers, size_t max_capacity) : counts_(workers) {
    for (int i = 0; i < workers; ++i) {
      deques_.push_back(std::make_unique<ChaseLevDeque>(2, max_capacity));
    }
  }

  // Runs one round in which worker 0 has all the work at first, and all but `late` of the others
  // start active. Returns how many nodes were handled.
  int64_t Run(uint64_t height, int late) {
    const int workers = static_cast<int>(deques_.size());
    EXPECT_TRUE(deques_[0]->Push(height));
    termination_.Reset(workers - late);
    std::vector<std::thread> threads;
    for (int i = 1; i < workers; ++i) {
      threads.emplace_back([this, i, enter = i >= workers - late] {
        if (!enter || termination_.Enter()) Work(i);
      });
    }
    Work(0);
    // The others' counts, which are ordinary variables, are complete as soon as this worker knows
    // that the work is finished.
    int64_t sum = 0;
    for (Count& count : counts_) sum += std::exchange(count.nodes, 0);
    for (std::thread& thread : threads) thread.join();
    for (auto& deque : deques_) {
      EXPECT_TRUE(deque->EmptyHint());
      deque->ResetWhenQuiescent();
    }
    return sum;
  }

 private:
  struct alignas(64) Count {
    int64_t nodes = 0;
  };

  void Work(int self) {
    do {
      while (std::optional<uint64_t> height = Find(self)) Unfold(self, *height);
    } while (termination_.AwaitWork([this] {
      for (auto& deque : deques_) {
        if (!deque->EmptyHint()) return true;
      }
      return false;
    }));
  }

  std::optional<uint64_t> Find(int self) {
    if (auto height = deques_[self]->Take()) return height;
    for (size_t i = 1; i < deques_.size(); ++i) {
      if (auto height = deques_[(self + i) % deques_.size()]->Steal()) return height;
    }
    return std::nullopt;
  }

  void Unfold(int self, uint64_t height) {
    ++counts_[self].nodes;
    if (height < 2) return;
    for (uint64_t child : {height - 1, height - 2}) {
      // No room: do it at once, as a tracer with a full worklist would.
      if (!deques_[self]->Push(child)) Unfold(self, child);
    }
  }

  std::vector<std::unique_ptr<ChaseLevDeque>> deques_;
  std::vector<Count> counts_;
  Termination termination_;
};

void Stress(int workers, int late, size_t max_capacity) {
  Unfolding unfolding(workers, max_capacity);
  const Deadline deadline(absl::Milliseconds(700));
  do {
    for (uint64_t height : {1, 2, 5, 9, 14}) {
      ASSERT_EQ(unfolding.Run(height, late), Nodes(height));
    }
  } while (!deadline.passed());
}

TEST(TerminationStressTest, TwoWorkers) { Stress(2, 0, 1024); }
TEST(TerminationStressTest, FourWorkers) { Stress(4, 0, 1024); }
TEST(TerminationStressTest, LateWorkers) { Stress(4, 3, 1024); }
TEST(TerminationStressTest, TinyDeques) { Stress(3, 1, 2); }

}  // namespace
}  // namespace ebb::background
