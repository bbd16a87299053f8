// ForwardingWord, both flavours, agrees with a plain record of what was done to it, over random
// operations. The protocol between threads is model-checked in forwarding_word.pml.

#include <random>

#include "copyspace/forwarding_word.h"
#include "gtest/gtest.h"

namespace ebb::copyspace {
namespace {

using State = ForwardingWord::State;

struct Model {
  State state = State::kType;
  uintptr_t type = 0;
  Reference copy = 0;
  int retained_parity = 0;
};

void ExpectAgrees(const ForwardingWord& word, const Model& model, int parity) {
  const ForwardingWord::Snapshot seen = word.Load();
  ASSERT_EQ(seen, word.LoadPlain());
  ASSERT_EQ(seen.state(), model.state);
  ASSERT_EQ(seen.busy(), model.state == State::kBusy);
  ASSERT_EQ(seen.is_forwarded(), model.state == State::kForwarded);
  const bool retained = model.state == State::kRetained;
  for (const int p : {0, 1}) {
    ASSERT_EQ(seen.retained_in(p), retained && model.retained_parity == p);
  }
  ASSERT_EQ(seen.claimable_in(parity), model.state == State::kType ||
                                           (retained && model.retained_parity != parity));
  if (model.state == State::kForwarded) {
    ASSERT_EQ(seen.forwarded(), model.copy);
  } else if (model.state != State::kBusy) {
    ASSERT_EQ(seen.type(), model.type);
    ASSERT_EQ(word.TypeBits(), model.type);
  }
}

// Claims the word, in a cycle of `parity`, and ends the claim in one of the three ways.
void ClaimAndEnd(ForwardingWord& word, Model& model, int how, Reference copy, int parity) {
  const State before = model.state;
  ForwardingWord::Snapshot seen = word.Load();
  ASSERT_TRUE(seen.claimable_in(parity));
  ASSERT_TRUE(word.TryClaim(seen));
  model.state = State::kBusy;
  ASSERT_NO_FATAL_FAILURE(ExpectAgrees(word, model, parity));
  ForwardingWord::Snapshot late = seen;
  ASSERT_FALSE(word.TryClaim(late));
  if (how == 0) {
    word.Abort(seen.bits);
    model.state = before;
  } else if (how == 1) {
    word.Commit(copy);
    model.state = State::kForwarded;
    model.copy = copy;
  } else {
    word.Retain(seen.type(), parity);
    model.state = State::kRetained;
    model.retained_parity = parity;
  }
  ASSERT_NO_FATAL_FAILURE(ExpectAgrees(word, model, parity));
}

TEST(ForwardingWordModel, AgreesOverRandomOperations) {
  std::mt19937_64 random(7);
  const auto address = [&random] { return (random() >> 17 | 8) & ~uint64_t{7}; };
  alignas(8) uint64_t object[2];
  ForwardingWord& word = ForwardingWord::Of(reinterpret_cast<Reference>(&object[1]));
  for (int round = 0; round < 20000; ++round) {
    Model model{.type = address()};
    word.Initialize(model.type);
    for (int cycle = 0; cycle < 4 && model.state != State::kForwarded; ++cycle) {
      const int parity = cycle % 2;
      ASSERT_NO_FATAL_FAILURE(ExpectAgrees(word, model, parity));
      int how;
      do {  // until settled, as every object that is reached in a cycle
        how = static_cast<int>(random() % 3);
        ASSERT_NO_FATAL_FAILURE(ClaimAndEnd(word, model, how, address(), parity));
      } while (how == 0);
    }
  }
}

}  // namespace
}  // namespace ebb::copyspace
