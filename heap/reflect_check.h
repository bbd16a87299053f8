// What can be wrong with a type that is to be managed. For heap/reflect.h, which has the messages.
// Design: docs/design/types.md#what-is-rejected

#ifndef EBB_HEAP_REFLECT_CHECK_H_
#define EBB_HEAP_REFLECT_CHECK_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "heap/reflect_fields.h"
#include "heap/reflect_layout.h"
#include "heap/reflect_members.h"

namespace ebb::internal {

enum class Mistake {
  kNone,
  kInMember,  // some member has a mistake
  kRawReference,
  kRawPointer,
  kHandle,
  kVariableSized,
  kOveraligned,
  kTooLarge,
  kTooManyReferences,
  kPolymorphic,
  kUnion,
  kNamelessUnion,
  kBase,
  kUnknownMembers,
  kNotRelocatable,
  kNoFields,
  kDestructor,
  kBitField,
  kOveralignedAggregate,
  kLayout,
  kUnnamedMember,
  kOverlap,
  kCounting,
};

inline constexpr size_t kMaxAlignment = 16;
// An object's size, header included, is a 32-bit number.
inline constexpr size_t kMaxPayloadBytes = UINT32_MAX - 15;
inline constexpr size_t kMaxReferences = 1024;

template <typename T>
inline constexpr bool kIsHandle = false;
template <typename T>
inline constexpr bool kIsHandle<Ref<T>> = true;
template <typename T>
inline constexpr bool kIsHandle<Local<T>> = true;
template <typename T>
inline constexpr bool kIsHandle<Persistent<T>> = true;
template <typename T>
inline constexpr bool kIsHandle<Weak<T>> = true;

template <typename T>
inline constexpr bool kIsVariableSized = std::is_same_v<T, String>;
template <typename E>
inline constexpr bool kIsVariableSized<Array<E>> = true;

// A T may be moved by memcpy, and forgotten, for all the compiler knows. False for whatever holds a
// Field: a Field is never copied or moved but into a new object.
template <typename T>
inline constexpr bool kIsTrivial =
    (std::is_trivially_move_constructible_v<T> || std::is_trivially_copy_constructible_v<T>) &&
    std::is_trivially_destructible_v<T>;

// T is known to be a class of managed objects (one without references cannot be told from others).
template <typename T>
consteval bool IsManagedClass() {
  if constexpr (kIsReference<T> || kIsVariableSized<T>) {
    return true;
  } else if constexpr (!std::is_class_v<T> || !requires { sizeof(T); }) {
    return false;
  } else if constexpr (kHasOrInheritsFields<T>) {
    return true;
  } else if constexpr (std::is_aggregate_v<T> && !std::is_copy_constructible_v<T>) {
    return CountReferences<T>() > 0;
  } else {
    return false;
  }
}

// What is wrong with a class whose members cannot be found, T.
template <typename T>
consteval Mistake FindOpaqueMistake() {
  if (kIsTrivial<T> || kTriviallyRelocatable<T>) return Mistake::kNone;
  if (std::is_union_v<T>) return Mistake::kUnion;
  if (kHasOrInheritsFields<T>) return Mistake::kBase;
  if constexpr (std::is_aggregate_v<T>) {
    if (HasBase<T>()) return Mistake::kBase;
    return HasNamelessUnion<T, CountMembers<T>()>() ? Mistake::kNamelessUnion
                                                    : Mistake::kUnknownMembers;
  }
  return std::is_trivially_destructible_v<T> ? Mistake::kNoFields : Mistake::kNotRelocatable;
}

// What is wrong with a member of Whole that is an X*.
template <typename Whole, typename X>
consteval Mistake FindPointerMistake() {
  const bool managed = std::is_same_v<X, Whole> || IsManagedClass<X>();
  return managed ? Mistake::kRawPointer : Mistake::kNone;
}

// What is wrong with a member of type M, made of Ts, which are classes, whatever their members are.
template <typename M, typename T>
consteval Mistake FindOwnClassMistake() {
  constexpr bool opaque = kTriviallyRelocatable<T> && !kHasFields<T>;
  if constexpr (std::is_polymorphic_v<T> && !opaque) {
    return Mistake::kPolymorphic;
  } else if constexpr (ShapeOf<T>() == Shape::kOpaque) {
    return FindOpaqueMistake<T>();
  } else if constexpr (CountReferences<M>() > kMaxReferences) {
    return Mistake::kTooManyReferences;
  } else {
    return Mistake::kNone;
  }
}

// What is wrong with a member of Whole of type M, whatever its own members are.
template <typename Whole, typename M>
consteval Mistake FindOwnMistake() {
  using T = ElementOf<M>;
  if constexpr (std::is_reference_v<M>) {
    return Mistake::kRawReference;
  } else if constexpr (kIsHandle<T>) {
    return Mistake::kHandle;
  } else if constexpr (kIsVariableSized<T>) {
    return Mistake::kVariableSized;
  } else if constexpr (alignof(M) > kMaxAlignment) {
    return Mistake::kOveraligned;
  } else if constexpr (sizeof(M) > kMaxPayloadBytes) {
    return Mistake::kTooLarge;
  } else if constexpr (kIsReference<T>) {
    static_assert(sizeof(T) == 8 && alignof(T) == 8 && !kIsTrivial<T>);
    return CountReferences<M>() > kMaxReferences ? Mistake::kTooManyReferences : Mistake::kNone;
  } else if constexpr (std::is_pointer_v<T>) {
    return FindPointerMistake<Whole, std::remove_cv_t<std::remove_pointer_t<T>>>();
  } else if constexpr (std::is_class_v<T> || std::is_union_v<T>) {
    return FindOwnClassMistake<M, T>();
  } else {
    return Mistake::kNone;
  }
}

// inv.fields-named: whether EBB_FIELDS leaves room for a member that could be a Field, that is an
// aligned word of T that no named member touches, or names bytes twice.
template <typename T, typename... M>
consteval Mistake FindNamingMistake(TypeList<M...>) {
  struct Range {
    size_t begin, end;
  };
  std::array<Range, sizeof...(M) + 1> ranges;
  size_t n = 0;
  auto add = [&](size_t begin, size_t size) { ranges[n++] = {begin, begin + size}; };
  // An empty member may share its byte with others.
  (add(MemberTable<T>::kOffsets[n], std::is_empty_v<M> ? 0 : sizeof(M)), ...);
  add(sizeof(T), 0);
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& a, const Range& b) { return a.begin < b.begin; });
  size_t end = 0;
  for (const Range& range : ranges) {
    if (range.begin < end && range.begin < range.end) return Mistake::kOverlap;
    const size_t gap_begin = (end + 7) / 8 * 8;
    // In a class aligned to 16, one word of padding may precede a member so aligned, or the end.
    const size_t padding = alignof(T) == 16 && range.begin % 16 == 0 ? 8 : 0;
    if (gap_begin + padding + 8 <= range.begin) return Mistake::kUnnamedMember;
    end = std::max(end, range.end);
  }
  return Mistake::kNone;
}

