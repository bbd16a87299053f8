// Agrees with a naive model: after each Collect those objects are there, and no others, that the
// program's Ptrs lead to.

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"

namespace ebb::rc {
namespace {

class Program {
 public:
  explicit Program(uint64_t seed) : random_(seed) {}

  void Step() {
    const size_t a = Place(), b = Place();
    switch (random_() % 9) {
      case 0:
      case 1:
        ptrs_[a] = MakePtr<Witness>(ptrs_[b], nullptr, &destroyed_, next_name_);
        edges_[next_name_] = {names_[b], 0};
        names_[a] = next_name_++;
        break;
      case 2:
        ptrs_[a] = nullptr;
        names_[a] = 0;
        break;
      case 3:
      case 4:
        if (!ptrs_[a]) break;
        (random_() % 2 == 0 ? ptrs_[a]->right : ptrs_[a]->left) = ptrs_[b];
        SetEdges(a);
        break;
      case 5:
        if (!ptrs_[a]) break;
        names_[b] = edges_[names_[a]].right;
        ptrs_[b] = ptrs_[a]->right;
        break;
      case 6: {
        if (!ptrs_[a]) break;
        const int64_t name = edges_[names_[a]].left;
        Ptr<Witness> moved = std::move(ptrs_[a]->left);
        SetEdges(a);
        ptrs_[b] = std::move(moved);
        names_[b] = name;
        break;
      }
      case 7:
        weaks_[a] = ptrs_[b];
        weak_names_[a] = names_[b];
        break;
      case 8:
        ptrs_[a] = weaks_[b].Upgrade();
        names_[a] = ptrs_[a] ? weak_names_[b] : 0;
        break;
    }
  }

  void Compare() {
    std::set<int64_t> reached;
    std::vector<int64_t> todo(std::begin(names_), std::end(names_));
    while (!todo.empty()) {
      const int64_t name = todo.back();
      todo.pop_back();
      if (name == 0 || !reached.insert(name).second) continue;
      todo.push_back(edges_[name].left);
      todo.push_back(edges_[name].right);
    }
    std::set<int64_t> destroyed(destroyed_.begin(), destroyed_.end());
    ASSERT_EQ(destroyed.size(), destroyed_.size()) << "destroyed twice";
    for (int64_t name = 1; name < next_name_; ++name) {
      ASSERT_NE(reached.contains(name), destroyed.contains(name)) << name;
    }
    for (size_t i = 0; i < kPlaces; ++i) {
      ASSERT_EQ(ptrs_[i] ? ptrs_[i]->name : 0, names_[i]);
      ASSERT_EQ(weaks_[i].Upgrade() != nullptr, reached.contains(weak_names_[i]));
    }
  }

  void DropAll() {
    for (Ptr<Witness>& ptr : ptrs_) ptr = nullptr;
    for (int64_t& name : names_) name = 0;
  }

 private:
  static constexpr size_t kPlaces = 10;
  struct Edges {
    int64_t left = 0, right = 0;
  };

  size_t Place() { return random_() % kPlaces; }
  void SetEdges(size_t a) {
    const Witness& witness = *ptrs_[a];
    edges_[names_[a]] = {witness.left ? witness.left->name : 0,
                         witness.right ? witness.right->name : 0};
  }

  std::mt19937_64 random_;
  int64_t next_name_ = 1;
  std::map<int64_t, Edges> edges_;  // by name
  std::vector<int64_t> destroyed_;
  Ptr<Witness> ptrs_[kPlaces];
  int64_t names_[kPlaces] = {};  // 0: null
  Weak<Witness> weaks_[kPlaces];
  int64_t weak_names_[kPlaces] = {};
};

TEST(CyclesModelTest, AgreesWithReachability) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Counting c;
    Program program(seed);
    for (int step = 0; step < 300; ++step) {
      program.Step();
      if (step % 10 != 9) continue;
      ASSERT_TRUE(c.domain.Collect().ok());
      program.Compare();
      if (testing::Test::HasFatalFailure()) return;
    }
    program.DropAll();
    ASSERT_TRUE(c.domain.Collect().ok());
    program.Compare();
    EXPECT_EQ(c.alive(), 0);
    ASSERT_TRUE(c.heap->Verify().ok());
  }
}

}  // namespace
}  // namespace ebb::rc
