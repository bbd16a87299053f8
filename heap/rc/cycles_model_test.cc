// Agrees with a naive model: random programs over Ptrs, Fields, Weaks, Locals, finalizers and
// threads, of which one at a time takes a step. When nothing is found any more those objects are
// there, and no others, that the program's Ptrs and Locals lead to; and what is gone was finalized
// once before, if it has a finalizer. After each step an object's count is the number of references
// that there are to it.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/config.h"
#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"
#include "heap/rc/recount_for_test.h"

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

  // By a thread with an Owner, or without.
  void Step(Owner* owner) {
    if (owner != nullptr && random_() % 4 == 0) return StepLocals(*owner);
    const size_t a = Place(), b = Place();
    switch (random_() % 9) {
      case 0:
      case 1:
        if (owner != nullptr) Set(a, Make(ptrs_[b]));
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
    for (const auto& [owner, locals] : locals_) {
      for (const NamedLocal& local : locals) {
        if (local.local.has_value()) {
          ASSERT_EQ(NameOf(*local.local), local.name);
        }
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

  // That each object's count is what is found by looking at all references, but for one that a
  // queue may have, if `queues` may have any; and if not, and nothing waits for its finalizer
  // (`settled`), that there is a reference or a Local to each object.
  void CheckCounts(Domain& domain, bool queues, bool settled) const {
    std::vector<const internal::Cell*> held;
    for (const Ptr<Actor>& ptr : ptrs_) held.push_back(ptr.cell());
    std::set<const internal::Cell*> named;
    for (const auto& [owner, locals] : locals_) {
      for (const NamedLocal& local : locals) {
        if (local.local.has_value()) named.insert(local.local->cell());
      }
    }
    for (const auto& [cell, found] : internal::Recount(domain, held)) {
      ASSERT_TRUE(cell->has_object()) << found << " references to nothing";
      if (found == 0) {
        ASSERT_FALSE(settled && !named.contains(cell)) << "alive without a reference";
        continue;  // dead, or only a queue's
      }
      ASSERT_GE(cell->Count(), found);
      ASSERT_LE(cell->Count(), found + (queues ? 1 : 0));
    }
  }

  void DropAll() {
    for (size_t i = 0; i < kPlaces; ++i) Set(i, nullptr);
  }
  // By its thread, before the Owner goes.
  void DropLocals(const Owner& owner) { locals_.erase(&owner); }

 private:
  static constexpr size_t kPlaces = 10;
  struct Edges {
    int64_t left = 0, right = 0;
  };

  struct NamedLocal {
    std::optional<Local<Actor>> local;
    int64_t name = 0;
  };

  // What a thread does with its own.
  void StepLocals(Owner& owner) {
    std::array<NamedLocal, 4>& locals = locals_[&owner];
    NamedLocal& a = locals[random_() % locals.size()];
    NamedLocal& b = locals[random_() % locals.size()];
    switch (random_() % 6) {
      case 0:
      case 1: {
        const Ptr<Actor>& ptr = ptrs_[Place()];
        a.local.emplace(owner, ptr);
        a.name = NameOf(ptr);
        break;
      }
      case 2:
        a = NamedLocal();
        break;
      case 3:
        if (!a.local.has_value() || !b.local.has_value()) break;
        *a.local = *b.local;
        a.name = b.name;
        break;
      case 4:
        if (!a.local.has_value() || b.name == 0) break;
        a.name = NameOf((*b.local)->left);
        *a.local = (*b.local)->left;
        break;
      case 5:
        if (a.local.has_value()) Set(Place(), *a.local);
        break;
    }
  }

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
    for (const auto& [owner, locals] : locals_) {
      for (const NamedLocal& local : locals) todo.push_back(local.name);
    }
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
  std::map<const Owner*, std::array<NamedLocal, 4>> locals_;
  Weak<Actor> weaks_[kPlaces];
  int64_t weak_names_[kPlaces] = {};
  bool has_read_null_[kPlaces] = {};
};

Actor::~Actor() {
  if (program != nullptr) program->OnDestroy(name);
}
void Mourned::Finalize(Ptr<Mourned> self) { self->program->OnFinalize(self); }

// A thread that does what it is told to; with an Owner, or only attached to the heap.
class Worker {
 public:
  Worker(Counting& c, bool owns) : thread_([this, &c, owns] { Work(c, owns); }) {}
  ~Worker() {
    Tell(nullptr);
    thread_.join();
  }

  // job(owner); null if it has none.
  using Job = absl::AnyInvocable<void(Owner*)>;
  void Tell(Job job) {
    absl::MutexLock lock(&mu_);
    job_ = std::move(job);
    told_ = true;
  }
  // Until the job is done.
  void Await() {
    absl::MutexLock lock(&mu_);
    const auto done = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !told_; };
    mu_.Await(absl::Condition(&done));
  }

 private:
  void Work(Counting& c, bool owns) {
    Mutator mutator(*c.heap);
    std::optional<Owner> owner;
    if (owns) owner.emplace(c.domain, mutator);
    for (;;) {
      Job job;
      {
        const Blocking blocking(mutator);
        absl::MutexLock lock(&mu_);
        mu_.Await(absl::Condition(&told_));
        job = std::move(job_);
      }
      if (job == nullptr) return;
      job(owner.has_value() ? &*owner : nullptr);
      absl::MutexLock lock(&mu_);
      told_ = false;
    }
  }

  absl::Mutex mu_;
  bool told_ ABSL_GUARDED_BY(mu_) = false;
  Job job_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;
};

// The thread of a test, and some workers.
class Threads {
 public:
  Threads(Counting& c, int owners, int others) : c_(c) {
    for (int i = 0; i < owners + others; ++i) {
      workers_.push_back(std::make_unique<Worker>(c, i < owners));
    }
  }
  ~Threads() {
    const Blocking blocking(c_.mutator);
    workers_.clear();
  }

  // By one of them, this one or a worker.
  void Run(uint64_t which, Worker::Job job) {
    which %= workers_.size() + 1;
    if (which == workers_.size()) return job(&c_.owner);
    const Blocking blocking(c_.mutator);
    workers_[which]->Tell(std::move(job));
    workers_[which]->Await();
  }

  void CollectAll(Program& program) {
    for (bool found = true; found;) {
      program.NoteWhatIsNotReached();
      StepAll();
      const absl::StatusOr<Detection> detection = Collect();
      ASSERT_TRUE(detection.ok());
      const bool stepped = StepAll();
      found = stepped || detection->collected + detection->finalized > 0;
    }
  }

  void DropLocals(Program& program) {
    for (size_t i = 0; i <= workers_.size(); ++i) {
      Run(i, [&program](Owner* owner) {
        if (owner != nullptr) program.DropLocals(*owner);
      });
    }
  }

  // What one drops, another may have to destroy, or only to count: so all come twice after the last
  // change. Whether there was anything to do.
  bool StepAll() {
    bool any = false;
    for (int more = 2; more > 0; --more) {
      const DomainStats before = c_.domain.stats();
      for (size_t i = 0; i <= workers_.size(); ++i) {
        Run(i, [](Owner* owner) {
          while (owner != nullptr && owner->Step()) {
          }
        });
      }
      const DomainStats after = c_.domain.stats();
      if (after.destroyed == before.destroyed && after.finalized == before.finalized) continue;
      any = true;
      more = 3;
    }
    return any;
  }

 private:
  // Meanwhile workers merge what they are asked to, and do nothing else.
  absl::StatusOr<Detection> Collect() {
    std::atomic<bool> stop = false;
    for (const auto& worker : workers_) {
      worker->Tell([&stop](Owner* owner) {
        while (owner != nullptr && !stop.load(std::memory_order_relaxed)) {  // publishes nothing
          owner->Step(/*objects=*/0);
          owner->mutator().Safepoint();
        }
      });
    }
    absl::StatusOr<Detection> detection = c_.domain.Collect(absl::Seconds(10));
    stop.store(true, std::memory_order_relaxed);  // publishes nothing
    const Blocking blocking(c_.mutator);
    for (const auto& worker : workers_) worker->Await();
    return detection;
  }

  Counting& c_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

// Sanitizers make a look at all cells slow.
#if defined(ABSL_HAVE_ADDRESS_SANITIZER) || defined(ABSL_HAVE_THREAD_SANITIZER)
constexpr int kStepsPerRecount = 7;
#else
constexpr int kStepsPerRecount = 1;
#endif

// Where stores are coalesced, counts are right when all threads have ended their epochs.
void RunPrograms(int owners, int others, Stores stores = Stores::kEager) {
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    SCOPED_TRACE(seed);
    Counting c({.stores = stores});
    std::mt19937_64 random(seed);
    Program program(seed);
    Threads threads(c, owners, others);
    for (int step = 0; step < 300; ++step) {
      threads.Run(random(), [&](Owner* owner) { program.Step(owner); });
      if (step % kStepsPerRecount == 0) {
        if (stores == Stores::kEager) {
          program.CheckCounts(c.domain, /*queues=*/owners + others > 0, /*settled=*/false);
        }
        if (seed % 2 == 0) {
          threads.StepAll();
          program.CheckCounts(c.domain, /*queues=*/false, /*settled=*/true);
        }
      }
      if (testing::Test::HasFatalFailure()) return;
      if (step % 10 != 9) continue;
      threads.CollectAll(program);
      program.Compare();
      program.CheckCounts(c.domain, /*queues=*/false, /*settled=*/true);
      if (testing::Test::HasFatalFailure()) return;
    }
    threads.DropLocals(program);
    // Finalizers may revive some, once.
    for (int i = 0; i < 100 && c.alive() > 0; ++i) {
      program.DropAll();
      threads.CollectAll(program);
      program.Compare();
    }
    EXPECT_EQ(c.alive(), 0);
    ASSERT_TRUE(c.heap->Verify().ok());
  }
}

// What the programs are checked by.
TEST(RecountTest, FindsEachReference) {
  Counting c;
  Ptr<Link> first = MakePtr<Link>(), second = MakePtr<Link>(first, first, 0), copy = first;
  first->other = first;
  const auto all = internal::Recount(c.domain, {first.cell(), second.cell(), copy.cell(), nullptr});
  EXPECT_EQ(all.size(), 2u);
  EXPECT_EQ(all.at(first.cell()), 5);
  EXPECT_EQ(all.at(first.cell()), first.use_count());
  EXPECT_EQ(all.at(second.cell()), 1);
  EXPECT_EQ(internal::Recount(c.domain, {second.cell()}).at(first.cell()), 3);
  first->other = nullptr;
  EXPECT_EQ(internal::Recount(c.domain, {}).at(first.cell()), 2);
  EXPECT_EQ(internal::Recount(c.domain, {}).at(second.cell()), 0);
}

TEST(CyclesModelTest, AgreesWithReachability) { RunPrograms(/*owners=*/0, /*others=*/0); }
TEST(CyclesModelTest, AgreesWithSeveralThreads) { RunPrograms(/*owners=*/2, /*others=*/1); }
TEST(CyclesModelTest, AgreesWhereStoresAreCoalesced) {
  RunPrograms(/*owners=*/0, /*others=*/0, Stores::kCoalesced);
}
TEST(CyclesModelTest, AgreesWhereStoresOfSeveralThreadsAre) {
  RunPrograms(/*owners=*/2, /*others=*/1, Stores::kCoalesced);
}

}  // namespace
}  // namespace ebb::rc
