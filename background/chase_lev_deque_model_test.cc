// Random operations by one thread agree with a std::deque.

#include <cstdint>
#include <deque>
#include <optional>
#include <random>

#include "absl/random/bit_gen_ref.h"
#include "absl/random/random.h"
#include "background/chase_lev_deque.h"
#include "gtest/gtest.h"

namespace ebb::background {
namespace {

template <typename Element>
std::optional<Element> PopBack(std::deque<Element>& model) {
  if (model.empty()) return std::nullopt;
  const Element element = model.back();
  model.pop_back();
  return element;
}

template <typename Element>
std::optional<Element> PopFront(std::deque<Element>& model) {
  if (model.empty()) return std::nullopt;
  const Element element = model.front();
  model.pop_front();
  return element;
}

// Drifts up and down between empty and full: the odds of a push change now and then.
void RunAgainstModel(size_t initial, size_t max, int operations, absl::BitGenRef random) {
  ChaseLevDeque deque(initial, max);
  std::deque<uint64_t> model;
  double push = 0.5;
  for (int i = 0; i < operations; ++i) {
    if (absl::Bernoulli(random, 0.01)) push = absl::Uniform(random, 0.1, 0.9);
    if (absl::Bernoulli(random, push)) {
      const uint64_t element = absl::Uniform<uint64_t>(random);
      ASSERT_EQ(deque.Push(element), model.size() < max);
      if (model.size() < max) model.push_back(element);
    } else if (absl::Bernoulli(random, 0.5)) {
      ASSERT_EQ(deque.Take(), PopBack(model));
    } else {
      ASSERT_EQ(deque.Steal(), PopFront(model));
    }
    ASSERT_EQ(deque.SizeHint(), model.size());
    ASSERT_EQ(deque.EmptyHint(), model.empty());
    if (model.empty() && absl::Bernoulli(random, 0.1)) deque.ResetWhenQuiescent();
  }
}

TEST(ChaseLevDequeModelTest, AgreesWithStdDeque) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (size_t max : {1, 2, 16, 256, 4096}) {
    for (size_t initial : {1, 4, 64}) {
      RunAgainstModel(initial, max, 20'000, random);
      if (HasFatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace ebb::background
