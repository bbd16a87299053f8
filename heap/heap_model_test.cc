// The heap against a naive model: a seeded random program of allocations, stores, roots that come
// and go, and cycles, is carried out on both; after each cycle what the model can reach is what the
// heap holds. EBB_SEED sets the seed, which is printed; EBB_SOAK (seconds) tries further ones.

#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "heap/heap_for_test.h"

namespace ebb {
namespace {

// One of each kind of object. All but Table carry their model's id as a stamp.
struct Hub;
struct Pair {
  Field<Pair> left, right;
  Field<Hub> hub;
  int64_t stamp = 0;
};
struct alignas(16) Wide {
  int64_t stamp = 0;
  Field<Pair> pair;
  EBB_FIELDS(Wide, stamp, pair)
};
using Longs = Array<int64_t>;
using Table = RefArray<Pair>;
struct Hub {
  int64_t stamp = 0;
  Field<Pair> pair;
  Field<Longs> longs;
  Field<Table> table;
  Field<String> text;
  Field<Wide> wide;
};

constexpr int kNull = 0;

// The model: an object is its edges, by slot, in the order of the struct.
struct Object {
  int64_t bytes = 0;
  uintptr_t pinned_at = 0;
  std::vector<int> edges;
};

struct Case {
  std::string name;
  int workers = 1;
  int64_t worklist_capacity = 0;
  int64_t fail_evacuation = 0;
  int64_t max_bytes = 8 << 20;
};

class Program {
 public:
  Program(const Case& parameters, uint64_t seed)
      : parameters_(parameters), random_(seed), heap_(NewHeap(ToOptions(parameters))) {}

  void Run(int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFatalFailure(); ++i) {
      try {
        Step();
      } catch (const HeapExhausted&) {
        roots_.resize(roots_.size() / 2);
      }
    }
    CollectAndCheck();
    roots_.clear();
    CollectAndCheck();
  }

 private:
  using PairRoot = std::variant<std::unique_ptr<Local<Pair>>, Persistent<Pair>>;
  struct Root {
    int id;
    PairRoot pair;
    Ref<Pair> get() const {
      if (const auto* local = std::get_if<0>(&pair)) return **local;
      return std::get<1>(pair);
    }
  };
  // An object of the program: its model and what roots it for now.
  struct Found {
    int id;
    Local<Pair> pair;
  };

  static Options ToOptions(const Case& parameters) {
    Options options;
    options.max_bytes = parameters.max_bytes;
    options.collector = CollectorUnderTest();
    options.workers = parameters.workers;
    options.stress.worklist_capacity = parameters.worklist_capacity;
    options.stress.fail_evacuation = parameters.fail_evacuation;
    options.read_environment = false;
    return options;
  }

  int Random(int limit) { return static_cast<int>(random_() % static_cast<uint64_t>(limit)); }

  int NewId(int64_t bytes, size_t edges) {
    const int id = ++last_id_;
    model_[id] = {bytes, 0, std::vector<int>(edges, kNull)};
    return id;
  }

  void Step() {
    const int what = Random(100);
    if (what < 25 || roots_.empty()) return AddRoot();
    if (what < 35) return DropRoot();
    if (what < 45) return CopyRoot();
    if (what < 75) return Store();
    if (what < 97) return Fill();
    if (what < 98) return Churn();
    CollectAndCheck();
  }

  void Churn() {
    for (int i = 0; i < 500; ++i) mutator_.NewArray<int64_t>(static_cast<size_t>(Random(200)));
  }

  // A new Pair, pinned at times, with no edges.
  Found NewPair() {
    const bool pinned = Random(8) == 0;
    const int id = NewId(pinned ? 48 : 40, 3);  // pinned objects take cells of multiples of 16
    Ref<Pair> pair = pinned ? mutator_.NewPinned<Pair>() : mutator_.New<Pair>();
    pair->stamp = id;
    if (pinned) model_[id].pinned_at = pair.bits();
    return {id, Local<Pair>(mutator_, pair)};
  }

  Found Find() {
    const Root& root = roots_[static_cast<size_t>(Random(static_cast<int>(roots_.size())))];
    Found found{root.id, Local<Pair>(mutator_, root.get())};
    for (int steps = Random(12); steps > 0; --steps) {
      const bool left = Random(2) == 0;
      const int next = model_[found.id].edges[left ? 0 : 1];
      if (next == kNull) break;
      found.id = next;
      found.pair = left ? found.pair->left.load() : found.pair->right.load();
    }
    return found;
  }

  Found FindOrMake() { return Random(3) == 0 ? Find() : NewPair(); }

