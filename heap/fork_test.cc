// A process forks, at each place where a cycle waits, from any kind of thread: its heaps work in
// the child, and go on in the parent.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include "absl/base/log_severity.h"
#include "absl/log/check.h"
#include "absl/log/globals.h"
#include "absl/log/initialize.h"
#include "absl/log/log_entry.h"
#include "absl/log/log_sink.h"
#include "absl/log/log_sink_registry.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "heap/fork_for_test.h"
#include "platform/address_range.h"
#include "platform/fake_system.h"
#include "platform/range_releaser.h"
#include "platform/thread.h"

namespace ebb {
namespace {

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
    platform::MakeAbseilsRecord();
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

class ForkTest : public testing::TestWithParam<ForkCase> {
 protected:
  void SetUp() override {
    Options options = OptionsFor(GetParam().collector);
    options.safepoint_warning = absl::Milliseconds(1);  // for Waits
    heap_ = NewHeap(options);
  }
  bool concurrent() const { return IsConcurrent(GetParam().collector); }

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
      platform::MakeAbseilsRecord();
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
        platform::MakeAbseilsRecord();
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

INSTANTIATE_TEST_SUITE_P(Cases, ForkTest, testing::ValuesIn(ForkCases()), ForkCaseName);

// The child's heap works without the threads that it cannot have.
TEST(ForkWithoutThreadsTest, CyclesAreRunByWhoeverNeedsThem) {
  for (Collector collector : kCollectors) {
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

// Holds the first call that gives memory back until the test is about to fork, and somewhat longer,
// so that a fork which did not wait for it would come first.
class SlowSystem : public platform::FakeSystem {
 public:
  void AwaitCall() const { called_.WaitForNotification(); }
  void LetGo() { let_go_.Notify(); }

  absl::Status Discard(platform::AddressRange range, absl::string_view purpose) override {
    Hold();
    return FakeSystem::Discard(range, purpose);
  }
  std::unique_ptr<platform::RangeReleaser> NewRangeReleaser(
      platform::ReleaseBackend backend) override {
    return std::make_unique<Releaser>(*this, FakeSystem::NewRangeReleaser(backend));
  }

 private:
  class Releaser : public platform::RangeReleaser {
   public:
    Releaser(SlowSystem& system, std::unique_ptr<RangeReleaser> releaser)
        : system_(system), releaser_(std::move(releaser)) {}
    absl::Status Discard(absl::Span<const platform::AddressRange> ranges) override {
      system_.Hold();
      return releaser_->Discard(ranges);
    }
    absl::string_view name() const override { return releaser_->name(); }

   private:
    SlowSystem& system_;
    const std::unique_ptr<RangeReleaser> releaser_;
  };

  void Hold() {
    if (held_.exchange(true)) return;
    called_.Notify();
    let_go_.WaitForNotification();
    for (int i = 0; i < 20'000; ++i) std::this_thread::yield();
  }

  std::atomic<bool> held_ = false;
  absl::Notification called_;
  absl::Notification let_go_;
};

// What a thread is giving back is not lost to the child.
class ForkWhileMemoryLeavesTest : public testing::Test {
 protected:
  ForkWhileMemoryLeavesTest() {
    Options options = OptionsFor(Collector::kParallel);
    options.system = &system_;
    options.page_out = false;
    options.workers = 1;
    options.stress.poison = true;  // waits for pages that are leaving
    heap_ = NewHeap(options);
  }
  // `give_back` calls the system for it.
  void ForkWithin(const std::function<void()>& give_back, int64_t heap_bytes_then) {
    std::thread other([&] {
      platform::MakeAbseilsRecord();
      give_back();
    });
    system_.AwaitCall();
    system_.LetGo();
    EXPECT_TRUE(Fork([&] {
      for (int i = 0; i < 2; ++i) CHECK_OK(heap_->Collect());
      CheckVerifies(*heap_);
      CHECK_LE(heap_->stats().heap_bytes, heap_bytes_then);
    }));
    other.join();
    EXPECT_TRUE(heap_->Collect().ok());
    EXPECT_LE(heap_->stats().heap_bytes, heap_bytes_then);
  }

  SlowSystem system_;
  std::unique_ptr<Heap> heap_;
};

TEST_F(ForkWhileMemoryLeavesTest, EmptyBlocks) {
  {
    Mutator mutator(*heap_);
    for (int i = 0; i < 200'000; ++i) mutator.New<Node>(nullptr, nullptr, i);
  }
  EXPECT_TRUE(heap_->Collect().ok());
  const int64_t half = heap_->options().max_bytes / 2;
  ForkWithin([&] { EXPECT_TRUE(heap_->SetMaxBytes(half).ok()); }, half);
}

TEST_F(ForkWhileMemoryLeavesTest, LargeObjects) {
  constexpr int64_t kBytes = 1 << 20;
  {
    Mutator mutator(*heap_);
    mutator.NewArray<char>(kBytes);
  }
  const int64_t without = heap_->stats().heap_bytes - kBytes;
  ForkWithin([&] { EXPECT_TRUE(heap_->Collect().ok()); }, without);
}

TEST_F(ForkWhileMemoryLeavesTest, PinnedObjects) {
  int64_t without = 0;
  {
    Mutator mutator(*heap_);
    mutator.New<Node>();
    without = heap_->stats().heap_bytes;
    mutator.NewPinned<Node>();
  }
  ForkWithin([&] { EXPECT_TRUE(heap_->Collect().ok()); }, without);
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
      CHECK(absl::IsFailedPrecondition(heap->Verify()));
      CHECK(absl::IsFailedPrecondition(mutator.TryNewArray<char>(1 << 16).status()));
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
