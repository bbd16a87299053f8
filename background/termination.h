// Termination: tells a group of workers that share work by stealing when all of it is done.
// Used by tracing workers around their deques.
// Design: docs/design/background.md#termination; model: background/termination.pml

#ifndef EBB_BACKGROUND_TERMINATION_H_
#define EBB_BACKGROUND_TERMINATION_H_

#include <atomic>
#include <cstdint>

#include "absl/base/optimization.h"
#include "absl/functional/function_ref.h"

namespace ebb::background {

// A worker is active (may hold, find or create work) or idle. The work is finished when none is
// active, and that is stable:
//
// inv.work-has-active-owner: every piece of work is in the care of an active worker.
//
// The users' part of it, without which it does not hold:
//  - only active workers create work or take it out of a container;
//  - a worker calls AwaitWork only when its own containers are empty, and they are filled by it
//    alone; of a container shared by all, the worker has seen that it is empty after it last put
//    something in.
// Then work that is in a worker's own container is in the care of that worker, work in a shared one
// in that of the worker who put it there, work taken in that of the taker. So with no worker active
// there is no work; and as none becomes active from then on (see below), there never will be.
//
// Protocol. `state_` holds the numbers of active and of idle workers in one word, so that each
// transition is one atomic step:
//   go idle:        active - 1, idle + 1; whoever brings active to 0 has finished the work
//   become active:  idle - 1, active + 1, only while active > 0
//   enter:          active + 1, only while active > 0
// active == 0 is thus never left, but by Reset.
//
// Orders. Going idle is a release, seeing active == 0 an acquire, and all changes of the word but
// Reset's are read-modify-writes, which carry every earlier release on: a worker told that all is
// done sees everything that every worker did. Becoming active and entering need no order: they
// publish nothing, and what a worker then takes was published by the container it takes it from.
//
// All operations but Reset are thread-safe. All but AwaitWork are O(1).
class Termination {
 public:
  Termination() = default;  // finished
  Termination(const Termination&) = delete;
  Termination& operator=(const Termination&) = delete;

  // Begins a new round with that many active workers; they need not call Enter. 0: finished at
  // once. No other thread may use the object meanwhile.
  void Reset(int initially_active);

  // A further worker joins, active. False when the work is already finished; it then sees the
  // effects of all the work.
  bool Enter();

  // For an active worker that has nothing to do. It goes idle and waits (spins, yields, then sleeps
  // in short steps) until `has_work` looks true and makes it active again: true; or until
  // all are idle: false, for every worker and for good.
  // `has_work` may be wrong in either direction, but must become and stay true while there is work
  // that nobody takes; it must only look, not take. Called again and again, so it should be cheap.
  bool AwaitWork(absl::FunctionRef<bool()> has_work);

  // Workers now waiting in AwaitWork; for deciding whether sharing work pays. Not meaningful once
  // the work is finished.
  int idle_hint() const {
    // Relaxed: a hint publishes nothing.
    return static_cast<int>(state_.load(std::memory_order_relaxed) / kOneIdle);
  }

 private:
  static constexpr uint64_t kOneActive = 1;
  static constexpr uint64_t kOneIdle = uint64_t{1} << 32;

  static uint64_t active(uint64_t state) { return state % kOneIdle; }

  // Adds `change` to the state unless no worker is active; says whether it did.
  bool ChangeWhileActive(uint64_t change);

  // Polled by the idle workers, so in a cache line of its own.
  alignas(ABSL_CACHELINE_SIZE) std::atomic<uint64_t> state_{0};
};

}  // namespace ebb::background

#endif  // EBB_BACKGROUND_TERMINATION_H_
