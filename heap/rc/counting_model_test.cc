// Agrees with a naive model: random programs over Ptrs, Fields and Weaks, and beside each the
// standard library's, in domains that count eagerly and in coalesced ones.

#include <cstdint>

#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"
#include "heap/rc/counting_programs_for_test.h"

namespace ebb::rc {
namespace {

TEST(CountingModelTest, AgreesWithTheStandardLibrary) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Counting c;
    {
      Programs program(seed);
      for (int step = 0; step < 400; ++step) {
        program.Step();
        if (testing::Test::HasFatalFailure()) return;
        program.Compare();
        if (step % 100 == 99) {
          ASSERT_TRUE(c.heap->Collect().ok());
        }
      }
    }
    EXPECT_EQ(c.alive(), 0);
    ASSERT_TRUE(c.heap->Verify().ok());
  }
}

// The same programs where stores are coalesced: at the end of an epoch all is as if each had been
// counted. Epochs of so many steps, and those that cycles end.
void CompareCoalesced(int64_t steps_an_epoch) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Counting c({.stores = Stores::kCoalesced});
    {
      Programs program(seed);
      for (int step = 0; step < 800; ++step) {
        program.Step(/*may_upgrade=*/step % steps_an_epoch == 0);
        if (step % 100 == 50) {
          ASSERT_TRUE(c.heap->Collect().ok());
        }
        if ((step + 1) % steps_an_epoch != 0) continue;
        while (c.owner.Step()) {
        }
        program.Compare();
        if (testing::Test::HasFatalFailure()) return;
      }
      program.DropAll();
      while (c.owner.Step()) {
      }
      program.Compare();
    }
    EXPECT_EQ(c.alive(), 0);
    ASSERT_TRUE(c.heap->Verify().ok());
  }
}

TEST(CountingModelTest, CoalescedStepByStep) { CompareCoalesced(1); }
TEST(CountingModelTest, CoalescedInEpochs) { CompareCoalesced(13); }
TEST(CountingModelTest, CoalescedInLongEpochs) { CompareCoalesced(160); }

}  // namespace
}  // namespace ebb::rc
