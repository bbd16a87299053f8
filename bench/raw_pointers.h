// The words in which workloads speak about references, for subjects whose references are T*
// (manual ownership, Boehm). The list of words is in bench/subjects.h.

#ifndef EBB_BENCH_RAW_POINTERS_H_
#define EBB_BENCH_RAW_POINTERS_H_

#include <cstdint>
#include <new>

namespace ebb::bench {

// What a Local is to Ebb: a plain variable.
template <typename T>
class RawRoot {
 public:
  template <typename Thread>
  RawRoot(Thread&, T* pointer) : pointer_(pointer) {}
  RawRoot& operator=(T* pointer) {
    pointer_ = pointer;
    return *this;
  }
  operator T*() const { return pointer_; }  // NOLINT: implicit, as from a Local
  T* operator->() const { return pointer_; }
  T& operator*() const { return *pointer_; }

 private:
  T* pointer_;
};

// A length and as many elements behind it, as in an ebb::Array.
template <typename T>
class RawArray {
 public:
  static size_t SizeFor(int64_t length) {
    return sizeof(RawArray) + static_cast<size_t>(length) * sizeof(T);
  }
  explicit RawArray(int64_t length) : length_(length) {}
  int64_t length() const { return length_; }
  T& operator[](int64_t i) { return reinterpret_cast<T*>(this + 1)[i]; }

 private:
  int64_t length_;
};

// The words themselves: such a subject inherits them.
struct RawPointerWords {
  template <typename T>
  using Edge = T*;
  template <typename T>
  using Temp = T*;
  template <typename T>
  using Root = RawRoot<T>;
  template <typename T>
  using Array = RawArray<T>;
  template <typename T>
  using RefArray = RawArray<T*>;
};

}  // namespace ebb::bench

#endif  // EBB_BENCH_RAW_POINTERS_H_
