// A graph of stamped objects, rewired by many threads beside concurrent cycles that run back to
// back: threads attach, detach and block at any point of a cycle; objects move, are pinned, are
// large, and are known by large arrays only. EBB_SOAK (seconds) lengthens each case.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "heap/concurrent_for_test.h"
#include "heap/stamped_for_test.h"
#include "heap/stress_for_test.h"

namespace ebb {
namespace {

using Board = RefArray<Stamped>;

constexpr size_t kSmallBoard = 24;
constexpr size_t kLargeBoard = 1500;  // elements, of which some are used
constexpr size_t kLargeStep = 63;
constexpr size_t kLargeUsed = kLargeBoard / kLargeStep;
constexpr size_t kGlobals = 24;

// Where the graph begins: an array that moves, one in the large space, and roots of their own.
struct Roots {
  Persistent<Board> small;
  Persistent<Board> large;
  std::vector<Persistent<Stamped>> globals;

  explicit Roots(Heap& heap) {
    Mutator mutator(heap);
    small = Persistent<Board>(heap, mutator.NewRefArray<Stamped>(kSmallBoard));
    large = Persistent<Board>(heap, mutator.NewRefArray<Stamped>(kLargeBoard));
    for (size_t i = 0; i < kGlobals; ++i) globals.emplace_back(heap);
  }

  Ref<Stamped> Get(size_t place) const {
    if (place < kGlobals) return globals[place];
    place -= kGlobals;
    return place < kSmallBoard ? small->at(place).load()
                               : large->at((place - kSmallBoard) * kLargeStep).load();
  }
  void Set(size_t place, Ref<Stamped> object) {
    if (place < kGlobals) {
      globals[place] = object;
    } else if (place -= kGlobals; place < kSmallBoard) {
      small->at(place) = object;
    } else {
      large->at((place - kSmallBoard) * kLargeStep) = object;
    }
  }
};
constexpr size_t kPlaces = kGlobals + kSmallBoard + kLargeUsed;

// What one thread does to the graph.
class Player {
 public:
  Player(Mutator& mutator, Roots& roots, uint64_t seed)
      : mutator_(mutator), roots_(roots), kept_(mutator), random_(seed) {}

  // True if what it met was intact. Where memory is refused, it drops some of the graph.
  bool Play(int moves) {
    for (int i = 0; i < moves; ++i) {
      try {
        if (!Move()) return false;
      } catch (const HeapExhausted&) {
        kept_ = nullptr;
        for (size_t place = random_() % 2; place < kPlaces; place += 2) roots_.Set(place, nullptr);
        mutator_.Safepoint();
        std::this_thread::yield();
      }
    }
    return !kept_ || Intact(kept_);
  }

 private:
  size_t Place() { return random_() % kPlaces; }

  bool Move() {
    Local<Stamped> found(mutator_, roots_.Get(Place()));
    if (!Wander(found, 5, random_)) return false;
    Local<Stamped> made(mutator_, Make(found));
    Ref<Stamped> old = roots_.Get(Place());
    if (old != nullptr && old->depth > made->depth) old->other = made;
    // A subgraph changes its place, and for some moves only this thread knows it.
    const size_t place = Place();
    if (random_() % 4 == 0) {
      if (kept_ && !Intact(kept_)) return false;
      Ref<Stamped> taken = roots_.Get(place);
      roots_.Set(place, kept_ ? kept_ : made);
      kept_ = taken;
    } else {
      roots_.Set(place, made);
    }
    if (random_() % 8 == 0) CopyRanges(made);
    mutator_.Safepoint();
    return Intact(made) && (!found || Intact(found));
  }

