// Agrees with a naive model: random programs over Ptrs, Fields, Weaks and finalizers. When nothing
// is found any more those objects are there, and no others, that the program's Ptrs lead to; and
// what is gone was finalized once before, if it has a finalizer.

#include <algorithm>
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

class Program;

struct Actor {
  Field<Actor> left, right;
  Program* program = nullptr;
  int64_t name = 0;
  ~Actor();
};

struct Mourned : Actor {
  static void Finalize(Ptr<Mourned> self);
  EBB_FIELDS(Mourned, left, right, program, name)
};

class Program {
 public:
  explicit Program(uint64_t seed) : random_(seed) {}

  void Step() {
    const size_t a = Place(), b = Place();
    switch (random_() % 9) {
      case 0:
      case 1:
        Set(a, Make(ptrs_[b]));
        break;
      case 2:
        Set(a, nullptr);
        break;
      case 3:
      case 4:
        if (!ptrs_[a]) break;
        (random_() % 2 == 0 ? ptrs_[a]->right : ptrs_[a]->left) = ptrs_[b];
        SetEdges(*ptrs_[a]);
        break;
      case 5:
        if (ptrs_[a]) Set(b, ptrs_[a]->right);
        break;
      case 6: {
        if (!ptrs_[a]) break;
        Ptr<Actor> moved = std::move(ptrs_[a]->left);
        SetEdges(*ptrs_[a]);
        Set(b, std::move(moved));
        break;
      }
      case 7:
        weaks_[a] = ptrs_[b];
        weak_names_[a] = names_[b];
        has_read_null_[a] = false;
        break;
      case 8:
        Set(a, weaks_[b].Upgrade());
        ASSERT_TRUE(names_[a] == 0 || names_[a] == weak_names_[b]);
        break;
    }
  }

  // By the finalizer of an object: does something to it, or by it.
  void OnFinalize(Ptr<Mourned> self) {
    ASSERT_TRUE(Domain::IsFinalized(self));
    ASSERT_TRUE(finalized_.insert(self->name).second) << "finalized twice";
    ASSERT_FALSE(std::count(destroyed_.begin(), destroyed_.end(), self->name));
    NoteWhatIsNotReached();
    ASSERT_EQ(NameOf(self->left), edges_[self->name].left);
    ASSERT_EQ(NameOf(self->right), edges_[self->name].right);
    switch (random_() % 8) {
      case 0:
        Set(Place(), self);
        break;
      case 1:
        Set(Place(), self->right);
        break;
      case 2:
        self->left = ptrs_[Place()];
        break;
      case 3: {
        Ptr<Actor> made = Make(self);  // moves the object
        self->right = std::move(made);
        break;
      }
    }
    SetEdges(*self);
  }
  void OnDestroy(int64_t name) { destroyed_.push_back(name); }

  // After this, weak references to what is not reached may be cleared for good.
  void NoteWhatIsNotReached() {
    const std::set<int64_t> reached = Reached();
    for (int64_t name = 1; name < next_name_; ++name) {
      if (!reached.contains(name)) once_lost_.insert(name);
    }
  }

  // When nothing is found any more.
  void Compare() {
    const std::set<int64_t> reached = Reached();
    const std::set<int64_t> destroyed(destroyed_.begin(), destroyed_.end());
    ASSERT_EQ(destroyed.size(), destroyed_.size()) << "destroyed twice";
    for (int64_t name = 1; name < next_name_; ++name) {
      ASSERT_NE(reached.contains(name), destroyed.contains(name)) << name;
      if (destroyed.contains(name)) {
        ASSERT_EQ(HasFinalizer(name), finalized_.contains(name)) << name;
      }
    }
    for (size_t i = 0; i < kPlaces; ++i) {
      ASSERT_EQ(NameOf(ptrs_[i]), names_[i]);
      const int64_t upgraded = NameOf(weaks_[i].Upgrade());
      ASSERT_TRUE(upgraded == 0 || (upgraded == weak_names_[i] && !has_read_null_[i]));
      has_read_null_[i] = upgraded == 0;
      if (!reached.contains(weak_names_[i])) {
        ASSERT_EQ(upgraded, 0);
      } else if (!once_lost_.contains(weak_names_[i])) {
        ASSERT_NE(upgraded, 0);
      }
    }
  }

