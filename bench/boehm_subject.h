// A peer: the Boehm-Demers-Weiser collector, libgc. Three ways:
//   boehm              its heap expanded up front to the bytes that ours may use (the fair row)
//   boehm-default      as it comes: grows as it likes
//   boehm-incremental  expanded, and GC_enable_incremental
// Marking is parallel, as Debian builds it. No maximum is set, unless the run is to be capped:
// where fragmentation makes the heap grow beyond the expansion it may, and heap_bytes of the result
// says so.

#ifndef EBB_BENCH_BOEHM_SUBJECT_H_
#define EBB_BENCH_BOEHM_SUBJECT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

#include "absl/status/statusor.h"
#include "bench/raw_pointers.h"
#include "bench/record.h"
#include "bench/subject_options.h"

namespace ebb::bench {

// The functions of libgc that are used, as gc.h declares them.
struct BoehmFunctions {
  struct StackBase {
    void* base;
  };
  void (*init)();
  void (*allow_register_threads)();
  int (*get_stack_base)(StackBase*);
  int (*register_my_thread)(const StackBase*);
  int (*unregister_my_thread)();
  void (*enable_incremental)();
  int (*expand)(size_t);
  void (*set_max_heap_size)(size_t);
  void* (*allocate)(size_t);
  void* (*allocate_atomic)(size_t);
  void (*collect)();
  size_t (*collections)();
  size_t (*heap_size)();
  void (*set_on_collection_event)(void (*)(int));
};

class BoehmSubject : public RawPointerWords {
 public:
  static constexpr bool kManual = false;

  // Registers this thread with the collector.
  class Thread {
   public:
    explicit Thread(BoehmSubject& subject);
    Thread(const Thread&) = delete;
    ~Thread();

    template <typename T, typename... Args>
    T* New(Args&&... args) {
      return new (OrThrow(allocate_(sizeof(T)))) T{std::forward<Args>(args)...};
    }
    template <typename T>
    RawArray<T>* NewArray(int64_t length) {
      return new (OrThrow(allocate_atomic_(RawArray<T>::SizeFor(length)))) RawArray<T>(length);
    }
    template <typename T>
    RawArray<T*>* NewRefArray(int64_t length) {
      return new (OrThrow(allocate_(RawArray<T*>::SizeFor(length)))) RawArray<T*>(length);
    }
    void Safepoint() {}
    template <typename Function>
    void Blocked(Function function) {
      function();
    }

   private:
    static void* OrThrow(void* memory) {
      if (memory == nullptr) throw std::bad_alloc();
      return memory;
    }

    const BoehmFunctions& functions_;
    void* (*const allocate_)(size_t);
    void* (*const allocate_atomic_)(size_t);
    bool registered_ = false;
  };

  // One at a time in a process: the library has one heap.
  static absl::StatusOr<std::unique_ptr<BoehmSubject>> Create(const SubjectOptions& options);

  absl::Status Collect();
  int64_t Collections() const { return static_cast<int64_t>(functions_.collections()); }
  // collections, pause_ns (world stopped to world started), heap_bytes.
  void Describe(Record& record) const;

 private:
  explicit BoehmSubject(const BoehmFunctions& functions) : functions_(functions) {}
  const BoehmFunctions functions_;
};

}  // namespace ebb::bench

#endif  // EBB_BENCH_BOEHM_SUBJECT_H_
