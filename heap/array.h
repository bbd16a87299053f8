// Array<E>, RefArray<T> and String: managed objects of variable size, made by Mutator::NewArray,
// NewRefArray and NewString. Design: docs/design/types.md#arrays

#ifndef EBB_HEAP_ARRAY_H_
#define EBB_HEAP_ARRAY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

#include "absl/log/check.h"
#include "heap/field.h"
#include "heap/load_barrier.h"
#include "heap/store_barrier.h"
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

  // Of an array of references: copies `count` elements of `from`, from `from_index` on, to
  // `to_index` and the following. `from` may be this array: where the ranges overlap, all is read
  // before it is overwritten, as by memmove. What is past the end of either is always checked. Each
  // element is loaded and stored as a Field is, so other threads may use the arrays meanwhile and
  // see each element old or new; but what a store has to log is found for the range at once.
  // O(count), without a safepoint: copy long ranges in parts, where pauses matter.
  void CopyFrom(const Array& from, size_t from_index, size_t to_index, size_t count)
    requires internal::kIsReference<E>
  {
    from.CheckRange(from_index, count);
    CheckRange(to_index, count);
    if (count == 0) return;
    internal::Stamp::At(reinterpret_cast<uintptr_t>(this));
    internal::Stamp::At(reinterpret_cast<uintptr_t>(&from));
    const E* source = from.data() + from_index;
    E* target = data() + to_index;
    const auto copy = [source, target](size_t i) {
      // Release: as of Field::store.
      target[i].bits_.store(internal::LoadReference(source[i].bits_), std::memory_order_release);
    };
    if (std::less<const E*>()(source, target)) {
      for (size_t i = count; i > 0; --i) copy(i - 1);
    } else {
      for (size_t i = 0; i < count; ++i) copy(i);
    }
    internal::AfterStores(target[0].bits_, count);
  }

 private:
  void CheckRange(size_t index, size_t count) const {
    CHECK(index <= size() && count <= size() - index)
        << count << " elements from index " << index << " on are past the end of "
        << kArrayTypeInfo<E>.name << ", an array of " << size();
  }

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
