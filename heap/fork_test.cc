// A process forks, at any moment of a cycle, from any kind of thread: its heaps work in the child,
// and go on in the parent.
//
// Under ThreadSanitizer a child of several threads must not start any: there it only does what needs
// none, and the sanitizer watches what the parent does around the fork.

#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/config.h"
#include "absl/base/log_severity.h"
#include "absl/log/check.h"
#include "absl/log/globals.h"
#include "absl/log/initialize.h"
#include "absl/log/log_entry.h"
#include "absl/log/log_sink.h"
#include "absl/log/log_sink_registry.h"
#include "absl/strings/match.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "heap/heap_for_test.h"
#include "platform/fake_system.h"

namespace ebb {
namespace {

#ifdef ABSL_HAVE_THREAD_SANITIZER
constexpr bool kChildMayStartThreads = false;
#else
constexpr bool kChildMayStartThreads = true;
#endif

constexpr int64_t kListLength = 1'000;
constexpr int kMostSecondsInChild = 60;

// The thread that forks: what it has on the heap.
enum class Forker { kRuns, kBlocked, kNone };

struct Case {
  Collector collector;
  Forker forker;

  std::string name() const {
    const std::string mode = collector == Collector::kParallel ? "Parallel" : "Concurrent";
    switch (forker) {
      case Forker::kRuns:
        return mode + "Runs";
      case Forker::kBlocked:
        return mode + "Blocked";
      case Forker::kNone:
        return mode + "None";
    }
  }
  friend void PrintTo(const Case& c, std::ostream* out) { *out << c.name(); }
};

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (Collector collector : {Collector::kParallel, Collector::kConcurrent}) {
    for (Forker forker : {Forker::kRuns, Forker::kBlocked, Forker::kNone}) {
      cases.push_back({collector, forker});
    }
  }
  return cases;
}

Options OptionsFor(Collector collector) {
  Options options{.max_bytes = 4 << 20,
                  .collector = collector,
                  .workers = 2,
                  .concurrent_workers = 2,
                  .page_out_tick = absl::Milliseconds(1),
                  .safepoint_warning = absl::Milliseconds(1)};
  options.read_environment = false;
  return options;
}

// Forks, and lets the child do `work`, which stops it where something is amiss. True if all went
// well in there, and within the time.
bool Fork(const std::function<void()>& work) {
  const pid_t child = fork();
  CHECK_GE(child, 0) << std::strerror(errno);
  if (child == 0) {
    alarm(kMostSecondsInChild);
    work();
    _exit(0);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0) CHECK_EQ(errno, EINTR);
  if (status == 0) return true;
  ADD_FAILURE() << "the child ended with "
                << (WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "an error") << " (" << status
                << ")";
  return false;
}

// Of this process's threads.
std::set<std::string> ThreadNames() {
  std::set<std::string> names;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    names.insert(name);
  }
  return names;
}

int64_t ThreadCount() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"),
                       std::filesystem::directory_iterator());
}

void CheckVerifies(Heap& heap) {
  absl::Status status = heap.Verify();
  CHECK_OK(status);
}

