// A heap under many threads: stamped objects in a shared graph are rewired, read and collected, by
// mutators that come and go, with page-out, resizing and rare paths beside. EBB_SOAK (seconds)
// lengthens each case.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "heap/heap_for_test.h"
#include "heap/stamped_for_test.h"
#include "heap/stress_for_test.h"

namespace ebb {
namespace {

using Board = RefArray<Stamped>;

constexpr size_t kSlots = 48;
// How long the threads of one case work, where nobody says otherwise.
constexpr double kSeconds = 1;

// What one thread does to the graph.
class Player {
 public:
  Player(Mutator& mutator, const Persistent<Board>& board, uint64_t seed)
      : mutator_(mutator), board_(mutator, board), random_(seed) {}

  // True if what it met was intact. Memory may be refused at times: then slots are emptied.
  bool Play(int moves) {
    for (int i = 0; i < moves; ++i) {
      try {
        if (!Move()) return false;
      } catch (const HeapExhausted&) {
        for (size_t slot = random_() % 2; slot < kSlots; slot += 2) board_->at(slot) = nullptr;
        std::this_thread::yield();
      }
    }
    return true;
  }

 private:
  bool Move() {
    Local<Stamped> found(mutator_, Slot().load());
    if (!Wander(found, 4, random_)) return false;
    Local<Stamped> made(mutator_, NewStamped(mutator_, found, random_));
    Ref<Stamped> expected = Slot().load();
    Slot().CompareExchange(expected, made);
    if (expected != nullptr && expected->depth > made->depth) expected->next.store(made);
    mutator_.Safepoint();
    return Intact(made);
  }

  Field<Stamped>& Slot() { return board_->at(random_() % kSlots); }

  Mutator& mutator_;
  Local<Board> board_;
  std::mt19937_64 random_;
};

// A heap with a board, threads that work on it until the time is up, and the last word.
class Arena {
 public:
  explicit Arena(Options options) {
    options.collector = CollectorUnderTest();
    if (options.max_bytes == 0) options.max_bytes = 6 << 20;
    options.read_environment = false;
    heap_ = NewHeap(options);
    Mutator mutator(*heap_);
    board_ = Persistent<Board>(*heap_, mutator.NewRefArray<Stamped>(kSlots));
  }

  Heap& heap() { return *heap_; }
  const Persistent<Board>& board() const { return board_; }

  // `body` again and again, by a thread of its own.
  void Add(std::function<bool()> body) { threads_.Add(std::move(body)); }
  // A thread that stays attached. `between` runs every now and then.
  void AddPlayer(uint64_t seed, std::function<void(Mutator&)> between = nullptr) {
    threads_.AddOne([this, seed, between = std::move(between)] {
      Mutator mutator(*heap_);
      Player player(mutator, board_, seed);
      while (!threads_.time_is_up()) {
        ASSERT_TRUE(player.Play(50));
        if (between != nullptr) between(mutator);
      }
    });
  }

  void Finish() {
    threads_.Join();
    ExpectSound(*heap_);
    EXPECT_GT(heap_->stats().collections, 1);
    EXPECT_EQ(heap_->stats().mutators, 0);
    Mutator mutator(*heap_);
    EXPECT_TRUE(Player(mutator, board_, 0).Play(50));
  }

