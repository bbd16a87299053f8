// FailingNew: allocations of memory that fail. A program that has this has an operator new of its
// own.

#ifndef EBB_HEAP_RC_FAILING_NEW_FOR_TEST_H_
#define EBB_HEAP_RC_FAILING_NEW_FOR_TEST_H_

#include <cstdint>

namespace ebb {

// While it lives, an allocation of the calling thread fails: that after so many more, and if it
// fails `forever` all that come later, too. One at a time for a thread.
class FailingNew {
 public:
  explicit FailingNew(int64_t after, bool forever = false);
  ~FailingNew();
  FailingNew(const FailingNew&) = delete;
  FailingNew& operator=(const FailingNew&) = delete;

  static bool has_failed();
};

}  // namespace ebb

#endif  // EBB_HEAP_RC_FAILING_NEW_FOR_TEST_H_
