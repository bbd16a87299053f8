// What counting knows of a type: how to destroy an object, and where its rc::Fields are.
// Design: docs/design/counting.md#objects

#ifndef EBB_HEAP_RC_COUNTED_TYPE_H_
#define EBB_HEAP_RC_COUNTED_TYPE_H_

#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

#include "heap/type_info.h"

namespace ebb::rc::internal {

// Immutable, alive as long as the process.
struct CountedType {
  // Runs the destructor of the object at `payload`; null if that does nothing.
  void (*destroy)(uintptr_t payload);
  // Where in the payload its rc::Fields are, in bytes.
  const uint32_t* field_offsets;
  uint32_t field_count;
};

// Whether a T is an rc::Field.
template <typename T>
inline constexpr bool kIsField = false;
// For ebb::internal::FindReferences.
struct InnerReferences {
  template <typename T>
  static constexpr bool kIncludes = kIsField<T>;
};
template <typename T>
inline constexpr auto kFieldOffsets = ebb::internal::FindReferences<T, InnerReferences>();

// A T that is reclaimed by its count: the object is nothing else, so a T* leads to it.
template <typename T>
class Counted {
 public:
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored \
    "-Wmissing-field-initializers"  // fewer arguments than members: as T{}
  template <typename... Args>
  explicit Counted(Args&&... args) : value{std::forward<Args>(args)...} {}
#pragma GCC diagnostic pop
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

  T value;

  EBB_FIELDS(Counted, value)
};

template <typename T>
void DestroyCounted(uintptr_t payload) {
  std::destroy_at(reinterpret_cast<T*>(payload));
}

template <typename T>
inline constexpr CountedType kDescriptor = {
    .destroy = std::is_trivially_destructible_v<T> ? nullptr : &DestroyCounted<T>,
    .field_offsets = kFieldOffsets<T>.data(),
    .field_count = static_cast<uint32_t>(kFieldOffsets<T>.size())};

}  // namespace ebb::rc::internal

template <typename T>
inline constexpr const ebb::rc::internal::CountedType*
    ebb::internal::kCountedType<ebb::rc::internal::Counted<T>> = &ebb::rc::internal::kDescriptor<T>;

#endif  // EBB_HEAP_RC_COUNTED_TYPE_H_
