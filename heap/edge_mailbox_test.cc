#include "heap/edge_mailbox.h"

#include "gtest/gtest.h"

namespace ebb::internal {
namespace {

TEST(EdgeMailboxTest, DeliversInOrder) {
  EdgeMailbox mailbox(4);
  EXPECT_EQ(mailbox.waiting(), 0u);
  EXPECT_TRUE(mailbox.all_taken());
  ASSERT_TRUE(mailbox.TrySend({1, 10}));
  ASSERT_TRUE(mailbox.TrySend({2, 20}));
  EXPECT_FALSE(mailbox.all_taken());
  ASSERT_EQ(mailbox.waiting(), 2u);
  EXPECT_EQ(mailbox.Peek(0).edge, 1u);
  EXPECT_EQ(mailbox.Peek(1).from, 20u);
  mailbox.Take(1);
  ASSERT_EQ(mailbox.waiting(), 1u);
  EXPECT_EQ(mailbox.Peek(0).edge, 2u);
  mailbox.Take(1);
  EXPECT_TRUE(mailbox.all_taken());
}

TEST(EdgeMailboxTest, RefusesWhenFullAndGoesRoundAndRound) {
  EdgeMailbox mailbox(4);
  uintptr_t sent = 0, taken = 0;
  for (int round = 0; round < 10; ++round) {
    while (mailbox.TrySend({sent, sent})) ++sent;
    EXPECT_EQ(sent - taken, 4u);
    const uint32_t count = round % 4 + 1;
    for (uint32_t i = 0; i < count; ++i) EXPECT_EQ(mailbox.Peek(i).edge, taken + i);
    mailbox.Take(count);
    taken += count;
  }
}

}  // namespace
}  // namespace ebb::internal
