// Graphs of counted and traced objects, changed at random, against reachability as it is by
// definition.

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "heap/persistent.h"
#include "heap/rc/counted_for_test.h"
#include "heap/rc/holder_table.h"

namespace ebb::rc {
namespace {

struct Traced;

struct Counted {
  Field<Counted> next;
  ebb::Field<Traced> traced;
  int64_t name = 0;
  std::set<int64_t>* destroyed = nullptr;
  ~Counted() {
    if (destroyed == nullptr) return;
    EXPECT_TRUE(destroyed->insert(name).second);
  }
};
struct Traced {
  ebb::Field<Traced> next;
  Field<Counted> counted, other;
  int64_t name = 0;
};

class Program {
 public:
  Program(Counting& c, uint64_t seed) : c_(c), random_(seed) {
    for (Persistent<Traced>& place : traced_) place = Persistent<Traced>(*c.heap, Ref<Traced>());
  }

  void Step() {
    const size_t a = Place(), b = Place();
    switch (random_() % 10) {
      case 0:
        Note(next_name_, {NameOf(counted_[b]), NameOf(traced_[b])});
        counted_[a] =
            MakePtr<Counted>(counted_[b], Ref<Traced>(traced_[b]), next_name_++, &destroyed_);
        break;
      case 1:
        Note(next_name_, {NameOf(counted_[b]), NameOf(traced_[b])});
        traced_names_.insert(next_name_);
        traced_[a] = NewHolder<Traced>(Ref<Traced>(traced_[b]), counted_[b], nullptr, next_name_++);
        break;
      case 2:
        counted_[a] = nullptr;
        break;
      case 3:
        traced_[a] = Ref<Traced>();
        break;
      case 4:
        counted_[a] = counted_[b];
        traced_[b] = Ref<Traced>(traced_[a]);
        break;
      case 5:
        if (counted_[a] == nullptr) break;
        counted_[a]->next = counted_[b];
        counted_[a]->traced = Ref<Traced>(traced_[b]);
        Note(counted_[a]->name, {NameOf(counted_[b]), NameOf(traced_[b])});
        break;
      case 6:
        if (Ref<Traced>(traced_[a]) == nullptr) break;
        traced_[a]->counted = counted_[b];
        traced_[a]->next = Ref<Traced>(traced_[b]);
        Note(traced_[a]->name,
             {NameOf(counted_[b]), NameOf(traced_[b]), NameOf(traced_[a]->other)});
        break;
      case 7:
        if (Ref<Traced>(traced_[a]) == nullptr) break;
        traced_[a]->other = counted_[b];
        Note(traced_[a]->name,
             {NameOf(counted_[b]), NameOf(traced_[a]->next), NameOf(traced_[a]->counted)});
        break;
      case 8:
        if (Ref<Traced>(traced_[a]) != nullptr) counted_[b] = traced_[a]->counted;
        break;
      case 9:
        if (counted_[a] != nullptr) traced_[b] = counted_[a]->traced.load();
        break;
    }
  }

  // Until there is nothing more to be found.
  void Collect() {
    size_t before = 0;
    do {
      before = destroyed_.size();
      ASSERT_TRUE(c_.heap->Collect().ok());
      while (c_.owner.Step()) {
      }
      ASSERT_TRUE(c_.domain.Collect().ok());
      while (c_.owner.Step()) {
      }
    } while (destroyed_.size() != before);
    ASSERT_TRUE(c_.heap->Collect().ok());  // holders that are garbage leave the table
  }
  // After that.
  void Compare() {
    std::set<int64_t> reached;
    std::vector<int64_t> grey;
    const auto reach = [&](int64_t name) {
      if (name != 0 && reached.insert(name).second) grey.push_back(name);
    };
    for (const Ptr<Counted>& place : counted_) reach(NameOf(place));
    for (Persistent<Traced>& place : traced_) reach(NameOf(place));
    while (!grey.empty()) {
      const int64_t name = grey.back();
      grey.pop_back();
      for (const int64_t next : edges_[name]) reach(next);
    }
    int64_t holders = 0;
    for (int64_t name = 1; name < next_name_; ++name) {
      if (traced_names_.contains(name)) {
        holders += reached.contains(name) ? 1 : 0;
      } else {
        ASSERT_NE(reached.contains(name), destroyed_.contains(name)) << name;
      }
    }
    ASSERT_EQ(c_.domain.state()->holders().size(), holders);
  }
  void DropAll() {
    for (Ptr<Counted>& place : counted_) place = nullptr;
    for (Persistent<Traced>& place : traced_) place = Persistent<Traced>();
  }

 private:
  static constexpr size_t kPlaces = 8;

  size_t Place() { return random_() % kPlaces; }
  template <typename Reference>
  static int64_t NameOf(const Reference& reference) {
    if constexpr (requires { reference.load(); }) {
      return reference.load() == nullptr ? 0 : reference.load()->name;
    } else {
      return reference == nullptr ? 0 : reference->name;
    }
  }
  void Note(int64_t name, std::vector<int64_t> edges) { edges_[name] = std::move(edges); }

  Counting& c_;
  std::mt19937_64 random_;
  int64_t next_name_ = 1;
  std::map<int64_t, std::vector<int64_t>> edges_;
  std::set<int64_t> traced_names_;
  std::set<int64_t> destroyed_;
  Ptr<Counted> counted_[kPlaces];
  Persistent<Traced> traced_[kPlaces];
};

void RunPrograms(Stores stores) {
  for (uint64_t seed = 1; seed <= 15; ++seed) {
    SCOPED_TRACE(seed);
    Counting c({.stores = stores});
    Program program(c, seed);
    for (int step = 0; step < 400; ++step) {
      program.Step();
      if (step % 20 != 19) continue;
      program.Collect();
      program.Compare();
      if (testing::Test::HasFatalFailure()) return;
    }
    program.DropAll();
    program.Collect();
    EXPECT_EQ(c.alive(), 0);
    EXPECT_EQ(c.domain.state()->holders().size(), 0);
    ASSERT_TRUE(c.heap->Verify().ok());
  }
}

TEST(MixedModelTest, AgreesWithReachability) { RunPrograms(Stores::kEager); }
TEST(MixedModelTest, AgreesWhereStoresAreCoalesced) { RunPrograms(Stores::kCoalesced); }

}  // namespace
}  // namespace ebb::rc
