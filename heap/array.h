// Array<E>, RefArray<T> and String: managed objects of variable size, made by Mutator::NewArray,
// NewRefArray and NewString. Design: docs/design/types.md#arrays

#ifndef EBB_HEAP_ARRAY_H_
#define EBB_HEAP_ARRAY_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/log/check.h"
#include "heap/field.h"
#include "heap/type_info.h"

namespace ebb {

// A length and that many elements: numbers, enums, aggregates, Fields, or aggregates that hold
// Fields. 16 bytes of overhead. An element's address is good until the next safepoint.
template <typename E>
class Array {
 public:
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  size_t size() const { return length_; }
  bool empty() const { return length_ == 0; }
  E* data() { return reinterpret_cast<E*>(Elements()); }
  const E* data() const { return reinterpret_cast<const E*>(Elements()); }
  // `index` is below size(): checked in debug builds; at() checks always.
  E& operator[](size_t index) {
    DCHECK_LT(index, size()) << "index past the end of " << kArrayTypeInfo<E>.name;
    return data()[index];
  }
  const E& operator[](size_t index) const {
    DCHECK_LT(index, size()) << "index past the end of " << kArrayTypeInfo<E>.name;
    return data()[index];
  }
  E& at(size_t index) {
    CHECK_LT(index, size()) << "index past the end of " << kArrayTypeInfo<E>.name;
    return data()[index];
  }
  const E& at(size_t index) const { return const_cast<Array*>(this)->at(index); }
  E* begin() { return data(); }
  E* end() { return data() + size(); }
  const E* begin() const { return data(); }
  const E* end() const { return data() + size(); }

 private:
  uintptr_t Elements() const {
    return kArrayTypeInfo<E>.ArrayElements(reinterpret_cast<uintptr_t>(this));
  }

  uint64_t length_;
};

// An array of references.
template <typename T>
using RefArray = Array<Field<T>>;

// Immutable bytes, usually text. 16 bytes of overhead.
class String {
 public:
  String(const String&) = delete;
  String& operator=(const String&) = delete;

  size_t size() const { return length_; }
  // Good until the next safepoint.
  std::string_view view() const { return {reinterpret_cast<const char*>(this + 1), length_}; }
  friend bool operator==(const String& a, std::string_view b) { return a.view() == b; }

 private:
  uint64_t length_;
};

namespace internal {

// The descriptor of String: an array of bytes under a name of its own.
inline constexpr TypeInfo kStringTypeInfo = [] {
  TypeInfo type = kArrayTypeInfo<char>;
  type.name = "ebb::String";
  return type;
}();

}  // namespace internal

}  // namespace ebb

#endif  // EBB_HEAP_ARRAY_H_
