// A peer: std::shared_ptr on a malloc, objects and counts in one allocation. Garbage goes when the
// last pointer does.

#ifndef EBB_BENCH_SHARED_SUBJECT_H_
#define EBB_BENCH_SHARED_SUBJECT_H_

#include <cstdint>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/status/statusor.h"
#include "absl/strings/strip.h"
#include "bench/malloc_functions.h"
#include "bench/record.h"
#include "bench/subject_options.h"

namespace ebb::bench {

class SharedSubject {
 public:
  static constexpr bool kManual = false;
  template <typename T>
  using Edge = std::shared_ptr<T>;
  template <typename T>
  using Temp = std::shared_ptr<T>;

  class Thread;
  template <typename T>
  class Root : public std::shared_ptr<T> {
   public:
    Root(Thread&, std::shared_ptr<T> pointer) : std::shared_ptr<T>(std::move(pointer)) {}
    using std::shared_ptr<T>::operator=;
  };

  template <typename T>
  class Array {
   public:
    explicit Array(int64_t length)
        : length_(length),
          elements_(static_cast<T*>(functions_.allocate(static_cast<size_t>(length) * sizeof(T)))) {
      // Pointers begin as null; numbers are left to whoever needs them.
      if constexpr (!std::is_arithmetic_v<T>) {
        std::uninitialized_value_construct_n(elements_, length);
      }
    }
    Array(const Array&) = delete;
    ~Array() {
      std::destroy_n(elements_, length_);
      functions_.release(elements_);
    }
    T& operator[](int64_t i) { return elements_[i]; }
    int64_t length() const { return length_; }

   private:
    const int64_t length_;
    T* const elements_;
  };
  template <typename T>
  using RefArray = Array<std::shared_ptr<T>>;

  // Stateless, so that it adds nothing to the block: one process measures one malloc.
  template <typename T>
  struct Allocator {
    using value_type = T;
    Allocator() = default;
    template <typename U>
    Allocator(const Allocator<U>&) {}  // NOLINT: implicit, as allocators must be
    T* allocate(size_t n) { return static_cast<T*>(functions_.allocate(n * sizeof(T))); }
    void deallocate(T* p, size_t) { functions_.release(p); }
    friend bool operator==(const Allocator&, const Allocator&) { return true; }
  };

  class Thread {
   public:
    explicit Thread(SharedSubject&) {}
    template <typename T, typename... Args>
    std::shared_ptr<T> New(Args&&... args) {
      return std::allocate_shared<T>(Allocator<T>(), std::forward<Args>(args)...);
    }
    template <typename T>
    std::shared_ptr<Array<T>> NewArray(int64_t length) {
      return New<Array<T>>(length);
    }
    template <typename T>
    std::shared_ptr<RefArray<T>> NewRefArray(int64_t length) {
      return New<RefArray<T>>(length);
    }
    void Safepoint() {}
    template <typename Function>
    void Blocked(Function function) {
      function();
    }
  };

  static absl::StatusOr<std::unique_ptr<SharedSubject>> Create(const SubjectOptions& options) {
    absl::StatusOr<MallocFunctions> functions =
        MallocFunctions::Open(absl::StripSuffix(options.name, "-shared"));
    if (!functions.ok()) return functions.status();
    functions_ = *functions;
    return absl::WrapUnique(new SharedSubject);
  }

  absl::Status Collect() { return absl::OkStatus(); }
  int64_t Collections() const { return 0; }
  void Describe(Record&) const {}

 private:
  SharedSubject() = default;
  static inline MallocFunctions functions_;
};

}  // namespace ebb::bench

#endif  // EBB_BENCH_SHARED_SUBJECT_H_
