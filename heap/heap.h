// Heap: a managed heap, shared by its mutators. Design: docs/design/heap.md

#ifndef EBB_HEAP_HEAP_H_
#define EBB_HEAP_HEAP_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "heap/histogram.h"
#include "heap/options.h"
#include "heap/ref.h"

namespace ebb {

class Mutator;

namespace internal {
class DeathWatch;
class HeapCore;
class PauseHook;
class RootTable;
class Spaces;
class StoppedHeap;
}  // namespace internal

// Figures of a heap. Amounts are in bytes, times in nanoseconds.
struct HeapStats {
  int64_t collections = 0;         // whole cycles
  int64_t minor_collections = 0;   // of a nursery alone
  Histogram pause_ns;              // from the request for a pause to its end
  Histogram minor_pause_ns;        // of these, those of minor cycles
  Histogram time_to_safepoint_ns;  // from the request to the stop of each thread
  Histogram stall_ns;              // of allocations that found no room until a concurrent cycle
                                   // made some, or until one began that external memory wanted:
                                   // what their threads spent assisting it and waiting
  int64_t stalls_for_flip = 0;     // of these: the cycle had not yet flipped
  int64_t stalls_for_end = 0;      // it had, and what was left was kept for what it evacuates
  int64_t collect_ns = 0;          // of cycles, the part with mutators stopped

  int64_t max_bytes = 0;     // as it was set
  int64_t limit_bytes = 0;   // what the heap may use for now: by its policy, max_bytes, and the
                             // memory limit of the process
  int64_t limit_raises = 0;  // allocations that would have waited or failed at a policy's limit
  int64_t heap_bytes = 0;  // in use now: both halves of blocks, large, pinned, tables
  int64_t peak_heap_bytes = 0;
  int64_t live_bytes = 0;       // of objects, as the last cycle left them, and of what lies beside
                                // those that it had to retain
  int64_t allocated_bytes = 0;  // of objects and padding, ever; in a region being filled, once
                                // it is full, at the next cycle, or when the mutator detaches.
                                // What is frozen counts again, and where it was as freed
  int64_t freed_bytes = 0;      // likewise, by cycles so far. At a cycle's end allocated_bytes is
                                // the sum of live_bytes and this, but for what is allocated
                                // beside it
  int64_t counter_faults = 0;  // cycles that have found that sum to be wrong, or wrong by another
                               // amount than before: a bug of Ebb's, which is logged
  int64_t large_bytes = 0;      // of large objects now
  int64_t pinned_bytes = 0;     // of pinned and frozen objects now
  int64_t nursery_allowance = 0;  // what may be allocated between two minor cycles, as of the last
  int64_t collector_bytes = 0;  // worklists, part of heap_bytes
  int64_t external_bytes = 0;   // as ReportExternal was told; not part of heap_bytes

  int64_t evacuated_objects = 0;
  int64_t evacuated_bytes = 0;
  int64_t minor_evacuated_bytes = 0;  // by minor cycles; not part of the above
  int64_t promoted_bytes = 0;         // of these
  int64_t retained_objects = 0;  // evacuations that found no memory: left in place for a cycle
  int64_t worklist_overflows = 0;
  int64_t exhaustions = 0;  // times a cycle left no room for what had asked for it

  int64_t mutators = 0;
  int64_t persistents = 0;
  int64_t cleanups = 0;  // that wait for their objects to be collected
  // Threads that can work on a cycle of this heap now: the leader, and those that were started to
  // help this heap or another one of the process, up to Options::workers.
  int64_t workers = 0;
  // Times that such a thread could not be started, for whichever of these heaps.
  int64_t worker_start_failures = 0;
  int64_t page_out_failures = 0;
};

// What Heap::Collect collects.
enum class CollectKind { kWhole, kMinor };

// Thread-safe. As many heaps in a process as you like, each with its own objects: a reference from
// one to another is a mistake that Verify reports. After fork() the child's thread goes on with all
// of them; fork is a safepoint, and stops the heaps for its duration (docs/design/fork.md).
class Heap {
 public:
  // Errors: InvalidArgument naming the option, ResourceExhausted when the address space or the
  // memory for it cannot be had. EBB_OPTIONS in the environment overrides `options`, unless
  // Options::read_environment is off.
  static absl::StatusOr<std::unique_ptr<Heap>> Create(const Options& options = Options());
  // Calls the cleanups that are left. Persistents and Weaks that are left read as null from here
  // on; objects go when the last Mutator detaches.
  ~Heap();
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  // kWhole: runs a whole cycle now; of several calls at once, one that finds a cycle begun after it
  // was called is content with that. O(live objects); returns when garbage has been given to the
  // free lists. kMinor: a minor cycle, in a pause; FailedPrecondition unless the collector is
  // kGenerational. The calling thread may be attached or not. FailedPrecondition in a NoSafepoint
  // scope.
  absl::Status Collect(CollectKind kind = CollectKind::kWhole);

