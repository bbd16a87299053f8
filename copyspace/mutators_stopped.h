// MutatorsStopped: evidence that all mutators are stopped. What needs a pause takes one by
// reference, so that calling it from a running mutator does not compile.

#ifndef EBB_COPYSPACE_MUTATORS_STOPPED_H_
#define EBB_COPYSPACE_MUTATORS_STOPPED_H_

namespace ebb {
class Safepoints;
}  // namespace ebb

namespace ebb::copyspace {

// Only the pause can make one: `ebb::Safepoints`, or a test by mutators_stopped_for_test.h.
class MutatorsStopped {
 public:
  MutatorsStopped(const MutatorsStopped&) = delete;
  MutatorsStopped& operator=(const MutatorsStopped&) = delete;

 private:
  friend class ::ebb::Safepoints;
  friend class MutatorsStoppedForTest;
  MutatorsStopped() {}
};

}  // namespace ebb::copyspace

#endif  // EBB_COPYSPACE_MUTATORS_STOPPED_H_
