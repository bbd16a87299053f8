// HeapTest: a fixture with a small heap and a mutator, which follows EBB_OPTIONS.

#ifndef EBB_HEAP_HEAP_FIXTURE_FOR_TEST_H_
#define EBB_HEAP_HEAP_FIXTURE_FOR_TEST_H_

#include <memory>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "heap/heap_for_test.h"

namespace ebb {

class HeapTest : public ::testing::Test {
 protected:
  void Collect() {
    ASSERT_TRUE(heap_->Collect().ok());
    const absl::Status status = heap_->Verify();
    ASSERT_TRUE(status.ok()) << status;
  }

  std::unique_ptr<Heap> heap_ = NewHeap();
  Mutator mutator_{*heap_};
};

}  // namespace ebb

#endif  // EBB_HEAP_HEAP_FIXTURE_FOR_TEST_H_