  // Moves all that is alive to where no cycle moves it, or pages it out, until it is garbage: for a
  // process that is about to fork, whose children's cycles then leave those pages shared; best
  // after what is garbage has been collected. Nothing moves it back. By a cycle, or several: runs,
  // and stops mutators, as Collect(kWhole) does, and takes memory for a second copy of what moves
  // until it ends, and for slots of the next of few sizes from then on. What other threads make
  // meanwhile is not frozen. Errors: as of Collect; ResourceExhausted if there is not the memory:
  // then what could be frozen is. The calling thread may be attached or not. O(live objects).
  absl::Status Freeze();

  // Gives back to the system what the heap holds and no object needs: the pages of empty blocks and
  // of the halves that wait to be copied to, in a nursery too. Garbage that no cycle has found yet
  // stays: Collect first. Any thread; mutators run on, and fault the pages in again as they need
  // them. The background thread does the same in its own time. Errors: what the system refused,
  // which is tried again later. O(blocks), and what the system takes.
  absl::Status Trim();

  // `cleanup` is due, once, when a cycle has found `object` unreachable. It is called by the next
  // RunCleanups, or by the Heap's destructor, which calls those of all objects that are left. No
  // thread of Ebb's calls it, and no allocation or collection. It is meant to close what the object
  // owned outside of the heap, and must not hold a Persistent that leads to the object. It is
  // called without a lock, and may use the heap; an exception of it is logged. Any number for an
  // object, in no particular order. By an attached thread; O(1), under a short lock.
  // InvalidArgument if the object is null, or the function empty.
  template <typename T>
  absl::Status AddCleanup(Ref<T> object, absl::AnyInvocable<void() &&> cleanup) {
    return AddCleanupFor(object.bits(), std::move(cleanup));
  }
  // Calls the cleanups that are due, on this thread, and returns how many these were: to be called
  // where a program has nothing to wait for, or after collections. Any thread, attached or not;
  // several at once share them. O(those that wait for their objects).
  int64_t RunCleanups();

  // A copy; takes a few short locks.
  HeapStats stats() const;
  // How many kernel mappings the heap's addresses are, of the vm.max_map_count (65,530 by default)
  // that the process may have: a few, and one or two for each 64 MiB slab that the heap has ever
  // used, however often memory is given back and taken again. Not one of the stats, since it reads
  // /proc/self/maps: O(mappings of the process), some microseconds each. Errors: what the system
  // refused.
  absl::StatusOr<int64_t> CountKernelMappings() const;
  // As resolved: defaults filled in, EBB_OPTIONS applied; max_bytes as it is now.
  Options options() const;

  // Raises or lowers the hard maximum. InvalidArgument above Options::reserve_bytes, and below 1
  // MiB or twice Options::nursery_bytes, if there is a nursery. When lowered below what is in use,
  // the heap shrinks at once as far as it is empty, and by the next cycles.
  absl::Status SetMaxBytes(int64_t max_bytes);

  // Managed objects hold `bytes` more memory outside of the heap (malloc, mmap) than was reported
  // so far; less, if it is negative: when such memory is freed, say in a cleanup. It makes cycles
  // come earlier, as if it had been allocated here, and leaves the heap less of the process's
  // memory limit; max_bytes does not count it (docs/design/sizing.md#external-memory). So
  // report what objects own, not what they share with the rest of the program.
  //
  // Any thread, attached or not, in any scope; no safepoint. Mostly a few atomic instructions;
  // O(1), or O(mutators) where a cycle is due. InvalidArgument, and nothing has changed, if that
  // would make the sum negative (something was given back twice) or more than an int64_t can hold.
  absl::Status ReportExternal(int64_t bytes);

  // Stops all mutators and walks everything reachable, asking every layer about every object and
  // reference: O(live objects) in time and memory. Internal with the first fault found.
  absl::Status Verify();

  // For Ebb's own classes.
  //
  // act() while all mutators are stopped. A safepoint; FailedPrecondition where none may be: `what`
  // is the public function, for messages.
  absl::Status RunInPause(const char* what, absl::FunctionRef<void()> act);
  // The same while no cycle is under way either: waits for its end. The Status of act().
  absl::Status RunBetweenCycles(const char* what,
                                absl::FunctionRef<absl::Status(internal::StoppedHeap&)> act);
  // From here on `hook` is called in each pause but those for a fork, and `watch` in each cycle,
  // until they are removed, which waits for a call that is on. Any thread.
  void AddDeathWatch(internal::DeathWatch& watch);
  void RemoveDeathWatch(internal::DeathWatch& watch);
  void AddPauseHook(internal::PauseHook& hook);
  void RemovePauseHook(internal::PauseHook& hook);
  internal::Spaces& spaces();
  internal::RootTable& roots();
  internal::RootTable& weak_roots();
  const std::shared_ptr<internal::HeapCore>& core() const { return core_; }
  platform::System& system();

 private:
  explicit Heap(std::shared_ptr<internal::HeapCore> core);
  // act(the calling thread's running mutator, or null), which stops mutators. FailedPrecondition if
  // this thread may not; `what` is the public function, for messages.
  absl::Status RunStopping(const char* what, absl::FunctionRef<absl::Status(Mutator*)> act);
  absl::Status AddCleanupFor(uintptr_t object, absl::AnyInvocable<void() &&> cleanup);

  const std::shared_ptr<internal::HeapCore> core_;
};

}  // namespace ebb

#endif  // EBB_HEAP_HEAP_H_
