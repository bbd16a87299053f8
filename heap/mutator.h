// Mutator: a thread attached to a heap, and the door through which it allocates.
// Design: docs/design/safepoints.md

#ifndef EBB_HEAP_MUTATOR_H_
#define EBB_HEAP_MUTATOR_H_

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "copyspace/bump_allocator.h"
#include "copyspace/forwarding_word.h"
#include "heap/array.h"
#include "heap/field.h"
#include "heap/local.h"
#include "heap/ref.h"
#include "heap/remembered_set.h"
#include "heap/type_info.h"

namespace ebb {

class Heap;
class Safepoints;

namespace internal {
class Cycle;
class ForkRegistry;
class HeapCore;
class MinorCycle;
class MutatorForwarder;
class StoppedHeap;
class ThreadBarriers;
}  // namespace internal

// What New throws when the heap is exhausted; what() is the message of the Status that TryNew
// returns: what was wanted, how much there is, which option raises it.
class HeapExhausted : public std::bad_alloc {
 public:
  explicit HeapExhausted(absl::Status status)
      : message_(std::make_shared<std::string>(status.ToString())) {}
  const char* what() const noexcept override { return message_->c_str(); }

 private:
  std::shared_ptr<std::string> message_;
};

// What New throws when it is called where it must not be; TryNew returns FailedPrecondition.
class MisuseError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

namespace internal {

// How New hands an argument to its slow path: references and small values in a register, so that
// the fast path needs no stack, the rest as it came. `A` is a reference to the argument's type.
template <typename A, typename Value = std::remove_cvref_t<A>>
struct Passed {
  static constexpr bool kByValue = std::is_trivially_copyable_v<Value> && sizeof(Value) <= 16;
  using type = std::conditional_t<kByValue, Value, A>;
};
template <typename A, typename T>
struct Passed<A, Ref<T>> {
  using type = Ref<T>;
};
template <typename A, typename T>
struct Passed<A, Field<T>> {
  using type = Ref<T>;
};

// How the slow path keeps it over the safepoint: references are rooted. `A` is as Passed makes it.
template <typename A>
struct Rooted {
  A value;
  Rooted(const Mutator&, A argument) : value(std::forward<A>(argument)) {}
  A&& get() { return std::forward<A>(value); }
};
template <typename T>
struct Rooted<Ref<T>> {
  Local<T> value;
  template <typename M>
  Rooted(M& mutator, Ref<T> argument) : value(mutator, argument) {}
  Ref<T> get() { return value; }
};

}  // namespace internal

// One per thread and heap, on the thread's stack: attaches in its constructor, detaches in its
// destructor, at any time, also while a cycle runs (then both may wait for the end of its pause).
// A second Mutator of the same thread on the same heap suspends the first one until it goes: the
// first one's Locals stay roots, but neither it nor they must be used. For its own thread only. A
// thread that is attached to several heaps polls the one it allocates in: where that goes on for
// long, it calls Safepoint on the others.
//
// The constructor throws MisuseError in a NoSafepoint scope of this thread.
//
// Keeps the heap's memory alive: a Heap destroyed while threads are attached goes with the last.
class Mutator {
 public:
  explicit Mutator(Heap& heap);
  ~Mutator();
  Mutator(const Mutator&) = delete;
  Mutator& operator=(const Mutator&) = delete;

  // A new T, made as T{args...}; each allocation is a safepoint. Arguments that are Refs or Fields
  // are rooted meanwhile. One argument at most may itself be an allocation: the Ref that one made
  // is stale when another has been made. T's constructor must not allocate from any heap, nor pass
  // any other safepoint (checked in debug builds). Throws HeapExhausted when there is no memory
  // even after a cycle and after Options::on_exhaustion, MisuseError in a Blocking or NoSafepoint
  // scope or when suspended.
  template <typename T, typename... Args>
  Ref<T> New(Args&&... args) {
    constexpr size_t kBytes = kTypeInfo<T>.object_bytes;
    if constexpr (!EBB_DEBUG_REFS && kBytes <= kAlwaysSmall && !kTypeInfo<T>.align16) {
      const uintptr_t header = allocator_.TryAllocate(kBytes);
      if (header != 0) [[likely]] {
        return Construct<T>(header, static_cast<Passed<Args>>(std::forward<Args>(args))...);
      }
    }
    return NewSlow<T, Passed<Args>...>(std::forward<Args>(args)...);
  }

