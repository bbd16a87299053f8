// Fields behave as atomics while cycles run beside the threads that use them: no load goes back in
// time, no store or exchange is lost or seen twice. EBB_SOAK (seconds) lengthens each case.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "heap/concurrent_for_test.h"
#include "heap/stress_for_test.h"

namespace ebb {
namespace {

// A value. What it was made with is kept twice: neither is ever written again.
struct Stamped {
  int64_t stamp = 0;
  Field<Stamped> before;  // what it replaced, for a while: garbage comes of it
  int64_t inverse = ~int64_t{0};
};

// Its uses are counted by whoever holds it.
struct Ticket {
  int64_t number = 0;
  int64_t uses = 0;
  int64_t uses_again = 0;
};

// Enough elements for the large space; the fields that are used lie at its ends.
constexpr size_t kElements = 1200;
constexpr int kFields = 4;
constexpr size_t At(int field) {
  return field % 2 == 0 ? static_cast<size_t>(field) : kElements - static_cast<size_t>(field);
}

class ConcurrentFieldTest : public testing::TestWithParam<ConcurrentCase> {
 protected:
  ConcurrentFieldTest()
      : heap_(NewHeap(GetParam().options())), threads_(WorkingTime(/*seconds=*/0.3)) {}

  void SetUp() override {
    Mutator mutator(*heap_);
    ballast_ = Persistent<Node>(*heap_, NewTree(mutator, BallastDepth()));
  }

  // So that a cycle takes a while, and the fields are met in the middle of it.
  static int BallastDepth() {
    const ConcurrentCase& c = GetParam();
    return c.stress.verify || c.stress.collect_every != 0 || c.max_bytes < 4 << 20 ? 9 : 13;
  }

  // `body(mutator, thread)` on `count` threads, each attached, beside cycles, until they return.
  template <typename Body>
  void RunBesideCycles(int count, Body body) {
    threads_.AddCollector(*heap_);
    for (int i = 0; i < count; ++i) {
      threads_.AddOne([this, body, i] {
        Mutator mutator(*heap_);
        body(mutator, i);
      });
    }
    threads_.Join();
    {
      Mutator mutator(*heap_);
      EXPECT_EQ(Sum(ballast_), (int64_t{2} << BallastDepth()) - 1);
    }
    ExpectSound(*heap_);
  }

  Ref<Stamped> Make(Mutator& mutator, int64_t stamp, Local<Stamped>& before) {
    return stamp % 16 == 0  ? mutator.NewPinned<Stamped>(stamp, nullptr, ~stamp)
           : stamp % 4 == 0 ? mutator.New<Stamped>(stamp, nullptr, ~stamp)
                            : mutator.New<Stamped>(stamp, before, ~stamp);
  }

  std::unique_ptr<Heap> heap_;
  Persistent<Node> ballast_;
  Threads threads_;
};

bool Intact(Ref<Stamped> object) { return object->inverse == ~object->stamp; }

// The greatest stamp that any thread has seen in a field: who loads it afterwards sees no lesser
// one.
class Seen {
 public:
  // Acquire and release: what one thread has seen happens before what another one loads next.
  int64_t least() const { return stamp_.load(std::memory_order_acquire); }
  void Note(int64_t stamp) {
    // Relaxed where nothing is stored: what is read here only says whether to store.
    int64_t now = stamp_.load(std::memory_order_relaxed);
    while (now < stamp && !stamp_.compare_exchange_weak(now, stamp, std::memory_order_release,
                                                        std::memory_order_relaxed)) {
    }
  }