 private:
  std::unique_ptr<Heap> heap_;
  Persistent<Board> board_;
  Threads threads_{WorkingTime(kSeconds)};
};

TEST(HeapStressTest, FourMutators) {
  Arena arena({.workers = 2});
  for (uint64_t i = 0; i < 4; ++i) arena.AddPlayer(i);
  arena.Add([&] { return arena.heap().Collect().ok(); });
  arena.Finish();
}

TEST(HeapStressTest, SixteenMutators) {
  Arena arena({.max_bytes = 16 << 20, .workers = 4});
  for (uint64_t i = 0; i < 16; ++i) {
    arena.AddPlayer(i, [&](Mutator&) { EXPECT_TRUE(arena.heap().Collect().ok()); });
  }
  arena.Finish();
}

// So many roots that helpers come while roots are still being forwarded.
TEST(HeapStressTest, ManyPersistents) {
  Arena arena({.workers = 3});
  for (uint64_t i = 0; i < 3; ++i) {
    arena.AddPlayer(
        i, [&arena, i, kept = std::make_shared<std::vector<Persistent<Stamped>>>()](Mutator&) {
          while (kept->size() < 4000) {
            Ref<Stamped> object = arena.board()->at(kept->size() % kSlots).load();
            kept->emplace_back(arena.heap(), object);
            if (object != nullptr) {
              EXPECT_TRUE(Intact(object));
            }
          }
          for (const Persistent<Stamped>& each : *kept) {
            if (each) {
              EXPECT_TRUE(Intact(each));
            }
          }
          kept->resize(kept->size() / 2);
          std::reverse(kept->begin(), kept->end());
          if (i == 0) {
            EXPECT_TRUE(arena.heap().Collect().ok());
          }
        });
  }
  arena.Finish();
}

// Threads that last for a few moves, wait in Blocking scopes and nest Mutators.
TEST(HeapStressTest, ThreadsComeAndGo) {
  Arena arena({.workers = 2});
  for (uint64_t i = 0; i < 4; ++i) {
    arena.Add([&arena, i] {
      bool intact = false;
      std::thread([&] {
        Mutator mutator(arena.heap());
        Player player(mutator, arena.board(), i);
        intact = player.Play(20);
        {
          Blocking blocking(mutator);
          std::this_thread::yield();
          Mutator inside(arena.heap());
          intact &= Player(inside, arena.board(), i + 10).Play(10);
        }
        {
          Mutator nested(arena.heap());
          intact &= Player(nested, arena.board(), i + 20).Play(10);
          if (i == 0) intact &= arena.heap().Collect().ok();
        }
        intact &= player.Play(20);
      }).join();
      return intact;
    });
  }
  arena.Add([&] { return arena.heap().Collect().ok(); });
  arena.Finish();
}

TEST(HeapStressTest, PageOutAndResizing) {
  Arena arena({.max_bytes = 8 << 20,
               .reserve_bytes = 16 << 20,
               .workers = 2,
               .page_out_tick = absl::Milliseconds(1)});
  for (uint64_t i = 0; i < 2; ++i) arena.AddPlayer(i);
  arena.AddPlayer(2, [&](Mutator&) { EXPECT_TRUE(arena.heap().Collect().ok()); });
  arena.Add([&, round = 0]() mutable {
    const int64_t max_bytes = int64_t{5 + ++round % 8} << 20;
    return arena.heap().SetMaxBytes(max_bytes).ok();
  });
  arena.Add([&] {
    const HeapStats stats = arena.heap().stats();
    return stats.live_bytes >= 0 && stats.heap_bytes > 0 && stats.collector_bytes > 0;
  });
  arena.Add([&] { return arena.heap().Verify().ok(); });
  arena.Finish();
}

// Collections and verifications by threads that are not attached, with large and pinned garbage.
TEST(HeapStressTest, UnattachedCollectAndVerify) {
  Arena arena({.max_bytes = 16 << 20, .workers = 2});
  for (uint64_t i = 0; i < 2; ++i) {
    arena.AddPlayer(i, [](Mutator& mutator) {
      for (size_t j = 0; j < 8; ++j) {
        mutator.NewArray<int64_t>(2000 + 100 * j);
        mutator.NewPinned<Stamped>();
      }
    });
  }
  arena.Add([&] { return arena.heap().Collect().ok(); });
  for (int i = 0; i < 2; ++i) {
    arena.Add([&] {
      absl::Status status = arena.heap().Verify();
      EXPECT_TRUE(status.ok()) << status;
      return status.ok();
    });
  }
  arena.Finish();
}

TEST(HeapStressTest, RarePaths) {
  Options options{.max_bytes = 12 << 20, .workers = 3};
  options.stress.fail_evacuation = 5;
  options.stress.worklist_capacity = 1;
  Arena arena(options);
  for (uint64_t i = 0; i < 4; ++i) {
    arena.AddPlayer(i, [&](Mutator&) { EXPECT_TRUE(arena.heap().Collect().ok()); });
  }
  arena.Finish();
  EXPECT_GT(arena.heap().stats().retained_objects, 0);
}

TEST(HeapStressTest, RarePathsVerified) {
  Options options{.max_bytes = 12 << 20, .workers = 2};
  options.stress.fail_evacuation = 3;
  options.stress.worklist_capacity = 3;
  options.stress.verify = true;
  options.stress.poison = true;
  Arena arena(options);
  for (uint64_t i = 0; i < 4; ++i) {
    arena.AddPlayer(i, [&](Mutator&) { EXPECT_TRUE(arena.heap().Collect().ok()); });
  }
  arena.Finish();
}

// An exhaustion handler that throws loses no request for a pause: threads that only poll still
// stop.
TEST(HeapStressTest, HandlersThatThrow) {
  Options options{.max_bytes = 3 << 20, .workers = 1};
  options.on_exhaustion = [](const Exhaustion&) -> ExhaustionAction {
    throw std::runtime_error("full");
  };
  Arena arena(options);
  std::atomic<bool> done = false;
  std::thread collector([&] {
    while (!done.load(std::memory_order_relaxed)) {  // publishes nothing
      EXPECT_TRUE(arena.heap().Collect().ok());
    }
  });
  for (int i = 0; i < 3; ++i) {
    arena.Add([&] {
      Mutator mutator(arena.heap());
      Local<Node> list(mutator);
      try {
        for (;;) list = mutator.New<Node>(list, nullptr, 1);
      } catch (const std::runtime_error&) {
        list = nullptr;
      }
      const int64_t before = arena.heap().stats().collections;
      while (arena.heap().stats().collections < before + 2) mutator.Safepoint();
      return true;
    });
  }
  arena.Finish();
  done.store(true, std::memory_order_relaxed);  // publishes nothing
  collector.join();
}

TEST(HeapStressTest, ManyHeaps) {
  Threads threads(WorkingTime(kSeconds));
  for (uint64_t i = 0; i < 4; ++i) {
    threads.Add([i] {
      {
        Options options{.max_bytes = 2 << 20, .workers = 2, .page_out_tick = absl::Milliseconds(1)};
        options.collector = CollectorUnderTest();
        options.read_environment = false;
        auto heap = NewHeap(options);
        auto other = NewHeap(options);
        Mutator mutator(*heap);
        {
          Mutator in_other(*other);
          Persistent<Board> board(*heap, mutator.NewRefArray<Stamped>(kSlots));
          Persistent<Board> boards(*other, in_other.NewRefArray<Stamped>(kSlots));
          EXPECT_TRUE(Player(mutator, board, i).Play(40));
          EXPECT_TRUE(Player(in_other, boards, i).Play(40));
          EXPECT_TRUE(heap->Collect().ok());
          other.reset();
        }
        // The heap's memory outlives it until its last mutator has gone, and is still collected.
        Local<Node> tree(mutator, NewTree(mutator, 3));
        heap.reset();
        for (int j = 0; j < 300; ++j) mutator.NewArray<int64_t>(900);
        EXPECT_EQ(Sum(tree), 15);
      }
      return true;
    });
  }
}

}  // namespace
}  // namespace ebb