// inv.reflected-layout: whether ComputeLayout may differ from what the compiler did, so that a
// Field would not be where it is thought to be.
template <typename T>
consteval Mistake FindLayoutMistake() {
  using Table = MemberTable<T>;
  if (Table::kHasBitFields) return Mistake::kBitField;
  if (alignof(T) > 8) return Mistake::kOveralignedAggregate;
  if (Table::kLayout.size != sizeof(T) || Table::kLayout.alignment != alignof(T)) {
    return Mistake::kLayout;
  }
  return Mistake::kNone;
}

// What is wrong with a class T, Whole or a member of it, none of whose members has a mistake.
template <typename Whole, typename T, typename... M>
consteval Mistake FindClassMistake(TypeList<M...> members) {
  const bool destructor =
      !std::is_trivially_destructible_v<T> && (std::is_trivially_destructible_v<M> && ...);
  if (destructor && !kTriviallyRelocatable<T> && kCountedType<Whole> == nullptr) {
    return Mistake::kDestructor;
  }
  if (kIsTrivial<T>) return Mistake::kNone;  // no references
  if constexpr (ShapeOf<T>() == Shape::kNamed) {
    return FindNamingMistake<T>(members);
  } else if constexpr (CountReferences<T>() > 0) {
    return FindLayoutMistake<T>();
  } else {
    return Mistake::kNone;
  }
}

// What is wrong with a member of Whole of type M.
template <typename Whole, typename M>
consteval Mistake FindMistake() {
  constexpr Mistake own = FindOwnMistake<Whole, M>();
  if constexpr (own != Mistake::kNone) {
    return own;
  } else {
    using T = ElementOf<M>;
    constexpr Shape shape = ShapeOf<T>();
    if constexpr (shape == Shape::kNamed || shape == Shape::kAggregate) {
      return []<typename... N>(TypeList<N...> members) {
        if constexpr (((FindMistake<T, N>() != Mistake::kNone) || ...)) {
          return Mistake::kInMember;
        } else {
          return FindClassMistake<Whole, T>(members);
        }
      }(typename MemberTable<T>::Types());
    } else {
      return Mistake::kNone;
    }
  }
}

// What is wrong with T as a managed type.
template <typename T>
consteval Mistake FindMistakeOfWhole() {
  constexpr Mistake mistake = FindMistake<T, T>();
  if constexpr (mistake != Mistake::kNone) {
    return mistake;
  } else {
    return kCountedType<T> == nullptr && CountReferences<T, Counting>() > 0
               ? Mistake::kCounting
               : Mistake::kNone;
  }
}

}  // namespace ebb::internal

#endif  // EBB_HEAP_REFLECT_CHECK_H_