  void AddRoot() {
    Found found = roots_.empty() ? NewPair() : FindOrMake();
    if (roots_.size() > 60) DropRoot();
    if (Random(2) == 0) {
      roots_.push_back({found.id, std::make_unique<Local<Pair>>(found.pair)});
    } else {
      roots_.push_back({found.id, Persistent<Pair>(*heap_, found.pair)});
    }
  }

  void DropRoot() { roots_.erase(roots_.begin() + Random(static_cast<int>(roots_.size()))); }

  void CopyRoot() {
    const Root& root = roots_[static_cast<size_t>(Random(static_cast<int>(roots_.size())))];
    Root copy{root.id, Persistent<Pair>()};
    if (const auto* persistent = std::get_if<1>(&root.pair)) {
      copy.pair = *persistent;
    } else {
      copy.pair = std::make_unique<Local<Pair>>(**std::get_if<0>(&root.pair));
    }
    roots_.push_back(std::move(copy));
  }

  void Store() {
    Found from = Find();
    const bool left = Random(2) == 0;
    int& edge = model_[from.id].edges[left ? 0 : 1];
    Field<Pair>& (*field)(Pair&, bool) = [](Pair& pair, bool l) -> Field<Pair>& {
      return l ? pair.left : pair.right;
    };
    if (Random(5) == 0) {
      edge = kNull;
      field(*from.pair, left) = nullptr;
      return;
    }
    Found to = FindOrMake();
    edge = to.id;
    Ref<Pair> expected = field(*from.pair, left);
    ASSERT_TRUE(field(*from.pair, left).CompareExchange(expected, to.pair));
  }

  // Gives a pair a new hub, with some of what a hub can hold; other objects hang on hubs.
  void Fill() {
    Found from = Find();
    const int id = NewId(56, 5);
    Local<Hub> hub(mutator_, mutator_.New<Hub>());
    hub->stamp = id;
    if (Random(2) == 0) {
      const size_t length = Random(20) == 0 ? 2000 : 1 + static_cast<size_t>(Random(40));
      const int longs = NewId(16 + 8 * static_cast<int64_t>(length), 0);
      hub->longs = mutator_.NewArray<int64_t>(length);
      for (size_t i = 0; i < length; ++i) hub->longs->at(i) = longs + static_cast<int64_t>(i);
      model_[id].edges[1] = longs;
    }
    if (Random(2) == 0) FillTable(id, hub);
    if (Random(2) == 0) {
      const int text = NewId(0, 0);
      const std::string content = TextOf(text);
      model_[text].bytes = (16 + static_cast<int64_t>(content.size()) + 7) / 8 * 8;
      hub->text = mutator_.NewString(content);
      model_[id].edges[3] = text;
    }
    if (Random(2) == 0) {
      const int wide = NewId(24, 1);
      Found pair = FindOrMake();
      hub->wide = mutator_.New<Wide>(wide, pair.pair);
      model_[wide].edges[0] = pair.id;
      model_[id].edges[4] = wide;
    }
    if (Random(2) == 0) {
      Found pair = FindOrMake();
      hub->pair = pair.pair;
      model_[id].edges[0] = pair.id;
    }
    from.pair->hub = hub;
    model_[from.id].edges[2] = id;
  }

  void FillTable(int hub_id, Local<Hub>& hub) {
    const size_t length = Random(20) == 0 ? 5000 : static_cast<size_t>(Random(30));
    const int table = NewId(16 + 8 * static_cast<int64_t>(length), length);
    hub->table = mutator_.NewRefArray<Pair>(length);
    for (int i = 0; i < 20 && length > 0; ++i) {
      const size_t index = static_cast<size_t>(Random(static_cast<int>(length)));
      Found pair = FindOrMake();
      hub->table->at(index) = pair.pair;
      model_[table].edges[index] = pair.id;
    }
    model_[hub_id].edges[2] = table;
  }

  // More than a header's worth for some, nothing for none.
  static std::string TextOf(int id) {
    std::string text;
    for (int i = 0; i < id % 7; ++i) absl::StrAppend(&text, id, " ");
    return text;
  }

  // What is reachable, in the model and in the heap at once.
  struct Grey {
    int id;
    std::variant<Ref<Pair>, Ref<Hub>, Ref<Longs>, Ref<Table>, Ref<String>, Ref<Wide>> object;
  };

  template <typename T>
  void Meet(int id, Ref<T> object) {
    ASSERT_EQ(id == kNull, object == nullptr);
    if (id == kNull) return;
    const auto [it, first] = met_.emplace(id, object.bits());
    ASSERT_EQ(it->second, object.bits()) << "object " << id << " exists twice";
    if (first) grey_.push_back({id, object});
  }

