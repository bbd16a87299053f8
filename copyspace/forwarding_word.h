// ForwardingWord: the header word of an object, and the protocol by which racing threads evacuate
// the object exactly once. For the heap's evacuators and its walkers.
// Design: docs/design/forwarding.md

#ifndef EBB_COPYSPACE_FORWARDING_WORD_H_
#define EBB_COPYSPACE_FORWARDING_WORD_H_

#include <atomic>
#include <cstdint>

#include "absl/log/check.h"
#include "copyspace/geometry.h"
#include "platform/spin_wait.h"

namespace ebb::copyspace {

// The low 3 bits are the state:
//
//   000  type       the rest is the 8-aligned type pointer
//   001  busy       claimed by one thread; the whole word is 1
//   010  forwarded  the rest is the reference of the copy
//   p11  retained   the type pointer; evacuation failed in a cycle of parity p
//
// The protocol, in from-space during a cycle:
//
//   Load ─ type, or retained in the other parity ─ TryClaim ─ won ─ copy ─ Commit(to)
//     │                                               │        └─ no room: Abort, or Retain
//     ├─ busy ─ AwaitSettled, then as if just loaded ─┘ lost: as if just loaded
//     ├─ forwarded ─ use forwarded()
//     └─ retained in this parity ─ the object stays where it is
//
// inv.one-copy: at most one Commit for each object and cycle. Only the thread whose TryClaim
// succeeded may call Commit, Abort or Retain, and calls exactly one of them once; the copy's own
// word was initialised before.
//
// inv.settled: an object that was reached in a cycle is forwarded or retained in that cycle's
// parity at its end. Abort therefore is followed by another attempt; else a word that an earlier
// cycle left retained would be mistaken for settled two cycles later.
//
// The body of a from-space object is not written during a cycle
// (inv.tospace), so the claim need not acquire it: the flip's pause published it.
class ForwardingWord {
 public:
  enum class State { kType, kBusy, kForwarded, kRetained };

  struct Snapshot {
    uintptr_t bits = 0;

    State state() const {
      switch (bits & kStateMask) {
        case kTypeTag:
          return State::kType;
        case kBusyTag:
          return State::kBusy;
        case kForwardedTag:
          return State::kForwarded;
        default:
          DCHECK_EQ(bits & kRetainedTag, kRetainedTag) << "not a header word: " << bits;
          return State::kRetained;
      }
    }
    bool busy() const { return bits == kBusyTag; }
    bool is_forwarded() const { return (bits & kStateMask) == kForwardedTag; }
    // State kType or kRetained: the type pointer.
    uintptr_t type() const { return bits & ~kStateMask; }
    // State kForwarded: the reference of the copy.
    Reference forwarded() const { return bits & ~kStateMask; }
    // Evacuation failed in this cycle (the one of `parity`): the object stays where it is.
    bool retained_in(int parity) const { return (bits & kStateMask) == RetainedTag(parity); }
    // A thread in a cycle of `parity` may try to claim the object.
    bool claimable_in(int parity) const {
      return (bits & kStateMask) == kTypeTag || retained_in(1 - parity);
    }
    friend bool operator==(Snapshot, Snapshot) = default;
  };

  // The word in front of the payload.
  static ForwardingWord& Of(Reference object) {
    return *reinterpret_cast<ForwardingWord*>(object - sizeof(ForwardingWord));
  }

  ForwardingWord(const ForwardingWord&) = delete;
  ForwardingWord& operator=(const ForwardingWord&) = delete;

  // Acquire: pairs with Commit's release; who sees "forwarded" sees the copy's body.
  Snapshot Load() const { return {word_.load(std::memory_order_acquire)}; }

  // The type pointer, for code that knows the object is neither busy nor forwarded. Relaxed: the
  // type was published with the reference.
  uintptr_t TypeBits() const { return word_.load(std::memory_order_relaxed) & ~kStateMask; }

  // A new object's word. Relaxed: whoever publishes the reference publishes the word with it.
  void Initialize(uintptr_t type_bits) { word_.store(type_bits, std::memory_order_relaxed); }

  // Claims the object if its word is still `expected`, which must be claimable_in this cycle. On
  // failure `expected` is what the word is now. Acquire: on failure as Load does. A success needs
  // no order (what is read next was published by the pause), but gcc wants no weaker one for it.
  bool TryClaim(Snapshot& expected) {
    return word_.compare_exchange_strong(expected.bits, kBusyTag, std::memory_order_acquire,
                                         std::memory_order_acquire);
  }

  // Release: publishes the copied body. Pairs with the acquire in Load and TryClaim.
  void Commit(Reference to) {
    DCHECK_EQ(to & kStateMask, 0u);
    word_.store(to | kForwardedTag, std::memory_order_release);
  }

  // Gives the claim up: `original_bits` is what TryClaim was given. Relaxed: nothing was written
  // that another thread could read.
  void Abort(uintptr_t original_bits) { word_.store(original_bits, std::memory_order_relaxed); }

  // Gives the claim up for all of this cycle: the object stays where it is. Release: publishes that
  // the region was marked (CopySpace::RetainRegionOf) to whoever sees the object retained by Load.
  void Retain(uintptr_t type_bits, int parity) {
    word_.store((type_bits & ~kStateMask) | RetainedTag(parity), std::memory_order_release);
  }

  // Waits, by spinning, until the word is not busy; acquires as Load does.
  Snapshot AwaitSettled() const {
    platform::SpinWait wait;
    Snapshot now = Load();
    while (now.busy()) {
      wait.Once();
      now = Load();
    }
    return now;
  }

  // The plain flavour, for a pause in which one thread evacuates: no claim, no read-modify-write,
  // relaxed because no other thread looks before the pause's end publishes everything.
  Snapshot LoadPlain() const { return {word_.load(std::memory_order_relaxed)}; }
  void CommitPlain(Reference to) { word_.store(to | kForwardedTag, std::memory_order_relaxed); }
  void RetainPlain(uintptr_t type_bits, int parity) {
    word_.store((type_bits & ~kStateMask) | RetainedTag(parity), std::memory_order_relaxed);
  }

 private:
  static constexpr uintptr_t kStateMask = 7;
  static constexpr uintptr_t kTypeTag = 0;
  static constexpr uintptr_t kBusyTag = 1;
  static constexpr uintptr_t kForwardedTag = 2;
  static constexpr uintptr_t kRetainedTag = 3;
  static constexpr uintptr_t RetainedTag(int parity) {
    return kRetainedTag | static_cast<uintptr_t>(parity) << 2;
  }

  std::atomic<uintptr_t> word_;
};

static_assert(sizeof(ForwardingWord) == 8);
static_assert(std::atomic<uintptr_t>::is_always_lock_free);

}  // namespace ebb::copyspace

#endif  // EBB_COPYSPACE_FORWARDING_WORD_H_