  // Of a board, some of whose places come to hold what others do; and of a fan, which stays as it
  // is.
  void CopyRanges(Local<Stamped>& made) {
    CopyInBoard(*roots_.small, kSmallBoard, /*step=*/1);
    CopyInBoard(*roots_.large, kLargeUsed, kLargeStep);
    if (!made->fan) return;
    Local<Board> fan(mutator_, mutator_.NewRefArray<Stamped>(made->fan->size()));
    for (size_t done = 0; done < fan->size();) {
      const size_t count = std::min(fan->size() - done, 1 + static_cast<size_t>(random_() % 300));
      fan->CopyFrom(*made->fan, done, done, count);
      done += count;
      mutator_.Safepoint();
    }
    made->fan = fan;
  }
  void CopyInBoard(Board& board, size_t places, size_t step) {
    const size_t count = random_() % places / 2;
    const size_t from = random_() % (places - count);
    const size_t to = random_() % (places - count);
    board.CopyFrom(board, from * step, to * step, count * step);
  }

  Ref<Stamped> Make(Local<Stamped>& below) {
    Local<Stamped> made(mutator_, NewStamped(mutator_, below, random_));
    if (!below && random_() % 32 == 0) {
      Local<Board> fan(mutator_, mutator_.NewRefArray<Stamped>(random_() % 2 == 0 ? 200 : 1100));
      made->fan = fan;
      for (size_t i = 0; i < fan->size(); i += kFanStep) {
        Ref<Stamped> leaf = mutator_.New<Stamped>();
        leaf->stamp = static_cast<int64_t>(i);
        leaf->inverse = ~leaf->stamp;
        fan->at(i) = leaf;
      }
    }
    return made;
  }

  Mutator& mutator_;
  Roots& roots_;
  Local<Stamped> kept_;
  std::mt19937_64 random_;
};

class ConcurrentStressTest : public testing::TestWithParam<ConcurrentCase> {
 protected:
  explicit ConcurrentStressTest(Options options = GetParam().options())
      : heap_(NewHeap(options)), roots_(*heap_), threads_(WorkingTime(/*seconds=*/0.4)) {}

  // A thread that stays attached.
  void AddPlayer(uint64_t seed) {
    threads_.AddOne([this, seed] {
      Mutator mutator(*heap_);
      Player player(mutator, roots_, seed);
      while (!threads_.time_is_up()) ASSERT_TRUE(player.Play(20));
    });
  }
  // Threads that last for a few moves, one after the other. They block, nest a Mutator, and detach
  // wherever a cycle may be.
  void AddVisitors(uint64_t seed) {
    threads_.Add([this, random = std::mt19937_64(seed)]() mutable {
      bool intact = false;
      const auto visit = [&] {
        Mutator mutator(*heap_);
        Player player(mutator, roots_, random());
        intact = player.Play(static_cast<int>(random() % 20));
        for (uint64_t i = random() % 4; i > 0; --i) {
          const Blocking blocking(mutator);
          if (random() % 2 == 0) std::this_thread::yield();
        }
        if (random() % 4 == 0) {
          Mutator nested(*heap_);
          intact &= Player(nested, roots_, random()).Play(5);
        }
        intact &= player.Play(5);
      };
      if (random() % 4 == 0) {
        std::thread(visit).join();
      } else {
        visit();
      }
      EXPECT_TRUE(intact) << "of what a visitor met";
      return intact;
    });
  }
  static bool TinyHeap() { return GetParam().max_bytes <= 2 << 20; }
  // A thread that takes all there is, at least once, and gives it back when it gets no more.
  void AddHoarder() {
    threads_.Add([this] {
      Mutator mutator(*heap_);
      Local<Node> hoard(mutator);
      int64_t length = 0;
      try {
        for (;; ++length) hoard = mutator.New<Node>(hoard, nullptr, length + 1);
      } catch (const HeapExhausted&) {
      }
      const bool intact = IsList(hoard, length);
      EXPECT_TRUE(intact) << "of a hoard of " << length;
      return intact;
    });
  }
  void Finish() {
    threads_.Join();
    ExpectSound(*heap_);
    const HeapStats stats = heap_->stats();
    EXPECT_EQ(stats.mutators, 0);
    EXPECT_EQ(stats.stall_ns.Count(), stats.stalls_for_flip + stats.stalls_for_end);
    Mutator mutator(*heap_);
    for (size_t place = 0; place < kPlaces; ++place) {
      Ref<Stamped> object = roots_.Get(place);
      EXPECT_TRUE(object == nullptr || Intact(object));
    }
    EXPECT_TRUE(Player(mutator, roots_, 0).Play(50));
  }

