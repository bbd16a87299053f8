// MutatorsStoppedForTest: lets a test that has no mutators, or has stopped them by its own means,
// call what needs a pause. For tests only.

#ifndef EBB_COPYSPACE_MUTATORS_STOPPED_FOR_TEST_H_
#define EBB_COPYSPACE_MUTATORS_STOPPED_FOR_TEST_H_

#include "copyspace/mutators_stopped.h"

namespace ebb::copyspace {

class MutatorsStoppedForTest {
 public:
  MutatorsStoppedForTest() = default;
  const MutatorsStopped& token() const { return token_; }
  operator const MutatorsStopped&() const { return token_; }  // NOLINT: stands in for the token

 private:
  MutatorsStopped token_;
};

}  // namespace ebb::copyspace

#endif  // EBB_COPYSPACE_MUTATORS_STOPPED_FOR_TEST_H_