 private:
  std::atomic<int64_t> stamp_ = 0;
};

// Each success replaces stamp s by s + 1. A comparison fails only if another one has succeeded.
TEST_P(ConcurrentFieldTest, CountsByCompareExchange) {
  Persistent<RefArray<Stamped>> board;
  {
    Mutator mutator(*heap_);
    board = Persistent<RefArray<Stamped>>(*heap_, mutator.NewRefArray<Stamped>(kElements));
    for (int i = 0; i < kFields; ++i) {
      Local<Stamped> none(mutator);
      Ref<Stamped> first = Make(mutator, 0, none);
      board->at(At(i)) = first;
    }
  }
  std::array<std::atomic<int64_t>, kFields> successes = {};
  std::array<Seen, kFields> seen;
  RunBesideCycles(3, [&](Mutator& mutator, int thread) {
    std::mt19937_64 random(static_cast<uint64_t>(thread));
    Local<RefArray<Stamped>> fields(mutator, board);
    Local<Stamped> old(mutator);
    const auto any_without_success = [&] {
      return std::any_of(successes.begin(), successes.end(), [](const std::atomic<int64_t>& count) {
        return count.load(std::memory_order_relaxed) == 0;  // as below
      });
    };
    while (!threads_.time_is_up() || any_without_success()) {
      const int i = static_cast<int>(random() % kFields);
      const size_t at = At(i);
      const int64_t least = seen[i].least();
      old = fields->at(at).load();
      ASSERT_TRUE(Intact(old));
      ASSERT_GE(old->stamp, least) << "an older value came back";
      seen[i].Note(old->stamp);
      const int64_t next = old->stamp + 1;
      Local<Stamped> made(mutator, Make(mutator, next, old));
      Ref<Stamped> expected = old;
      if (fields->at(at).CompareExchange(expected, made)) {
        successes[i].fetch_add(1, std::memory_order_relaxed);  // read after the join
        seen[i].Note(next);
        ASSERT_GE(fields->at(at).load()->stamp, next);
      } else {
        ASSERT_TRUE(Intact(expected));
        ASSERT_GE(expected->stamp, next) << "failed, though the field held what was expected";
      }
      // What has been replaced twice is garbage.
      made->before = nullptr;
    }
  });
  Mutator mutator(*heap_);
  for (int i = 0; i < kFields; ++i) {
    // Relaxed: the writers have been joined.
    EXPECT_EQ(board->at(At(i)).load()->stamp, successes[i].load(std::memory_order_relaxed));
    EXPECT_GT(successes[i].load(std::memory_order_relaxed), 0);
  }
}

// Tickets change hands by exchanges. Who holds one writes to it without synchronisation.
TEST_P(ConcurrentFieldTest, HandsTicketsOver) {
  constexpr int kThreads = 3;
  constexpr int kPlaces = 8;
  constexpr int64_t kTickets = 6;  // some places and hands are empty
  Persistent<RefArray<Ticket>> board;
  std::vector<Persistent<Ticket>> pockets;
  {
    Mutator mutator(*heap_);
    board = Persistent<RefArray<Ticket>>(*heap_, mutator.NewRefArray<Ticket>(kElements));
    for (int64_t i = 0; i < kTickets; ++i) {
      Ref<Ticket> ticket = i == 0 ? mutator.NewPinned<Ticket>(i) : mutator.New<Ticket>(i);
      board->at(At(static_cast<int>(i))) = ticket;
    }
    for (int i = 0; i < kThreads; ++i) pockets.emplace_back(*heap_);
  }
  std::atomic<int64_t> uses = 0;
  threads_.AddCollector(*heap_);
  for (int thread = 0; thread < kThreads; ++thread) {
    threads_.Add([&, thread, random = std::mt19937_64(static_cast<uint64_t>(thread))]() mutable {
      Mutator mutator(*heap_);
      Local<RefArray<Ticket>> places(mutator, board);
      Local<Ticket> hand(mutator, pockets[static_cast<size_t>(thread)]);
      int64_t used = 0;
      for (int i = 0; i < 200; ++i) {
        Field<Ticket>& place = places->at(At(static_cast<int>(random() % kPlaces)));
        Ref<Ticket> found = place.load();
        while (!place.CompareExchange(found, hand)) {
        }
        hand = found;
        if (hand) {
          if (hand->uses != hand->uses_again) return false;
          ++hand->uses;
          ++hand->uses_again;
          ++used;
        }
        if (random() % 8 == 0) mutator.NewArray<int64_t>(random() % 200);
        if (random() % 64 == 0) {
          const Blocking blocking(mutator);
          std::this_thread::yield();
        }
        mutator.Safepoint();
      }
      uses.fetch_add(used, std::memory_order_relaxed);  // read after the join
      // Detached, it holds the ticket in its pocket.
      pockets[static_cast<size_t>(thread)] = hand;
      return true;
    });
  }
  threads_.Join();
  Mutator mutator(*heap_);
  std::vector<int64_t> numbers;
  int64_t counted = 0;
  const auto count = [&](Ref<Ticket> ticket) {
    if (ticket == nullptr) return;
    numbers.push_back(ticket->number);
    EXPECT_EQ(ticket->uses, ticket->uses_again);
    counted += ticket->uses;
  };
  for (int i = 0; i < kPlaces; ++i) count(board->at(At(i)));
  for (const Persistent<Ticket>& pocket : pockets) count(pocket);
  std::sort(numbers.begin(), numbers.end());
  EXPECT_EQ(numbers, (std::vector<int64_t>{0, 1, 2, 3, 4, 5})) << "a ticket was lost or doubled";
  // Relaxed: the players have been joined.
  EXPECT_EQ(counted, uses.load(std::memory_order_relaxed)) << "a write to a ticket was lost";
  EXPECT_GT(counted, 0);
  ExpectSound(*heap_);
}

// One thread stores to its own fields, second[t] always after first[t]; what it stored it finds
// there. Others that see a stamp in second[t] see at least that in first[t]. No healing field
// brings back what was overwritten, null included.
TEST_P(ConcurrentFieldTest, StoresAreSeenInOrder) {
  constexpr int kWriters = 2;
  Persistent<RefArray<Stamped>> board;
  {
    Mutator mutator(*heap_);
    board = Persistent<RefArray<Stamped>>(*heap_, mutator.NewRefArray<Stamped>(kElements));
  }
  std::array<Seen, kWriters> seen_first;
  std::array<Seen, kWriters> seen_second;
  std::atomic<int64_t> followed = 0;
  RunBesideCycles(2 * kWriters, [&](Mutator& mutator, int thread) {
    const int writer = thread % kWriters;
    Local<RefArray<Stamped>> fields(mutator, board);
    const size_t first_at = At(2 * writer);
    const size_t second_at = At(2 * writer + 1);
    if (thread < kWriters) {
      Local<Stamped> none(mutator);
      // (A machine with much else to do may not let it begin within its time.)
      for (int64_t stamp = 1; stamp <= 16 || !threads_.time_is_up(); ++stamp) {
        Local<Stamped> made(mutator, Make(mutator, stamp, none));
        fields->at(first_at) = made;
        if (stamp % 8 == 0) {
          fields->at(second_at) = nullptr;
          ASSERT_EQ(fields->at(second_at).load(), nullptr);
        }
        mutator.Safepoint();
        ASSERT_EQ(fields->at(first_at).load()->stamp, stamp);
        fields->at(second_at) = made;
        mutator.Safepoint();
        ASSERT_EQ(fields->at(second_at).load()->stamp, stamp);
        // Two names of one object are one.
        ASSERT_EQ(fields->at(second_at).load(), fields->at(first_at).load());
        ASSERT_EQ(fields->at(second_at).load(), static_cast<Ref<Stamped>>(made));
      }
      return;
    }
    // What the last round of a writer has stored stays: there will be something to follow.
    while (!threads_.time_is_up() || followed.load(std::memory_order_relaxed) == 0) {
      const int64_t least_first = seen_first[writer].least();
      const int64_t least_second = seen_second[writer].least();
      Ref<Stamped> second = fields->at(second_at).load();
      Ref<Stamped> first = fields->at(first_at).load();
      if (second != nullptr) {
        ASSERT_TRUE(Intact(second) && Intact(first));
        ASSERT_GE(first->stamp, second->stamp);
        ASSERT_GE(second->stamp, least_second);
        seen_second[writer].Note(second->stamp);
        followed.fetch_add(1, std::memory_order_relaxed);  // read after the join
      }
      if (first != nullptr) {
        ASSERT_GE(first->stamp, least_first);
        seen_first[writer].Note(first->stamp);
      }
      mutator.Safepoint();
    }
  });
  EXPECT_GT(followed.load(std::memory_order_relaxed), 0);  // after the join
}

// Each thread stores to every other field of a large array, again and again, without loading:
// workers that scan the array meet fields that change between their load and their exchange. Every
// store lasts until the next one to the same field.
TEST_P(ConcurrentFieldTest, StoresBesideTheScanLast) {
  constexpr size_t kThreads = 2;
  const size_t count = GetParam().max_bytes < 4 << 20 ? 2 * kElements : 8 * kElements;
  Persistent<RefArray<Stamped>> board;
  {
    Mutator mutator(*heap_);
    board = Persistent<RefArray<Stamped>>(*heap_, mutator.NewRefArray<Stamped>(count));
  }
  RunBesideCycles(kThreads, [&](Mutator& mutator, int thread) {
    const auto first = static_cast<size_t>(thread);
    Local<RefArray<Stamped>> fields(mutator, board);
    Local<Stamped> made(mutator);
    std::vector<int64_t> stored(count);
    int64_t stamp = 0;
    for (int round = 1; !threads_.time_is_up(); ++round) {
      // Each object in some fields, so that stores come faster than allocations.
      for (size_t at = first; at < count; at += kThreads) {
        if (at % 16 == first) {
          ++stamp;
          made = mutator.New<Stamped>(stamp, nullptr, ~stamp);
        }
        fields->at(at) = made;
        stored[at] = stamp;
      }
      if (round % 4 != 0) continue;
      for (size_t at = first; at < count; at += kThreads) {
        Ref<Stamped> found = fields->at(at).load();
        ASSERT_TRUE(Intact(found));
        ASSERT_EQ(found->stamp, stored[at]) << "a store was undone";
      }
      mutator.Safepoint();
    }
  });
}

INSTANTIATE_TEST_SUITE_P(All, ConcurrentFieldTest, testing::ValuesIn(ConcurrentCases()), CaseName);

}  // namespace
}  // namespace ebb