// Allocates more than a heap has room for, so that cycles must run.
void Churn(Heap& heap, Mutator& mutator) {
  Local<Node> list(mutator, NewList(mutator, 100));
  const int64_t before = heap.stats().collections;
  while (heap.stats().collections < before + 2) {
    for (int i = 0; i < 1'000; ++i) mutator.New<Node>(list, nullptr, i);
    mutator.NewArray<int64_t>(10'000);
    mutator.NewPinned<Node>(list, nullptr, 7);
  }
  CHECK(IsList(list, 100));
}

// What must work on the heap in a child, by the thread that is there. `check` looks whether old
// objects are what they were.
void UseInChild(Heap& heap, Mutator& mutator, const std::function<void()>& check) {
  check();
  Local<Node> list(mutator, NewList(mutator, kListLength));
  CheckVerifies(heap);
  check();
  CHECK(IsList(list, kListLength));
  if (!kChildMayStartThreads) return;
  for (int i = 0; i < 2; ++i) {
    CHECK_OK(heap.Collect());
    check();
    CHECK(IsList(list, kListLength));
  }
  CheckVerifies(heap);
  {
    // It is given the stack of a thread that the child does not have.
    std::thread other([&heap] {
      Mutator mutator(heap);
      Churn(heap, mutator);
    });
    const Blocking blocking(mutator);
    other.join();
  }
  Churn(heap, mutator);
  check();
  CHECK(IsList(list, kListLength));
  CheckVerifies(heap);
  CHECK_OK(heap.SetMaxBytes(heap.options().max_bytes / 2));
  CHECK_OK(heap.Collect());
  check();
  CHECK_EQ(heap.stats().mutators, 1);
  const std::set<std::string> names = ThreadNames();
  CHECK(names.contains("ebb-background"));
  CHECK_EQ(names.contains("ebb-collector"), heap.options().collector == Collector::kConcurrent);
}

// The mutator that a thread has when it forks.
class ForkersMutator {
 public:
  ForkersMutator(Heap& heap, Forker forker) {
    if (forker != Forker::kNone) mutator_.emplace(heap);
    if (forker == Forker::kBlocked) blocking_.emplace(*mutator_);
  }
  // In the child: one that runs.
  Mutator& Running(Heap& heap) {
    blocking_.reset();
    if (!mutator_.has_value()) mutator_.emplace(heap);
    return *mutator_;
  }
  void Reset() {
    blocking_.reset();
    mutator_.reset();
  }
  Mutator* get() { return mutator_.has_value() ? &*mutator_ : nullptr; }

 private:
  std::optional<Mutator> mutator_;
  std::optional<Blocking> blocking_;
};

// Uses the heap, and destroys it: all of it goes, also what mutators of threads that are not there
// have shared.
void UseUpInChild(std::unique_ptr<Heap> heap, ForkersMutator& forker,
                  const std::function<void()>& check) {
  // Nothing is started that nobody needs: the child may be about to exec.
  CHECK_EQ(ThreadCount(), 1);
  UseInChild(*heap, forker.Running(*heap), check);
  const std::weak_ptr<internal::HeapCore> core = heap->core();
  heap = nullptr;
  forker.Reset();
  CHECK(core.expired());
  if (kChildMayStartThreads) CHECK_EQ(ThreadCount(), 1);
}

// A thread that is blocked, with objects that nobody else holds.
class BlockedThread {
 public:
  explicit BlockedThread(Heap& heap) : thread_([this, &heap] { Run(heap); }) {
    blocked_.WaitForNotification();
  }
  ~BlockedThread() {
    go_on_.Notify();
    thread_.join();
  }
  // Pinned; its `left` leads to a list.
  const Node& pinned() const { return *pinned_; }

 private:
  void Run(Heap& heap) {
    Mutator mutator(heap);
    Local<Node> list(mutator, NewList(mutator, kListLength));
    Local<Node> pinned(mutator, mutator.NewPinned<Node>(list, nullptr, 42));
    pinned_ = pinned.get();
    list = nullptr;
    {
      const Blocking blocking(mutator);
      blocked_.Notify();
      go_on_.WaitForNotification();
    }
    EXPECT_TRUE(IsList(pinned->left, kListLength));
  }

  const Node* pinned_ = nullptr;
  absl::Notification blocked_;
  absl::Notification go_on_;
  std::thread thread_;
};

// Counts how often a pause or a handshake has had to wait for a thread: when it has, it is under
// way and does not go on before that thread passes a safepoint.
class Waits : public absl::LogSink {
 public:
  Waits() { absl::AddLogSink(this); }
  ~Waits() override { absl::RemoveLogSink(this); }
  void Send(const absl::LogEntry& entry) override {
    if (!absl::StrContains(entry.text_message(), "waiting to stop")) return;
    count_.fetch_add(1, std::memory_order_relaxed);  // publishes nothing
    count_.notify_all();
  }
  void AwaitNext() const { count_.wait(count_.load(std::memory_order_relaxed)); }

 private:
  std::atomic<int> count_ = 0;
};

class ForkTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { heap_ = NewHeap(OptionsFor(GetParam().collector)); }
  bool concurrent() const { return GetParam().collector == Collector::kConcurrent; }

  // Forks, and tries everything in the child.
  bool ForkAndUse(ForkersMutator& forker, const BlockedThread& blocked,
                  Persistent<Node>& old_list) {
    const auto check = [&] {
      CHECK(IsList(old_list, kListLength));
      CHECK_EQ(blocked.pinned().value, 42);
      CHECK(IsList(const_cast<Node&>(blocked.pinned()).left, kListLength));
    };
    return Fork([&] { UseUpInChild(std::move(heap_), forker, check); });
  }
  void ExpectGoesOn(ForkersMutator& forker, Persistent<Node>& old_list) {
    EXPECT_TRUE(heap_->Collect().ok());
    Churn(*heap_, forker.Running(*heap_));
    EXPECT_TRUE(IsList(old_list, kListLength));
    EXPECT_TRUE(heap_->Verify().ok());
  }
  void MakeOldList(Persistent<Node>& old_list) {
    Mutator mutator(*heap_);
    old_list = NewList(mutator, kListLength);
  }

  std::unique_ptr<Heap> heap_;
};

TEST_P(ForkTest, NoCycle) {
  Persistent<Node> old_list(*heap_);
  MakeOldList(old_list);
  BlockedThread blocked(*heap_);
  ForkersMutator forker(*heap_, GetParam().forker);
  EXPECT_TRUE(ForkAndUse(forker, blocked, old_list));
  ExpectGoesOn(forker, old_list);
}

// A cycle waits for a mutator: for the first time before it has begun, then within it. That mutator
// is the forking thread's if it runs one.
TEST_P(ForkTest, WithinACycle) {
  Persistent<Node> old_list(*heap_);
  MakeOldList(old_list);
  // The flip, then handshakes: at the end of the trace, and to disarm barriers.
  const int phases = concurrent() ? 5 : 1;
  for (int phase = 1; phase <= phases; ++phase) {
    SCOPED_TRACE(phase);
    BlockedThread blocked(*heap_);
    ForkersMutator forker(*heap_, GetParam().forker);
    Waits waits;
    std::atomic<bool> done = false;
    std::thread collector([&] {
      while (!done) EXPECT_TRUE(heap_->Collect().ok());
    });
    const auto hold_up = [&](Mutator& mutator) {
      for (int i = 1; i <= phase; ++i) {
        waits.AwaitNext();
        if (i < phase) mutator.Safepoint();
      }
    };
    if (GetParam().forker == Forker::kRuns) {
      hold_up(*forker.get());
      EXPECT_TRUE(ForkAndUse(forker, blocked, old_list));
      done = true;
      const Blocking blocking(*forker.get());
      collector.join();
    } else {
      absl::Notification held_up;
      std::atomic<bool> forking = false;
      std::thread other([&] {
        Mutator mutator(*heap_);
        hold_up(mutator);
        held_up.Notify();
        forking.wait(false);
        while (!done) mutator.Safepoint();
      });
      held_up.WaitForNotification();
      forking = true;
      forking.notify_all();
      EXPECT_TRUE(ForkAndUse(forker, blocked, old_list));
      done = true;
      collector.join();
      other.join();
    }
    ExpectGoesOn(forker, old_list);
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, ForkTest, testing::ValuesIn(Cases()),
                         [](const testing::TestParamInfo<Case>& info) {
                           return info.param.name();
                         });

// Forks at any moment, beside threads that do everything. A debug build of Abseil takes a lock of
// its own, which a fork does not know of, each time it looks for deadlocks: see docs/design/fork.md.
class ForkStressTest : public testing::TestWithParam<Case> {
 protected:
  ForkStressTest() { absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore); }
  ~ForkStressTest() override {
    absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kAbort);
  }

  void Add(std::function<void()> body) {
    threads_.emplace_back([this, body = std::move(body)] {
      while (!done_) body();
    });
  }
  void Join() {
    done_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }
  // Threads that do all that a heap is for.
  void AddUsers(Heap& heap) {
    Add([&heap] { EXPECT_TRUE(heap.Collect().ok()); });
    Add([&heap] {
      Mutator mutator(heap);
      Churn(heap, mutator);
    });
    Add([&heap] {
      for (int i = 0; i < 100; ++i) {
        Persistent<Node> root(heap);
        const Persistent<Node> copy(root);
        EXPECT_GT(heap.stats().mutators, -1);
      }
      EXPECT_TRUE(heap.SetMaxBytes(heap.options().max_bytes).ok());
    });
  }

  std::atomic<bool> done_ = false;
  std::vector<std::thread> threads_;
};

