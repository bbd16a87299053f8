// Threads race to evacuate the same objects: exactly one copy of each, its contents intact, while
// some claims are aborted and some objects are retained. EBB_SOAK lengthens it.

#include <atomic>
#include <cstdlib>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "copyspace/forwarding_word.h"
#include "gtest/gtest.h"

namespace ebb::copyspace {
namespace {

constexpr int kThreads = 4;
constexpr int kObjects = 2000;
constexpr int kPayloadWords = 6;
constexpr uintptr_t kTypeBits = 0x1000;

struct alignas(8) Object {
  uint64_t words[1 + kPayloadWords];
  Reference reference() const { return reinterpret_cast<Reference>(&words[1]); }
  ForwardingWord& word() const { return ForwardingWord::Of(reference()); }
};

const uint64_t* Payload(Reference reference) {
  return reinterpret_cast<const uint64_t*>(reference);
}

class Arena {
 public:
  Arena() : objects_(kObjects), copies_(kThreads * kObjects) {}

  // A new cycle: all objects as types, stamped.
  void Stamp(uint64_t round) {
    round_ = round;
    for (size_t i = 0; i < objects_.size(); ++i) {
      objects_[i].word().Initialize(kTypeBits);
      for (int w = 0; w < kPayloadWords; ++w) objects_[i].words[1 + w] = StampOf(i, w);
    }
    // Relaxed: no thread runs.
    copies_made_.store(0, std::memory_order_relaxed);
    retained_.store(0, std::memory_order_relaxed);
  }

  // What a forwarder does for one edge; returns where the object is now.
  Reference Forward(int thread, size_t index, int parity) {
    Object& object = objects_[index];
    ForwardingWord& word = object.word();
    ForwardingWord::Snapshot seen = word.Load();
    while (true) {
      if (seen.is_forwarded()) return seen.forwarded();
      if (seen.retained_in(parity)) return object.reference();
      if (seen.busy()) {
        seen = word.AwaitSettled();
        continue;
      }
      if (!word.TryClaim(seen)) continue;
      const size_t lot = (index * 7 + round_ + attempts_.fetch_add(1)) % 16;
      if (lot == 0) {
        word.Abort(seen.bits);
        seen = word.Load();
        continue;
      }
      if (lot == 1) {
        retained_.fetch_add(1, std::memory_order_relaxed);  // read after the join
        word.Retain(seen.type(), parity);
        return object.reference();
      }
      Object& copy = copies_[thread * kObjects + index];
      for (int w = 0; w < kPayloadWords; ++w) copy.words[1 + w] = object.words[1 + w];
      copy.word().Initialize(seen.type());
      copies_made_.fetch_add(1, std::memory_order_relaxed);  // read after the join
      word.Commit(copy.reference());
      return copy.reference();
    }
  }

  bool Intact(Reference reference, size_t index) const {
    for (int w = 0; w < kPayloadWords; ++w) {
      if (Payload(reference)[w] != StampOf(index, w)) return false;
    }
    return ForwardingWord::Of(reference).TypeBits() == kTypeBits;
  }

  int settled() const { return copies_made_.load() + retained_.load(); }

 private:
  uint64_t StampOf(size_t index, int w) const { return round_ << 40 | index << 8 | w; }

  std::vector<Object> objects_;
  std::vector<Object> copies_;
  uint64_t round_ = 0;
  std::atomic<uint64_t> attempts_{0};
  std::atomic<int> copies_made_{0};
  std::atomic<int> retained_{0};
};

absl::Duration Length() {
  int seconds = 0;
  const char* soak = std::getenv("EBB_SOAK");
  if (soak != nullptr && absl::SimpleAtoi(soak, &seconds)) return absl::Seconds(seconds);
  return absl::Seconds(1);
}

TEST(ForwardingWordStress, ExactlyOneCopyOfEach) {
  Arena arena;
  const absl::Time end = absl::Now() + Length();
  uint64_t round = 0;
  do {
    arena.Stamp(++round);
    const int parity = static_cast<int>(round % 2);
    std::vector<std::vector<Reference>> results(kThreads, std::vector<Reference>(kObjects));
    std::atomic<int> torn{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&arena, &mine = results[t], &torn, t, parity] {
        for (size_t i = 0; i < kObjects; ++i) {
          mine[i] = arena.Forward(t, i, parity);
          // Relaxed: read after the join.
          if (!arena.Intact(mine[i], i)) torn.fetch_add(1, std::memory_order_relaxed);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(torn.load(), 0) << "round " << round;
    ASSERT_EQ(arena.settled(), kObjects) << "round " << round;
    for (int t = 1; t < kThreads; ++t) ASSERT_EQ(results[t], results[0]) << "round " << round;
  } while (absl::Now() < end);
}

}  // namespace
}  // namespace ebb::copyspace
