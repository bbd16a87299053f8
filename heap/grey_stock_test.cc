// GreyStock: what is put is taken, in batches, the last first; memory is debited and given back.

#include "heap/grey_stock.h"

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "copyspace/ledger.h"
#include "gtest/gtest.h"
#include "platform/bytes.h"

namespace ebb::internal {
namespace {

using platform::Bytes;

class GreyStockTest : public testing::Test {
 protected:
  static std::vector<Grey> Greys(uint64_t first, size_t count) {
    std::vector<Grey> greys;
    for (size_t i = 0; i < count; ++i) greys.push_back(Grey(8 * (first + i)));
    return greys;
  }
  // The objects of the batch that is taken next.
  std::vector<uint64_t> Take() {
    std::vector<Grey> to(GreyStock::kBatch);
    to.resize(stock_.Take(to.data()));
    std::vector<uint64_t> numbers;
    for (const Grey grey : to) numbers.push_back(grey.object() / 8);
    return numbers;
  }

  copyspace::Ledger ledger_{platform::MiB(1)};
  GreyStock stock_{ledger_, /*enabled=*/true};
};

TEST_F(GreyStockTest, GivesBackWhatItGotTheLastBatchFirst) {
  EXPECT_TRUE(stock_.empty_hint());
  EXPECT_TRUE(stock_.Put(Greys(1, 3)));
  EXPECT_TRUE(stock_.Put(Greys(10, 2)));
  EXPECT_FALSE(stock_.empty_hint());
  EXPECT_EQ(Take(), (std::vector<uint64_t>{10, 11}));
  EXPECT_EQ(Take(), (std::vector<uint64_t>{1, 2, 3}));
  EXPECT_EQ(Take(), std::vector<uint64_t>());
  EXPECT_TRUE(stock_.empty_hint());
}

TEST_F(GreyStockTest, ItsMemoryIsInTheLedgerAndUsedAgain) {
  EXPECT_TRUE(stock_.Put(Greys(1, GreyStock::kBatch)));
  const Bytes of_one = ledger_.used();
  EXPECT_GE(of_one, Bytes(int64_t{sizeof(Grey) * GreyStock::kBatch}));
  EXPECT_EQ(Take().size(), GreyStock::kBatch);
  EXPECT_TRUE(stock_.Put(Greys(1, 1)));
  EXPECT_EQ(ledger_.used(), of_one);
  EXPECT_TRUE(stock_.Put(Greys(2, 1)));
  EXPECT_EQ(ledger_.used(), of_one * 2);
  stock_.Clear();
  EXPECT_EQ(ledger_.used(), Bytes(0));
  EXPECT_TRUE(stock_.empty_hint());
  EXPECT_EQ(Take(), std::vector<uint64_t>());
}

TEST_F(GreyStockTest, TakesMoreThanAnyRecursionWouldStand) {
  ledger_.SetLimit(Bytes(int64_t{1} << 40));
  for (uint64_t i = 0; i < 100'000; ++i) ASSERT_TRUE(stock_.Put(Greys(i, 1)));
  stock_.Clear();
  EXPECT_EQ(ledger_.used(), Bytes(0));
}

TEST_F(GreyStockTest, RefusesWhereItIsNotEnabled) {
  GreyStock none(ledger_, /*enabled=*/false);
  EXPECT_FALSE(none.Put(Greys(1, 1)));
  EXPECT_TRUE(none.empty_hint());
  EXPECT_EQ(ledger_.used(), Bytes(0));
}

// Each object is taken once, by whomever.
TEST_F(GreyStockTest, ThreadsPutAndTakeAtOnce) {
  constexpr uint64_t kBatches = 2000;
  std::atomic<uint64_t> sum = 0;
  const auto work = [&](uint64_t first) {
    uint64_t mine = 0;
    for (uint64_t i = 0; i < kBatches; ++i) {
      ASSERT_TRUE(stock_.Put(Greys(first + i, 1)));
      for (const uint64_t number : Take()) mine += number;
    }
    sum += mine;
  };
  std::thread other(work, kBatches + 1);
  work(1);
  other.join();
  EXPECT_TRUE(stock_.empty_hint());
  EXPECT_EQ(sum, kBatches * (2 * kBatches + 1));
}

}  // namespace
}  // namespace ebb::internal