  void Check(int id, Ref<Pair> pair) {
    const Object& object = model_[id];
    ASSERT_EQ(pair->stamp, id);
    if (object.pinned_at != 0) {
      ASSERT_EQ(pair.bits(), object.pinned_at);
    }
    Meet(object.edges[0], pair->left.load());
    Meet(object.edges[1], pair->right.load());
    Meet(object.edges[2], pair->hub.load());
  }
  void Check(int id, Ref<Hub> hub) {
    const Object& object = model_[id];
    ASSERT_EQ(hub->stamp, id);
    Meet(object.edges[0], hub->pair.load());
    Meet(object.edges[1], hub->longs.load());
    Meet(object.edges[2], hub->table.load());
    Meet(object.edges[3], hub->text.load());
    Meet(object.edges[4], hub->wide.load());
  }
  void Check(int id, Ref<Longs> longs) {
    ASSERT_EQ(16 + 8 * static_cast<int64_t>(longs->size()), model_[id].bytes);
    for (size_t i = 0; i < longs->size(); ++i) {
      ASSERT_EQ((*longs)[i], id + static_cast<int64_t>(i));
    }
  }
  void Check(int id, Ref<Table> table) {
    const Object& object = model_[id];
    ASSERT_EQ(table->size(), object.edges.size());
    for (size_t i = 0; i < table->size(); ++i) Meet(object.edges[i], (*table)[i].load());
  }
  void Check(int id, Ref<String> text) { ASSERT_EQ(text->view(), TextOf(id)); }
  void Check(int id, Ref<Wide> wide) {
    ASSERT_EQ(wide.bits() % 16, 0u);
    ASSERT_EQ(wide->stamp, id);
    ++wides_;
    Meet(model_[id].edges[0], wide->pair.load());
  }

  void CollectAndCheck() {
    ASSERT_TRUE(heap_->Collect().ok());
    const HeapStats stats = heap_->stats();
    absl::Status status = heap_->Verify();
    ASSERT_TRUE(status.ok()) << status;
    met_.clear();
    wides_ = 0;
    NoSafepoint no_safepoint(mutator_);
    for (const Root& root : roots_) Meet(root.id, root.get());
    while (!grey_.empty() && !::testing::Test::HasFatalFailure()) {
      const Grey grey = grey_.back();
      grey_.pop_back();
      std::visit([&](const auto& object) { Check(grey.id, object); }, grey.object);
    }
    if (::testing::Test::HasFatalFailure()) return;
    CheckSizes(stats);
    std::erase_if(model_, [this](const auto& entry) { return !met_.contains(entry.first); });
  }

  void CheckSizes(const HeapStats& stats) {
    int64_t bytes = 0;
    std::set<uintptr_t> addresses;
    for (const auto& [id, address] : met_) {
      bytes += model_[id].bytes;
      ASSERT_TRUE(addresses.insert(address).second) << "two objects at the same address";
    }
    EXPECT_GE(stats.live_bytes, bytes);
    if (parameters_.fail_evacuation == 0 && stats.retained_objects == 0) {
      // Each 16-byte aligned object may come with a filler.
      EXPECT_LE(stats.live_bytes, bytes + 8 * wides_);
    }
  }

  const Case parameters_;
  std::mt19937_64 random_;
  std::unique_ptr<Heap> heap_;
  Mutator mutator_{*heap_};
  int last_id_ = kNull;
  int64_t wides_ = 0;
  std::map<int, Object> model_;
  std::vector<Root> roots_;
  std::map<int, uintptr_t> met_;
  std::vector<Grey> grey_;
};

class HeapModelTest : public ::testing::TestWithParam<Case> {};

TEST_P(HeapModelTest, HoldsWhatTheModelCanReach) {
  uint64_t seed = 1;
  const char* text = std::getenv("EBB_SEED");
  if (text != nullptr) {
    ASSERT_TRUE(absl::SimpleAtoi(text, &seed));
  }
  double soak = 0;
  const char* seconds = std::getenv("EBB_SOAK");
  if (seconds != nullptr) {
    ASSERT_TRUE(absl::SimpleAtod(seconds, &soak));
  }
  const absl::Time end = absl::Now() + absl::Seconds(soak);
  do {
    SCOPED_TRACE(absl::StrCat("EBB_SEED=", seed));
    Program(GetParam(), seed++).Run(600);
  } while (!HasFailure() && absl::Now() < end);
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (int workers : {1, 2, 4}) {
    for (int64_t capacity : {0, 1, 3}) {
      for (int64_t fail : {0, 3}) {
        cases.push_back({absl::StrCat("Workers", workers, "Capacity", capacity, "Fail", fail),
                         workers, capacity, fail});
      }
    }
  }
  cases.push_back({"Tiny", 1, 0, 0, 2 << 20});
  cases.push_back({"TinyRarePaths", 2, 1, 3, 2 << 20});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, HeapModelTest, ::testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace ebb