constexpr int kForks = kChildMayStartThreads ? 10 : 50;

TEST_P(ForkStressTest, AtAnyMoment) {
  const std::unique_ptr<Heap> heap = NewHeap(OptionsFor(GetParam().collector));
  Persistent<Node> old_list(*heap);
  {
    Mutator mutator(*heap);
    old_list = NewList(mutator, kListLength);
  }
  AddUsers(*heap);
  for (int i = 0; i < kForks && !HasFailure(); ++i) {
    ForkersMutator forker(*heap, GetParam().forker);
    EXPECT_TRUE(Fork([&] {
      CHECK_EQ(ThreadCount(), 1);
      UseInChild(*heap, forker.Running(*heap), [&] { CHECK(IsList(old_list, kListLength)); });
    }));
    Churn(*heap, forker.Running(*heap));
    EXPECT_TRUE(IsList(old_list, kListLength));
  }
  Join();
  EXPECT_TRUE(heap->Verify().ok());
}

// Threads that run in both heaps and collect in either, and others that fork or make heaps.
TEST_P(ForkStressTest, TwoHeaps) {
  const std::unique_ptr<Heap> one = NewHeap(OptionsFor(GetParam().collector));
  const std::unique_ptr<Heap> two = NewHeap(OptionsFor(Collector::kConcurrent));
  const auto use_both = [](Heap& first, Heap& second) {
    Mutator a(first);
    Mutator b(second);
    Local<Node> in_a(a, NewList(a, 100));
    Local<Node> in_b(b, NewList(b, 100));
    Churn(first, a);
    EXPECT_TRUE(second.Collect().ok());
    EXPECT_TRUE(IsList(in_a, 100));
    EXPECT_TRUE(IsList(in_b, 100));
  };
  Add([&] { use_both(*one, *two); });
  Add([&] { use_both(*two, *one); });
  Add([&] {
    Mutator mutator(*one);
    const std::unique_ptr<Heap> third = NewHeap(OptionsFor(GetParam().collector));
    Mutator another(*third);
    NewList(another, 100);
  });
  // Another thread that forks.
  Add([&] {
    Mutator mutator(*one);
    EXPECT_TRUE(Fork([] {}));
  });
  for (int i = 0; i < kForks && !HasFailure(); ++i) {
    ForkersMutator in_one(*one, GetParam().forker);
    ForkersMutator in_two(*two, Forker::kRuns);
    EXPECT_TRUE(Fork([&] {
      CHECK_EQ(ThreadCount(), 1);
      Mutator& a = in_one.Running(*one);
      NewList(in_two.Running(*two), kListLength);
      CheckVerifies(*one);
      CheckVerifies(*two);
      if (kChildMayStartThreads) {
        CHECK_OK(two->Collect());
        Churn(*one, a);
        // A child of the child.
        CHECK(Fork([&] {
          CHECK_OK(one->Collect());
          CHECK_OK(two->Collect());
          CheckVerifies(*two);
        }));
      }
    }));
  }
  Join();
  EXPECT_TRUE(one->Verify().ok());
  EXPECT_TRUE(two->Verify().ok());
}