  void DropAll() {
    for (size_t i = 0; i < kPlaces; ++i) Set(i, nullptr);
  }

 private:
  static constexpr size_t kPlaces = 10;
  struct Edges {
    int64_t left = 0, right = 0;
  };

  static bool HasFinalizer(int64_t name) { return name % 3 == 0; }
  template <typename P>
  static int64_t NameOf(const P& ptr) {
    return ptr ? ptr->name : 0;
  }

  size_t Place() { return random_() % kPlaces; }
  // What dies by this is destroyed at once, and finalized later.
  void Set(size_t place, Ptr<Actor> ptr) {
    names_[place] = NameOf(ptr);
    ptrs_[place] = std::move(ptr);
  }
  // Calls finalizers that are due.
  Ptr<Actor> Make(Ptr<Actor> left) {
    const int64_t name = next_name_++;
    edges_[name] = {NameOf(left), 0};
    if (HasFinalizer(name)) return MakePtr<Mourned>(std::move(left), nullptr, this, name);
    return MakePtr<Actor>(std::move(left), nullptr, this, name);
  }
  void SetEdges(const Actor& actor) {
    edges_[actor.name] = {NameOf(actor.left), NameOf(actor.right)};
  }
  std::set<int64_t> Reached() {
    std::set<int64_t> reached;
    std::vector<int64_t> todo(std::begin(names_), std::end(names_));
    while (!todo.empty()) {
      const int64_t name = todo.back();
      todo.pop_back();
      if (name == 0 || !reached.insert(name).second) continue;
      todo.push_back(edges_[name].left);
      todo.push_back(edges_[name].right);
    }
    return reached;
  }

  std::mt19937_64 random_;
  int64_t next_name_ = 1;
  std::map<int64_t, Edges> edges_;  // by name
  std::vector<int64_t> destroyed_;
  std::set<int64_t> finalized_;
  std::set<int64_t> once_lost_;
  Ptr<Actor> ptrs_[kPlaces];
  int64_t names_[kPlaces] = {};  // 0: null
  Weak<Actor> weaks_[kPlaces];
  int64_t weak_names_[kPlaces] = {};
  bool has_read_null_[kPlaces] = {};
};

Actor::~Actor() {
  if (program != nullptr) program->OnDestroy(name);
}
void Mourned::Finalize(Ptr<Mourned> self) { self->program->OnFinalize(self); }

void CollectAll(Counting& c, Program& program) {
  for (int64_t found = 1; found > 0;) {
    program.NoteWhatIsNotReached();
    while (c.owner.Step()) {
    }
    const absl::StatusOr<Detection> detection = c.domain.Collect();
    ASSERT_TRUE(detection.ok());
    found = detection->collected + detection->finalized + (c.owner.Step() ? 1 : 0);
  }
}

TEST(CyclesModelTest, AgreesWithReachability) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    Counting c;
    Program program(seed);
    for (int step = 0; step < 300; ++step) {
      program.Step();
      if (step % 10 != 9) continue;
      CollectAll(c, program);
      program.Compare();
      if (testing::Test::HasFatalFailure()) return;
    }
    // Finalizers may revive some, once.
    for (int i = 0; i < 100 && c.alive() > 0; ++i) {
      program.DropAll();
      CollectAll(c, program);
      program.Compare();
    }
    EXPECT_EQ(c.alive(), 0);
    ASSERT_TRUE(c.heap->Verify().ok());
  }
}

}  // namespace
}  // namespace ebb::rc
