#include "copyspace/ledger.h"

#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace ebb::copyspace {
namespace {

TEST(Ledger, DebitsUpToTheLimit) {
  Ledger ledger(Bytes(100));
  EXPECT_TRUE(ledger.TryDebit(Bytes(60)));
  EXPECT_FALSE(ledger.TryDebit(Bytes(41)));
  EXPECT_EQ(ledger.used(), Bytes(60));
  EXPECT_TRUE(ledger.TryDebit(Bytes(40)));
  ledger.Credit(Bytes(100));
  EXPECT_EQ(ledger.used(), Bytes(0));
  EXPECT_EQ(ledger.peak(), Bytes(100));
}

TEST(Ledger, KeepFreeMovesTheLimitForOneCaller) {
  Ledger ledger(Bytes(100));
  EXPECT_FALSE(ledger.TryDebit(Bytes(60), /*keep_free=*/Bytes(41)));
  EXPECT_TRUE(ledger.TryDebit(Bytes(60), /*keep_free=*/Bytes(40)));
  EXPECT_FALSE(ledger.TryDebit(Bytes(60), /*keep_free=*/Bytes(-19)));
  EXPECT_TRUE(ledger.TryDebit(Bytes(60), /*keep_free=*/Bytes(-20)));
}

TEST(Ledger, ForceDebitAndLowerLimit) {
  Ledger ledger(Bytes(100));
  ledger.ForceDebit(Bytes(130));
  EXPECT_EQ(ledger.peak(), Bytes(130));
  EXPECT_FALSE(ledger.TryDebit(Bytes(1)));
  ledger.Credit(Bytes(80));
  ledger.SetLimit(Bytes(40));
  EXPECT_FALSE(ledger.TryDebit(Bytes(1)));
  ledger.SetLimit(Bytes(51));
  EXPECT_TRUE(ledger.TryDebit(Bytes(1)));
}

TEST(Ledger, RacingThreadsDoNotOvershootTogether) {
  Ledger ledger(Bytes(1000));
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&ledger] {
      for (int round = 0; round < 20000; ++round) {
        if (ledger.TryDebit(Bytes(300))) ledger.Credit(Bytes(300));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ledger.used(), Bytes(0));
  EXPECT_LE(ledger.peak(), Bytes(900));
}

}  // namespace
}  // namespace ebb::copyspace