  // As New, but the error is a Status: ResourceExhausted or FailedPrecondition.
  template <typename T, typename... Args>
  absl::StatusOr<Ref<T>> TryNew(Args&&... args) {
    return NewRooted<T>(&Mutator::AllocateSmallOrLarge,
                        internal::Rooted<Passed<Args>>(*this, std::forward<Args>(args))...);
  }

  // As New and TryNew, with `bytes` bytes behind the object, zero at first, which ExtraBytes
  // (heap/extra_bytes.h) finds. They hold no references: the collector copies them, and does not
  // look into them. 8 bytes of overhead. O(bytes).
  template <typename T, typename... Args>
  Ref<T> NewWithBytes(size_t bytes, Args&&... args) {
    constexpr const TypeInfo& kType = kTypeInfoWithBytes<T>;
    if constexpr (!EBB_DEBUG_REFS && kType.object_bytes + 8 <= kAlwaysSmall && !kType.align16) {
      if (bytes <= kAlwaysSmall - kType.object_bytes - 8) {
        const uintptr_t header = allocator_.TryAllocate(kType.ObjectBytesWith(bytes));
        if (header != 0) [[likely]] {
          return ConstructAt<T>(InitializeWithBytes(header, kType, bytes, /*clear=*/true),
                                static_cast<Passed<Args>>(std::forward<Args>(args))...);
        }
      }
    }
    return ValueOrThrow(TryNewWithBytes<T>(bytes, std::forward<Args>(args)...));
  }
  template <typename T, typename... Args>
  absl::StatusOr<Ref<T>> TryNewWithBytes(size_t bytes, Args&&... args) {
    return NewRootedWithBytes<T>(
        bytes, internal::Rooted<Passed<Args>>(*this, std::forward<Args>(args))...);
  }
  // For heap/rc, too: the payload of such an object, without the object itself, which the caller
  // puts there before its next safepoint. Errors of TryNew.
  absl::StatusOr<uintptr_t> AllocateWithBytes(const TypeInfo& type, size_t bytes);

  // As New, and the object never moves: its address may be known outside the heap while a root or
  // a Field keeps it alive. Costs more than New, and memory that a cycle cannot compact.
  template <typename T, typename... Args>
  Ref<T> NewPinned(Args&&... args) {
    return ValueOrThrow(TryNewPinned<T>(std::forward<Args>(args)...));
  }
  template <typename T, typename... Args>
  absl::StatusOr<Ref<T>> TryNewPinned(Args&&... args) {
    return NewRooted<T>(&Mutator::AllocatePinned,
                        internal::Rooted<Passed<Args>>(*this, std::forward<Args>(args))...);
  }

  // An array of `length` value-initialised elements (zeros, null Fields). O(length).
  template <typename E>
  Ref<Array<E>> NewArray(size_t length) {
    if constexpr (!EBB_DEBUG_REFS && !kArrayTypeInfo<E>.align16 && kZeroIsValue<E>) {
      if (length <= (kAlwaysSmall - kArrayTypeInfo<E>.object_bytes - 8) / sizeof(E)) {
        const size_t bytes = ArrayBytes(kArrayTypeInfo<E>, length);
        const uintptr_t header = allocator_.TryAllocate(bytes);
        if (header != 0) [[likely]] {
          return Ref<Array<E>>::FromBits(InitializeArray(header, kArrayTypeInfo<E>, length, bytes),
                                         internal::Stamp::Of(*this));
        }
      }
    }
    return ValueOrThrow(TryNewArray<E>(length));
  }
  template <typename E>
  absl::StatusOr<Ref<Array<E>>> TryNewArray(size_t length);
  // An array of `length` null references.
  template <typename T>
  Ref<RefArray<T>> NewRefArray(size_t length) {
    return NewArray<Field<T>>(length);
  }
  template <typename T>
  absl::StatusOr<Ref<RefArray<T>>> TryNewRefArray(size_t length) {
    return TryNewArray<Field<T>>(length);
  }
  // An immutable string with the bytes of `text`, which may itself lie in this heap. O(length).
  Ref<String> NewString(std::string_view text) { return ValueOrThrow(TryNewString(text)); }
  absl::StatusOr<Ref<String>> TryNewString(std::string_view text);

  // To be called in loops that do not allocate: stops here if a pause is wanted. One load and one
  // branch if not. Throws MisuseError in a NoSafepoint scope.
  void Safepoint() {
    if (EBB_DEBUG_REFS || allocator_.slow_forced()) [[unlikely]]
      SafepointSlow();
  }

