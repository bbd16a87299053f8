// Ledger: the one account that every byte of a heap is debited from before it is used: blocks of
// copy spaces, large objects, worklists, tables. Any thread may call it.
// Design: docs/design/copy_space.md#the-ledger

#ifndef EBB_COPYSPACE_LEDGER_H_
#define EBB_COPYSPACE_LEDGER_H_

#include <atomic>
#include <cstdint>

#include "copyspace/geometry.h"

namespace ebb::copyspace {

// Lock-free, thread-safe. All orders are relaxed: a count of bytes publishes no memory; whoever
// hands memory from one thread to another synchronises by what it hands it over with.
class Ledger {
 public:
  explicit Ledger(Bytes limit) : limit_(limit.count()) {}
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  // Debits `amount` and returns true, unless that would leave less than `keep_free` below the
  // limit: then nothing is debited. A negative `keep_free` is how far beyond the limit the caller
  // may go. Checked and debited in one step: racing callers cannot overshoot together.
  bool TryDebit(Bytes amount, Bytes keep_free = Bytes(0)) {
    int64_t used = used_.load(std::memory_order_relaxed);
    do {
      if (used + amount.count() + keep_free.count() > limit_.load(std::memory_order_relaxed)) {
        return false;
      }
      // Relaxed: see the class.
    } while (!used_.compare_exchange_weak(used, used + amount.count(), std::memory_order_relaxed));
    RaisePeak(used + amount.count());
    return true;
  }

  // Debits whatever the limit says; for what is used already or cannot be refused.
  void ForceDebit(Bytes amount) {
    RaisePeak(used_.fetch_add(amount.count(), std::memory_order_relaxed) + amount.count());
  }

  // Gives back what was debited.
  void Credit(Bytes amount) { used_.fetch_sub(amount.count(), std::memory_order_relaxed); }

  Bytes used() const { return Bytes(used_.load(std::memory_order_relaxed)); }
  Bytes limit() const { return Bytes(limit_.load(std::memory_order_relaxed)); }
  // The most that was ever in use.
  Bytes peak() const { return Bytes(peak_.load(std::memory_order_relaxed)); }

  // May be below used(): then every TryDebit without a negative `keep_free` fails for now.
  void SetLimit(Bytes limit) { limit_.store(limit.count(), std::memory_order_relaxed); }

 private:
  void RaisePeak(int64_t used) {
    // Relaxed: see the class.
    int64_t peak = peak_.load(std::memory_order_relaxed);
    while (used > peak && !peak_.compare_exchange_weak(peak, used, std::memory_order_relaxed)) {
    }
  }

  std::atomic<int64_t> used_{0};
  std::atomic<int64_t> limit_;
  std::atomic<int64_t> peak_{0};
};

}  // namespace ebb::copyspace

#endif  // EBB_COPYSPACE_LEDGER_H_
