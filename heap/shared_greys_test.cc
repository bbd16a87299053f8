// GreyChain and SharedGreys: the contract, and threads that hand over beside one that takes.

#include "heap/shared_greys.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace ebb::internal {
namespace {

using copyspace::Reference;

// Stands for dead originals: of each, the first word of its payload.
template <size_t kCount>
class Originals {
 public:
  Reference operator[](size_t i) { return reinterpret_cast<Reference>(&words_[i]); }
  size_t IndexOf(Reference original) const {
    return static_cast<size_t>(reinterpret_cast<const uint64_t*>(original) - words_.data());
  }

 private:
  std::array<uint64_t, kCount> words_ = {};
};

std::vector<Reference> PopAll(GreyChain chain) {
  std::vector<Reference> all;
  while (!chain.empty()) all.push_back(chain.Pop());
  return all;
}

TEST(GreyChainTest, IsAStack) {
  Originals<3> originals;
  GreyChain chain;
  EXPECT_TRUE(chain.empty());
  chain.Push(originals[0]);
  chain.Push(originals[1]);
  EXPECT_EQ(chain.head(), originals[1]);
  EXPECT_EQ(chain.Pop(), originals[1]);
  chain.Push(originals[2]);
  EXPECT_EQ(PopAll(chain), (std::vector<Reference>{originals[2], originals[0]}));
}

// Each of the two may be empty, and may have been emptied: then its tail is stale.
TEST(GreyChainTest, SplicesInFront) {
  for (size_t front = 0; front < 3; ++front) {
    for (size_t back = 0; back < 3; ++back) {
      for (const bool emptied : {false, true}) {
        SCOPED_TRACE(testing::Message()
                     << front << " before " << back << (emptied ? ", reused" : ""));
        Originals<6> originals;
        GreyChain first;
        GreyChain second;
        if (emptied) {
          first.Push(originals[4]);
          first.Pop();
          second.Push(originals[5]);
          second.Pop();
        }
        std::vector<Reference> expected;
        for (size_t i = front; i-- > 0;) first.Push(originals[i]);
        for (size_t i = front + back; i-- > front;) second.Push(originals[i]);
        for (size_t i = 0; i < front + back; ++i) expected.push_back(originals[i]);
        second.Splice(first);
        GreyChain whole;
        whole.Splice(second);  // and what was spliced has the right tail
        EXPECT_EQ(PopAll(whole), expected);
      }
    }
  }
}

TEST(SharedGreysTest, GivesBackWhatWasAdded) {
  Originals<3> originals;
  auto greys = std::make_unique<SharedGreys>();
  EXPECT_TRUE(greys->empty_hint());
  EXPECT_TRUE(greys->TakeChain().empty());
  EXPECT_EQ(greys->TakeInPlace(), 0u);

  greys->Add(GreyChain());
  EXPECT_TRUE(greys->empty_hint());
  for (size_t i = 0; i < 3; ++i) {
    GreyChain chain;
    chain.Push(originals[i]);
    greys->Add(chain);
    EXPECT_FALSE(greys->empty_hint());
  }
  EXPECT_EQ(PopAll(greys->TakeChain()).size(), 3u);
  EXPECT_TRUE(greys->empty_hint());

  greys->AddInPlace(16);
  greys->AddInPlace(24);
  EXPECT_FALSE(greys->empty_hint());
  EXPECT_TRUE(greys->TakeChain().empty());
  EXPECT_FALSE(greys->empty_hint());
  EXPECT_EQ(greys->TakeInPlace() + greys->TakeInPlace(), 40u);
  EXPECT_EQ(greys->TakeInPlace(), 0u);
  EXPECT_TRUE(greys->empty_hint());
}

// A trace ends when the hint says empty: it must not while either kind is left.
TEST(SharedGreysTest, HintKnowsBothKinds) {
  Originals<1> originals;
  auto greys = std::make_unique<SharedGreys>();
  GreyChain chain;
  chain.Push(originals[0]);
  greys->AddInPlace(16);
  greys->Add(chain);
  EXPECT_EQ(greys->TakeInPlace(), 16u);
  EXPECT_FALSE(greys->empty_hint());
  greys->AddInPlace(24);
  EXPECT_FALSE(greys->TakeChain().empty());
  EXPECT_FALSE(greys->empty_hint());
  EXPECT_EQ(greys->TakeInPlace(), 24u);
  EXPECT_TRUE(greys->empty_hint());
}

// What finds no room is dropped, and said to be; everything else is kept.
TEST(SharedGreysTest, SaysWhenItOverflows) {
  auto greys = std::make_unique<SharedGreys>();
  Reference added = 0;
  while (!greys->overflowed()) {
    added += 8;
    ASSERT_LT(added, Reference{1} << 24) << "no limit";
    greys->AddInPlace(added);
  }
  std::vector<Reference> taken;
  while (const Reference object = greys->TakeInPlace()) taken.push_back(object);
  std::sort(taken.begin(), taken.end());
  ASSERT_EQ(taken.size(), added / 8 - 1);
  EXPECT_EQ(taken.front(), 8u);
  EXPECT_EQ(taken.back(), added - 8);
  EXPECT_TRUE(greys->overflowed());
  greys->ClearOverflow();
  EXPECT_FALSE(greys->overflowed());
  greys->AddInPlace(8);
  EXPECT_FALSE(greys->overflowed());
}

TEST(SharedGreysTest, ThreadsLoseAndDoubleNothing) {
  constexpr size_t kThreads = 3;
  constexpr size_t kEach = 20000;
  constexpr size_t kChain = 7;
  auto greys = std::make_unique<SharedGreys>();
  auto originals = std::make_unique<Originals<kThreads * kEach>>();
  std::atomic<size_t> working = kThreads;
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      GreyChain chain;
      for (size_t i = 0; i < kEach; ++i) {
        const size_t index = t * kEach + i;
        if (index % 2 == 0) {
          greys->AddInPlace(8 * (index + 1));
        } else {
          chain.Push((*originals)[index]);
        }
        if (i % kChain == 0) {
          greys->Add(chain);
          chain = GreyChain();
        }
      }
      greys->Add(chain);
      // Release: the hint is exact for who sees that all have ended.
      working.fetch_sub(1, std::memory_order_release);
    });
  }
  std::vector<int> seen(kThreads * kEach);
  bool ended = false;
  while (!ended || !greys->empty_hint()) {
    // Acquire: see above.
    ended = working.load(std::memory_order_acquire) == 0;
    while (const Reference object = greys->TakeInPlace()) ++seen[object / 8 - 1];
    for (const Reference original : PopAll(greys->TakeChain()))
      ++seen[originals->IndexOf(original)];
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(*std::max_element(seen.begin(), seen.end()), 1);
  if (!greys->overflowed()) {
    EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), size_t{0}), kThreads * kEach);
  }
  for (size_t i = 1; i < seen.size(); i += 2) ASSERT_EQ(seen[i], 1) << "chains have no limit";
}

}  // namespace
}  // namespace ebb::internal