  // The same on each of the calling thread's mutators that is not suspended, of whichever heap: in
  // a long loop of Ebb's own, whose caller cannot see to its other heaps.
  static void SafepointOfThread();

  // For Ebb's own waits: all of the calling thread's mutators that run, but `except`, count as
  // blocked until UnparkThread, which waits until all of them may run. Whether there were any.
  static bool ParkThread(const Mutator* except);
  static void UnparkThread();

  // The calling thread's mutator on `heap` that is not suspended, or null.
  static Mutator* Current(const Heap& heap);

  // For heap/rc, too: FailedPrecondition where a safepoint may not happen: this mutator is
  // suspended or another thread's, or any mutator of the calling thread is in a NoSafepoint scope.
  // `what` is for the message.
  absl::Status CheckMayStop(const char* what) const;
  // For New and rc::MakePtr: HeapExhausted for ResourceExhausted, else MisuseError.
  [[noreturn]] static void Throw(absl::Status status);
  // For Local.
  internal::LocalBase** locals() { return &locals_; }
  // For Stamp: counts the safepoints this thread has passed.
  uint64_t epoch() const { return epoch_; }
  // "thread NAME (TID)".
  const std::string& thread_name() const { return thread_name_; }

 private:
  friend class Blocking;
  friend class Heap;
  friend class NoSafepoint;
  friend class Safepoints;
  friend class internal::StoppedHeap;
  friend class internal::Cycle;
  friend class internal::ForkRegistry;
  friend class internal::HeapCore;
  friend class internal::MinorCycle;
  friend class internal::Stamp;
  friend class internal::ThreadBarriers;

  // While it lives, a safepoint of this thread is refused.
  class RefusedSafepoints {
   public:
    explicit RefusedSafepoints(Mutator& mutator) : mutator_(mutator) {
      ++mutator_.no_safepoint_scopes_;
    }
    ~RefusedSafepoints() { --mutator_.no_safepoint_scopes_; }
    RefusedSafepoints(const RefusedSafepoints&) = delete;
    RefusedSafepoints& operator=(const RefusedSafepoints&) = delete;

   private:
    Mutator& mutator_;
  };

  enum class State { kRunning, kStopped, kBlocked };
  // No large_object_bytes that can be set is less, so this need not be asked at run time.
  static constexpr size_t kAlwaysSmall = 1 << 10;

  // Writes the header and makes the object: the word must be there before any constructor runs.
  template <typename T, typename... Args>
  Ref<T> Construct(uintptr_t header, Args&&... args) {
    return ConstructAt<T>(WriteHeader(header, kTypeInfo<T>), std::forward<Args>(args)...);
  }
  template <typename T, typename... Args>
  Ref<T> ConstructAt(uintptr_t payload, Args&&... args) {
#if EBB_DEBUG_REFS
    const RefusedSafepoints scope(*this);
#endif
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored \
    "-Wmissing-field-initializers"  // fewer arguments than members: as T{}
    ::new (reinterpret_cast<void*>(payload)) T{std::forward<Args>(args)...};
#pragma GCC diagnostic pop
    return Ref<T>::FromBits(payload, internal::Stamp::Of(*this));
  }
  static uintptr_t WriteHeader(uintptr_t header, const TypeInfo& type) {
    const uintptr_t payload = header + kHeaderBytes;
    copyspace::ForwardingWord::Of(payload).Initialize(reinterpret_cast<uintptr_t>(&type));
    return payload;
  }
  template <typename A>
  using Passed = typename internal::Passed<A&&>::type;
  using AllocateFixed = absl::StatusOr<uintptr_t> (Mutator::*)(const TypeInfo& type);

  template <typename T, typename... Args>
  [[gnu::noinline]] Ref<T> NewSlow(Args... args) {
    return ValueOrThrow(NewRooted<T>(&Mutator::AllocateSmallOrLarge,
                                     internal::Rooted<Args>(*this, std::forward<Args>(args))...));
  }
  template <typename T, typename... RootedArgs>
  absl::StatusOr<Ref<T>> NewRooted(AllocateFixed allocate, RootedArgs&&... args) {
    absl::StatusOr<uintptr_t> header = (this->*allocate)(kTypeInfo<T>);
    if (!header.ok()) return std::move(header).status();
    const Ref<T> object = Construct<T>(*header, args.get()...);
    if constexpr (kTypeInfo<T>.has_references()) LogIfOld(object.bits());
    return object;
  }
  template <typename T, typename... RootedArgs>
  absl::StatusOr<Ref<T>> NewRootedWithBytes(size_t bytes, RootedArgs&&... args) {
    absl::StatusOr<uintptr_t> payload = AllocateWithBytes(kTypeInfoWithBytes<T>, bytes);
    if (!payload.ok()) return std::move(payload).status();
    const Ref<T> object = ConstructAt<T>(*payload, args.get()...);
    if constexpr (kTypeInfo<T>.has_references()) LogIfOld(object.bits());
    return object;
  }
  template <typename R>
  static R ValueOrThrow(absl::StatusOr<R> value) {
    if (!value.ok()) [[unlikely]]
      Throw(std::move(value).status());
    return *std::move(value);
  }

