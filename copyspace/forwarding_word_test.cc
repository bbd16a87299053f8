#include "copyspace/forwarding_word.h"

#include <array>

#include "gtest/gtest.h"

namespace ebb::copyspace {
namespace {

using State = ForwardingWord::State;
using Snapshot = ForwardingWord::Snapshot;

class ForwardingWordTest : public testing::Test {
 protected:
  ForwardingWordTest() { word().Initialize(Type()); }

  uintptr_t Type() const { return reinterpret_cast<uintptr_t>(&type_); }
  Reference Object() { return reinterpret_cast<Reference>(&object_[1]); }
  Reference Copy() { return reinterpret_cast<Reference>(&copy_[1]); }
  ForwardingWord& word() { return ForwardingWord::Of(Object()); }

  alignas(8) char type_ = 0;
  std::array<uint64_t, 2> object_ = {};
  std::array<uint64_t, 2> copy_ = {};
};

TEST_F(ForwardingWordTest, StartsAsType) {
  EXPECT_EQ(word().Load().state(), State::kType);
  EXPECT_EQ(word().Load().type(), Type());
  EXPECT_EQ(word().TypeBits(), Type());
  EXPECT_EQ(object_[0], Type()) << "the word lies right before the payload";
  EXPECT_TRUE(word().Load().claimable_in(0));
  EXPECT_TRUE(word().Load().claimable_in(1));
}

TEST_F(ForwardingWordTest, ClaimAndCommit) {
  Snapshot seen = word().Load();
  ASSERT_TRUE(word().TryClaim(seen));
  EXPECT_EQ(seen.type(), Type());
  EXPECT_EQ(word().Load().state(), State::kBusy);
  EXPECT_FALSE(word().Load().claimable_in(0));
  word().Commit(Copy());
  EXPECT_EQ(word().AwaitSettled().state(), State::kForwarded);
  EXPECT_EQ(word().Load().forwarded(), Copy());
  EXPECT_FALSE(word().Load().claimable_in(0));
}

TEST_F(ForwardingWordTest, LosersLearnTheState) {
  Snapshot winner = word().Load();
  Snapshot loser = winner;
  ASSERT_TRUE(word().TryClaim(winner));
  EXPECT_FALSE(word().TryClaim(loser));
  EXPECT_TRUE(loser.busy());
  word().Commit(Copy());
  loser = winner;
  EXPECT_FALSE(word().TryClaim(loser));
  EXPECT_EQ(loser.forwarded(), Copy());
}

TEST_F(ForwardingWordTest, AbortRestoresTheWord) {
  Snapshot seen = word().Load();
  ASSERT_TRUE(word().TryClaim(seen));
  word().Abort(seen.bits);
  EXPECT_EQ(word().Load(), seen);
  word().Retain(Type(), 1);  // as an earlier cycle left it
  seen = word().Load();
  ASSERT_TRUE(word().TryClaim(seen));
  word().Abort(seen.bits);
  EXPECT_TRUE(word().Load().retained_in(1));
}

TEST_F(ForwardingWordTest, RetainedHoldsForCyclesOfItsParity) {
  for (const int parity : {0, 1}) {
    Snapshot seen = word().Load();
    ASSERT_TRUE(word().TryClaim(seen));
    word().Retain(seen.type(), parity);
    seen = word().Load();
    EXPECT_EQ(seen.state(), State::kRetained);
    EXPECT_EQ(seen.type(), Type());
    EXPECT_EQ(word().TypeBits(), Type());
    EXPECT_TRUE(seen.retained_in(parity));
    EXPECT_FALSE(seen.retained_in(1 - parity));
    EXPECT_FALSE(seen.claimable_in(parity));
    EXPECT_TRUE(seen.claimable_in(1 - parity));
  }
  Snapshot seen = word().Load();
  ASSERT_TRUE(word().TryClaim(seen));
  word().Commit(Copy());
  EXPECT_EQ(word().Load().forwarded(), Copy());
}

TEST_F(ForwardingWordTest, PlainFlavourLeavesTheSameWords) {
  EXPECT_EQ(word().LoadPlain(), word().Load());
  word().RetainPlain(Type(), 1);
  EXPECT_TRUE(word().LoadPlain().retained_in(1));
  EXPECT_EQ(word().LoadPlain().type(), Type());
  word().CommitPlain(Copy());
  EXPECT_EQ(word().LoadPlain().forwarded(), Copy());
  EXPECT_EQ(word().Load().state(), State::kForwarded);
}

}  // namespace
}  // namespace ebb::copyspace
