// Coalescer: stores to rc::Fields that are counted at the end of an epoch, and once for each Field.
// Design: docs/design/coalescing.md

#ifndef EBB_HEAP_RC_COALESCER_H_
#define EBB_HEAP_RC_COALESCER_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "heap/heap.h"
#include "heap/pause_hook.h"
#include "heap/rc/cell.h"
#include "platform/address_range.h"
#include "platform/fork.h"

namespace ebb::internal {
class Spaces;
}  // namespace ebb::internal

namespace ebb::rc::internal {

class CellTable;
class Coalescer;

// The Fields that a thread was the first to store to since the epoch began, and what they referred
// to then. For one thread; but the pause in which an epoch ends reads and clears it.
class StoreLog {
 public:
  static constexpr size_t kEntries = 4096;

  explicit StoreLog(Coalescer& coalescer);

  bool empty() const { return size_ == 0; }
  // Whether the epoch should end soon: from here on stores may have to count.
  bool is_due() const { return size_ >= kEntries * 3 / 4; }
  // Whether its Owner is in an eager phase: Coalescer::BeginEager.
  bool is_eager() const { return eager_phases_ > 0; }

 private:
  friend class Coalescer;
  struct Entry {
    Cell** field;
    Cell* before;
  };

  // Where a Field that is logged already lies in the copy space, and to store is all there is to
  // do.
  bool TryStoreAgain(Cell** field, Cell* next);

  Coalescer& coalescer_;
  const CellTable* const table_;
  const platform::AddressRange copies_;
  // Under the coalescer's lock, whose name this class cannot see.
  std::thread::id thread_;  // none: it is free
  int eager_phases_ = 0;    // that it is in
  size_t size_ = 0;
  std::array<Entry, kEntries> entries_;
};

// The calling thread's, of its newest Owner of a coalesced domain; null if it has none.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local StoreLog* this_threads_log;
// How many coalesced domains there are in the process. Relaxed: who stores to a Field that another
// thread has logged has been given it by that, in whichever way, after that saw one.
extern constinit std::atomic<int> coalesced_domains;

// That of one domain. After Levanoni and Petrank, An On-the-Fly Reference-Counting Garbage
// Collector for Java, TOPLAS 2006: of all stores to a Field in an epoch, the value before the first
// and the one after the last are counted; but here an epoch ends in a pause.
//
// inv.logged: a Field whose logging bit is set is in some thread's log, once; what it refers to has
// no count for that, unless it is another domain's. What a Field in a log referred to when it was
// logged still has one. If its bit is not set, it has been destroyed since; at its address may be
// another, which counts, or is in a log itself.
//
// Thread-safe.
class Coalescer final : private ebb::internal::PauseHook {
 public:
  // Throws MisuseError if the heap has no logging bits, or a coalesced domain already.
  static std::shared_ptr<Coalescer> New(Heap& heap, CellTable& table);
  // Its domain goes: no thread is attached to that any more. Others may be storing to Fields.
  void Close();
  Coalescer(const Coalescer&) = delete;
  Coalescer& operator=(const Coalescer&) = delete;

  // `field` refers to `next` from here on, and nothing is counted. False: nothing has been done,
  // and the caller is to count. `field` is of an object that the caller may use, or lies anywhere
  // else, in no heap. O(1).
  static bool Store(Cell** field, Cell* next);

  // `field`, which is about to be destroyed, refers to null from here on, if what it referred to
  // was not counted. O(1).
  static void Destroy(Cell** field) {
    if (coalesced_domains.load(std::memory_order_relaxed) != 0) [[unlikely]]  // see there
      DestroySomewhere(field);
  }

  // For an Owner, from its thread's first to its last. May throw std::bad_alloc.
  StoreLog& TakeLog() ABSL_LOCKS_EXCLUDED(mu_);
  void GiveLog(StoreLog& log) ABSL_LOCKS_EXCLUDED(mu_);
  // Whether a thread has left with something in its log. A hint: relaxed, as what it hints at is
  // counted in a pause.
  bool has_left() const { return has_left_.load(std::memory_order_relaxed); }

  // Ends the epoch; and until as many EndEager, no other begins: all stores are counted, and all
  // counts are right. A pause, unless there was none of this to do. FailedPrecondition where the
  // thread must not stop. By the thread whose log it is.
  absl::Status BeginEager(StoreLog& log) ABSL_LOCKS_EXCLUDED(mu_);
  void EndEager(StoreLog& log) ABSL_LOCKS_EXCLUDED(mu_);

  void AtFork(platform::ForkStep step);
  static void AllAtFork(platform::ForkStep step);

 private:
  friend class StoreLog;

  Coalescer(Heap& heap, CellTable& table);
  static void Register(std::shared_ptr<Coalescer> coalescer);
  // That of the heap that the address is in; null if there is none.
  static std::shared_ptr<Coalescer> Find(uintptr_t address);
  // Store and Destroy, where there are coalesced domains.
  static bool StoreSomewhere(Cell** field, Cell* next);
  static void DestroySomewhere(Cell** field);
  // That of the calling thread's log, if the address is in its heap; else null.
  static Coalescer* OfThisThread(uintptr_t address);

  void AddEager(StoreLog& log, int phases) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AtPause() override ABSL_LOCKS_EXCLUDED(mu_);
  void CountLogged() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool IsForeign(const Cell* cell) const;
  // As Store, of a Field in this heap. `log`: the thread's, or null.
  bool StoreSlow(Cell** field, Cell* next, StoreLog* log);
  void DestroySlow(Cell** field);

  Heap& heap_;
  ebb::internal::Spaces& spaces_;
  CellTable& table_;
  // Whether stores are logged. Relaxed: set to false in a pause, so that nobody is in the midst of
  // a store; and who reads that late, when it is true again, counts, which is right as well.
  std::atomic<bool> active_ = true;
  // Whether a logged Field may refer to another domain's object. Relaxed: set before that is
  // stored, and so by whoever gave the Field to the caller, or by itself.
  std::atomic<bool> has_foreign_ = false;
  std::atomic<bool> has_left_ = false;  // see has_left

  absl::Mutex mu_;
  std::vector<std::unique_ptr<StoreLog>> logs_ ABSL_GUARDED_BY(mu_);  // also of threads that left
  // Of all logs.
  int eager_phases_ ABSL_GUARDED_BY(mu_) = 0;
};

inline bool Coalescer::Store(Cell** field, Cell* next) {
  if (coalesced_domains.load(std::memory_order_relaxed) == 0) [[likely]]  // see there
    return false;
  return StoreSomewhere(field, next);
}

}  // namespace ebb::rc::internal

#endif  // EBB_HEAP_RC_COALESCER_H_