  // The header word's address of `object_bytes` fresh bytes of the right alignment, wherever an
  // object of this size belongs; collects and asks the exhaustion handler as needed. The memory is
  // not cleared, unless `zeroed` is given: then it says whether it is.
  absl::StatusOr<uintptr_t> AllocateSlow(const TypeInfo& type, size_t object_bytes,
                                         bool* zeroed = nullptr);
  // The header word's address, or 0 if the open region has no room.
  uintptr_t AllocateFromOpenRegion(size_t object_bytes, bool align16);
  absl::StatusOr<uintptr_t> AllocateLarge(size_t object_bytes);
  absl::StatusOr<uintptr_t> AllocateSmallOrLarge(const TypeInfo& type) {
    return AllocateSlow(type, type.object_bytes);
  }
  absl::StatusOr<uintptr_t> AllocatePinned(const TypeInfo& type);
  template <typename Space>
  absl::StatusOr<uintptr_t> AllocateInPlace(Space& space, size_t object_bytes);
  // The object has just been made, with what its arguments were: no barrier has seen its Fields.
  void LogIfOld(uintptr_t payload);
  // A safepoint, then `attempt` for as long as the heap and the exhaustion handler let it try.
  // `moves`: it is to lie where objects move.
  absl::StatusOr<uintptr_t> AllocateWith(size_t object_bytes, bool moves,
                                         absl::FunctionRef<absl::StatusOr<uintptr_t>()> attempt);
  // Zero bytes are the value of a number, a pointer or a Field; other elements are made one by one.
  template <typename E>
  static constexpr bool kZeroIsValue =
      std::is_trivially_default_constructible_v<E> || internal::kIsReference<E>;
  // Of the whole object. `length` elements fit into an address space.
  static size_t ArrayBytes(const TypeInfo& type, size_t length) {
    return (type.object_bytes + length * type.element_bytes + 7) & ~size_t{7};
  }
  // Returns the payload.
  static uintptr_t InitializeArray(uintptr_t header, const TypeInfo& type, size_t length,
                                   size_t bytes_to_clear) {
    const uintptr_t payload = WriteHeader(header, type);
    if (bytes_to_clear > kHeaderBytes) {
      std::memset(reinterpret_cast<void*>(payload), 0, bytes_to_clear - kHeaderBytes);
    }
    *reinterpret_cast<uint64_t*>(payload) = length;
    return payload;
  }
  // Returns the payload.
  static uintptr_t InitializeWithBytes(uintptr_t header, const TypeInfo& type, size_t bytes,
                                       bool clear) {
    const uintptr_t payload = WriteHeader(header, type);
    if (clear) std::memset(reinterpret_cast<void*>(type.ExtraBytes(payload)), 0, bytes);
    type.ExtraByteCount(payload) = bytes;
    return payload;
  }
  // The payload of an array of `length` elements whose bytes are zero; the length is set.
  absl::StatusOr<uintptr_t> AllocateArray(const TypeInfo& type, size_t length);
  void StressCollect();

  void SafepointSlow();
  // What every safepoint begins with: refused where it may not happen, else stops for a pause that
  // is wanted. `what` is for messages.
  absl::Status PassSafepoint(const char* what);
  // FailedPrecondition on a thread that this mutator is not of.
  absl::Status CheckThread(const char* what) const;
  // FailedPrecondition if any mutator of the calling thread, of whichever heap, is in a NoSafepoint
  // scope.
  static absl::Status CheckThreadMayStop(const char* what);
  // What every safepoint ends with: the fast path may run again, unless a pause was asked for
  // meanwhile or stress wants every allocation to be slow. Does not stop: an object that was just
  // allocated, and that nobody knows of yet, must not be left behind in from-space.
  void RearmFastPath();