INSTANTIATE_TEST_SUITE_P(Cases, ForkStressTest, testing::ValuesIn(Cases()),
                         [](const testing::TestParamInfo<Case>& info) {
                           return info.param.name();
                         });

// The child's heap works without the threads that it cannot have.
TEST(ForkWithoutThreadsTest, CyclesAreRunByWhoeverNeedsThem) {
  for (Collector collector : {Collector::kParallel, Collector::kConcurrent}) {
    platform::FakeSystem system;
    Options options = OptionsFor(collector);
    options.system = &system;
    const std::unique_ptr<Heap> heap = NewHeap(options);
    Mutator mutator(*heap);
    Local<Node> list(mutator, NewList(mutator, kListLength));
    EXPECT_TRUE(Fork([&] {
      system.FailEvery(platform::Call::kStartThread, 1);
      CHECK_OK(heap->Collect());
      Churn(*heap, mutator);
      CHECK(IsList(list, kListLength));
      CheckVerifies(*heap);
      CHECK_EQ(ThreadCount(), 1);
    }));
    EXPECT_TRUE(heap->Collect().ok());
  }
}

// Where no safepoint may be, the heaps cannot be stopped: the child can still exec, and is told.
TEST(ForkInANoSafepointScopeTest, TheChildsHeapsRefuse) {
  const std::unique_ptr<Heap> heap = NewHeap(OptionsFor(Collector::kConcurrent));
  Mutator mutator(*heap);
  Local<Node> list(mutator, NewList(mutator, 10));
  {
    const NoSafepoint scope(mutator);
    const Ref<Node> node = list;
    EXPECT_TRUE(Fork([&] {
      CHECK(IsList(node, 10));
      const absl::Status status = heap->Collect();
      CHECK(absl::IsFailedPrecondition(status)) << status;
      CHECK(absl::StrContains(status.message(), "forked in a NoSafepoint scope")) << status;
    }));
    EXPECT_TRUE(IsList(node, 10));  // and nothing has moved
  }
  EXPECT_TRUE(heap->Collect().ok());
}

}  // namespace
}  // namespace ebb

// Of the warnings that Waits counts there are many.
int main(int argc, char** argv) {
  absl::InitializeLog();
  absl::SetStderrThreshold(absl::LogSeverityAtLeast::kError);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