  std::unique_ptr<Heap> heap_;
  Roots roots_;
  Threads threads_;
};

TEST_P(ConcurrentStressTest, PlayersAndVisitors) {
  for (uint64_t i = 0; i < 2; ++i) AddPlayer(i);
  for (uint64_t i = 2; i < 4; ++i) AddVisitors(i);
  if (TinyHeap()) AddHoarder();
  threads_.AddCollector(*heap_);
  Finish();
  if (GetParam().stress.fail_evacuation != 0) {
    EXPECT_GT(heap_->stats().retained_objects, 0);
  }
  if (TinyHeap()) {
    EXPECT_GT(heap_->stats().exhaustions, 0) << "never ran out";
  }
}

INSTANTIATE_TEST_SUITE_P(All, ConcurrentStressTest, testing::ValuesIn(ConcurrentCases()), CaseName);

// The rest runs with no more stress than the threads make.
class ManyThreadsTest : public ConcurrentStressTest {
 protected:
  ManyThreadsTest()
      : ConcurrentStressTest(
            ConcurrentCase{.name = "", .concurrent_workers = 2, .max_bytes = 24 << 20}.options()) {}
};

TEST_F(ManyThreadsTest, Oversubscribed) {
  for (uint64_t i = 0; i < 8; ++i) AddPlayer(i);
  for (uint64_t i = 8; i < 16; ++i) AddVisitors(i);
  for (int i = 0; i < 2; ++i) threads_.AddCollector(*heap_);
  Finish();
}

// Players that collect themselves, and verification between cycles.
TEST_F(ManyThreadsTest, EverybodyCollects) {
  for (uint64_t i = 0; i < 4; ++i) {
    threads_.AddOne([this, i] {
      Mutator mutator(*heap_);
      Player player(mutator, roots_, i);
      while (!threads_.time_is_up()) {
        ASSERT_TRUE(player.Play(20));
        ASSERT_TRUE(heap_->Collect().ok());
      }
    });
  }
  threads_.Add([this] {
    absl::Status status = heap_->Verify();
    EXPECT_TRUE(status.ok()) << status;
    return status.ok();
  });
  threads_.Add([this] {
    const HeapStats stats = heap_->stats();
    EXPECT_GE(stats.live_bytes, 0);
    EXPECT_GT(stats.heap_bytes, 0);
    EXPECT_GE(stats.allocated_bytes, 0);
    return true;
  });
  Finish();
}

// Persistents are made, copied, and dropped while a cycle forwards them, by threads that need not
// be attached.
TEST_F(ManyThreadsTest, PersistentsComeAndGo) {
  for (uint64_t i = 0; i < 2; ++i) AddPlayer(i);
  for (uint64_t i = 0; i < 2; ++i) {
    threads_.Add([this, random = std::mt19937_64(i)]() mutable {
      std::vector<Persistent<Stamped>> kept;
      {
        Mutator mutator(*heap_);
        for (int j = 0; j < 200; ++j) kept.emplace_back(*heap_, roots_.Get(random() % kPlaces));
      }
      // Not attached.
      for (int j = 0; j < 2000; ++j) kept.push_back(kept[random() % kept.size()]);
      for (int j = 0; j < 500; ++j) kept[random() % kept.size()] = nullptr;
      for (int j = 0; j < 500; ++j) kept[random() % kept.size()] = kept[random() % kept.size()];
      Mutator mutator(*heap_);
      for (const Persistent<Stamped>& each : kept) {
        Ref<Stamped> object = each;
        if (object != nullptr && !Intact(object)) return false;
      }
      return true;
    });
  }
  threads_.AddCollector(*heap_);
  Finish();
}

// One load barrier serves all mutators of a thread: cycles of two heaps overlap in every way.
TEST_F(ManyThreadsTest, ThreadsInTwoHeaps) {
  const std::unique_ptr<Heap> other = NewHeap(ConcurrentCase{.name = ""}.options());
  Roots others_roots(*other);
  for (uint64_t i = 0; i < 3; ++i) {
    threads_.Add([&, i, random = std::mt19937_64(i)]() mutable {
      // In either order.
      std::optional<Mutator> first(std::in_place, i == 0 ? *other : *heap_);
      std::optional<Mutator> second(std::in_place, i == 0 ? *heap_ : *other);
      bool intact = true;
      {
        Player one(*first, i == 0 ? others_roots : roots_, random());
        Player two(*second, i == 0 ? roots_ : others_roots, random());
        for (int j = 0; j < 10; ++j) {
          intact &= one.Play(3) && two.Play(3);
          if (random() % 4 == 0) {
            const Blocking blocking(*first);
            intact &= two.Play(3);
          }
        }
      }
      if (random() % 2 == 0) first.reset();
      return intact;
    });
  }
  threads_.AddCollector(*heap_);
  threads_.AddCollector(*other);
  Finish();
  ExpectSound(*other);
}

// What threads allocate beside cycles is counted once: none is forgotten or counted again where a
// mutator's part of a cycle ends early, with its thread.
TEST(ConcurrentHeapsTest, CountsAllocatedBytes) {
  const std::unique_ptr<Heap> heap = NewHeap(ConcurrentCase{.name = ""}.options());
  const int64_t before = [&] {
    EXPECT_TRUE(heap->Collect().ok());
    return heap->stats().allocated_bytes;
  }();
  std::atomic<int64_t> nodes = 0;
  {
    Threads threads(WorkingTime(/*seconds=*/0.3));
    for (uint64_t i = 0; i < 3; ++i) {
      threads.Add([&, random = std::mt19937_64(i)]() mutable {
        Mutator mutator(*heap);
        const auto length = static_cast<int64_t>(random() % 3000);
        nodes.fetch_add(length, std::memory_order_relaxed);  // read after the join
        return IsList(NewList(mutator, length), length);
      });
    }
    threads.AddCollector(*heap);
  }
  EXPECT_TRUE(heap->Collect().ok());
  const int64_t bytes = kTypeInfo<Node>.object_bytes;
  // Relaxed: the threads have been joined.
  EXPECT_EQ(heap->stats().allocated_bytes - before, nodes.load(std::memory_order_relaxed) * bytes);
  EXPECT_EQ(heap->stats().live_bytes, 0);
}

// Heaps are destroyed while they are still being collected, with and without mutators.
TEST(ConcurrentHeapsTest, GoDuringCycles) {
  Threads threads(WorkingTime(/*seconds=*/0.4));
  for (uint64_t i = 0; i < 3; ++i) {
    threads.Add([random = std::mt19937_64(i)]() mutable {
      std::unique_ptr<Heap> heap =
          NewHeap(ConcurrentCase{.name = "", .max_bytes = 2 << 20}.options());
      std::optional<Roots> roots(std::in_place, *heap);
      Mutator mutator(*heap);
      bool intact = true;
      {
        Player player(mutator, *roots, random());
        Local<Node> tree(mutator, NewTree(mutator, 3));
        intact = player.Play(static_cast<int>(random() % 200));
        if (random() % 2 == 0) roots.reset();
        if (random() % 2 == 0) {
          // The heap's memory stays, and is collected, for as long as there is a mutator.
          heap.reset();
          for (int j = 0; j < 300; ++j) mutator.NewArray<int64_t>(random() % 900);
          intact &= Sum(tree) == 15;
        }
      }
      return intact;
    });
  }
}

}  // namespace
}  // namespace ebb