  // Of this thread, for as long as the user wants it.
  void Suspend();
  void Resume();
  // Whether it is one of the calling thread's.
  static bool IsThisThreads(const Mutator& mutator);
  // In a forked child, when its thread is not there: gives up all that it has, as its destructor
  // would. `keep` for what its Locals hold.
  void AbandonInChild(absl::FunctionRef<void(uintptr_t bits)> keep);
  // They outlive the mutator.
  void OrphanLocals();

  // Whether it is the thread's own business: neither blocked nor parked.
  bool runs() const { return suspensions_ == 0 && !parked_; }
  // These follow every change to running.
  void ForwardOwedRoots();
  static void UpdateBarriers();
  // By its thread, or under the lock of Safepoints for a blocked one: whether it has found anything
  // grey since the last handshake. Once its barrier is disarmed, gives up what only a cycle
  // needs.
  bool AcknowledgeHandshake();
  // Before its thread acknowledges, or blocks, or stops all others.
  void HandOverGreys();

  // For the collector, while this thread is stopped (ForEachLocal: or blocked); and its own as it
  // detaches.
  void CloseAllocator();
  // As CloseAllocator, but leaves what a cycle beside a minor one works with.
  void CloseForMinorCycle();
  void ForEachLocal(absl::FunctionRef<void(std::atomic<uintptr_t>& slot)> visit);

  copyspace::BumpAllocator allocator_;  // at offset 0, for short instructions
  internal::LocalBase* locals_ = nullptr;
  uint64_t epoch_ = 1;
  int no_safepoint_scopes_ = 0;
  // Blocking scopes, and a nested Mutator, that this one waits for.
  int suspensions_ = 0;
  State state_ = State::kBlocked;  // under the lock of Safepoints
  bool parked_ = false;            // blocked by ParkThread
  // Under the lock of Safepoints, but for its thread's reading; roots_owed_ also its thread's while
  // it runs.
  bool barrier_armed_ = false;
  bool roots_owed_ = false;
  bool roots_being_forwarded_ = false;
  uint64_t acknowledged_ = 0;  // the last handshake
  int64_t stress_countdown_ = 0;
  uint64_t stress_random_ = 0;
  std::shared_ptr<internal::HeapCore> heap_;
  std::unique_ptr<internal::MutatorForwarder> forwarder_;  // null unless cycles are concurrent
  internal::EdgeBuffer edges_;
  // The calling thread's, newest first, linked by next_on_thread_.
  static constinit thread_local Mutator* this_threads_mutators;
  Mutator* next_on_thread_ = nullptr;
  Mutator* suspended_ = nullptr;  // of the same thread and heap
  std::string thread_name_;
};

// Scope in which the thread counts as stopped: system calls, locks, waiting. It must not touch the
// heap meanwhile; allocation is refused. Its end waits for the end of a pause. Scopes may nest.
// Throws MisuseError in a NoSafepoint scope.
class Blocking {
 public:
  explicit Blocking(Mutator& mutator) : mutator_(mutator) { mutator_.Suspend(); }
  ~Blocking() { mutator_.Resume(); }
  Blocking(const Blocking&) = delete;
  Blocking& operator=(const Blocking&) = delete;

 private:
  Mutator& mutator_;
};

// Scope in which a safepoint is a checked error: Refs stay valid throughout. New throws
// MisuseError, TryNew and Heap::Collect return FailedPrecondition. In release builds the check is
// made where a safepoint would really happen. Scopes may nest.
class NoSafepoint {
 public:
  explicit NoSafepoint(Mutator& mutator) : refused_(mutator) {}

 private:
  Mutator::RefusedSafepoints refused_;
};

template <typename E>
absl::StatusOr<Ref<Array<E>>> Mutator::TryNewArray(size_t length) {
  absl::StatusOr<uintptr_t> payload = AllocateArray(kArrayTypeInfo<E>, length);
  if (!payload.ok()) return std::move(payload).status();
  auto array = Ref<Array<E>>::FromBits(*payload, internal::Stamp::Of(*this));
  if constexpr (!kZeroIsValue<E>) {
#if EBB_DEBUG_REFS
    const RefusedSafepoints scope(*this);
#endif
    for (size_t i = 0; i < length; ++i) ::new (static_cast<void*>(&array->data()[i])) E{};
  }
  return array;
}

}  // namespace ebb

#endif  // EBB_HEAP_MUTATOR_H_
