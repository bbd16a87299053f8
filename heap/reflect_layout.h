// Which members a class has, where they lie, and so where its references are. For heap/reflect.h.
// Design: docs/design/types.md

#ifndef EBB_HEAP_REFLECT_LAYOUT_H_
#define EBB_HEAP_REFLECT_LAYOUT_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>

#include "heap/reflect_fields.h"
#include "heap/reflect_members.h"

namespace ebb::internal {

template <typename T>
inline constexpr bool kIsReference = false;
template <typename T>
inline constexpr bool kIsReference<Field<T>> = true;

// What C arrays and std::arrays, also nested, are arrays of, and how many of them; T and 1 for
// anything else. Without const and volatile.
template <typename T>
struct Elements {
  using Type = T;
  static constexpr size_t kCount = 1;
};
template <typename T>
  requires std::is_const_v<T> || std::is_volatile_v<T>
struct Elements<T> : Elements<std::remove_cv_t<T>> {};
template <typename T, size_t n>
struct Elements<T[n]> {
  using Type = typename Elements<T>::Type;
  static constexpr size_t kCount = n * Elements<T>::kCount;
};
template <typename T, size_t n>
struct Elements<std::array<T, n>> {
  using Type = typename Elements<T>::Type;
  static constexpr size_t kCount = n * Elements<T>::kCount;
};
template <typename T>
using ElementOf = typename Elements<T>::Type;

enum class Shape {
  kReference,  // a Field
  kNamed,      // members known by EBB_FIELDS
  kAggregate,  // members found by the compiler
  kOpaque,     // anything else: scalars, and classes whose members are unknown
};

// T is no array.
template <typename T>
consteval Shape ShapeOf() {
  if constexpr (kIsReference<T>) {
    return Shape::kReference;
  } else if constexpr (!std::is_class_v<T>) {
    return Shape::kOpaque;
  } else if constexpr (kHasFields<T>) {
    return Shape::kNamed;
  } else if constexpr (kTriviallyRelocatable<T> || !std::is_aggregate_v<T>) {
    return Shape::kOpaque;
  } else if constexpr (requires { std::tuple_size<T>::value; }) {
    return Shape::kOpaque;  // its bindings are not its members
  } else if constexpr (HasBase<T>() || CountMembers<T>() == kUnknownCount ||
                       HasNamelessUnion<T, CountMembers<T>()>()) {
    return Shape::kOpaque;
  } else {
    return Shape::kAggregate;
  }
}

template <size_t n>
struct MemberLayout {
  std::array<size_t, n> offsets;
  size_t size;
  size_t alignment;
};

// The layout that the x86-64 and AArch64 ABIs give a class with exactly these members: each at the
// next multiple of its alignment.
template <typename... M>
consteval MemberLayout<sizeof...(M)> ComputeLayout() {
  MemberLayout<sizeof...(M)> layout = {{}, 0, 1};
  size_t next = 0;
  size_t i = 0;
  auto align = [&next](size_t alignment) { next = (next + alignment - 1) / alignment * alignment; };
  [[maybe_unused]] auto place = [&](size_t size, size_t alignment) {
    align(alignment);
    layout.offsets[i++] = next;
    next += size;
    layout.alignment = std::max(layout.alignment, alignment);
  };
  (place(sizeof(M), alignof(M)), ...);
  align(layout.alignment);
  layout.size = std::max<size_t>(next, 1);
  return layout;
}

template <bool bit_fields, typename... M>
consteval TypeList<M...> TypesOf(Members<bit_fields, M...>) {
  return {};
}
template <bool bit_fields, typename... M>
consteval auto LayoutOf(Members<bit_fields, M...>) {
  return ComputeLayout<M...>();
}

// The members of a class T whose shape is kNamed or kAggregate: Types, a TypeList, and kOffsets.
template <typename T, Shape = ShapeOf<T>()>
struct MemberTable;
template <typename T>
struct MemberTable<T, Shape::kNamed> {
  static constexpr auto kNamed = FieldsAccess::Get<T>();
  using Types = typename decltype(kNamed)::Types;
  static constexpr auto kOffsets = kNamed.offsets;
};
template <typename T>
struct MemberTable<T, Shape::kAggregate> {
  using Types = decltype(TypesOf(MembersOf<T>()));
  static constexpr bool kHasBitFields = MembersOf<T>::kHasBitFields;
  static constexpr auto kLayout = LayoutOf(MembersOf<T>());
  static constexpr auto kOffsets = kLayout.offsets;
};

// What CountReferences looks for: references that are traced,
struct Traced {
  template <typename T>
  static constexpr bool kIncludes = kIsReference<T>;
};
// or those that count what they refer to.
struct Counting {
  template <typename T>
  static constexpr bool kIncludes = kIsCounting<T>;
};

// How many references a value of type M holds.
template <typename M, typename Kind = Traced>
consteval size_t CountReferences() {
  using T = ElementOf<M>;
  constexpr Shape shape = ShapeOf<T>();
  if constexpr (Kind::template kIncludes<T>) {
    return Elements<M>::kCount;
  } else if constexpr (shape == Shape::kNamed || shape == Shape::kAggregate) {
    return Elements<M>::kCount * []<typename... N>(TypeList<N...>) {
      return (size_t{0} + ... + CountReferences<N, Kind>());
    }(typename MemberTable<T>::Types());
  } else {
    return 0;
  }
}

template <size_t capacity, typename Kind>
struct OffsetList {
  std::array<uint32_t, capacity> offsets = {};
  size_t size = 0;

  template <typename M>
  consteval void AppendReferencesOf(size_t base) {
    if constexpr (CountReferences<M, Kind>() > 0) {
      using T = ElementOf<M>;
      for (size_t i = 0; i < Elements<M>::kCount; ++i)
        AppendReferencesOfElement<T>(base + i * sizeof(T));
    }
  }

 private:
  template <typename T>
  consteval void AppendReferencesOfElement(size_t base) {
    if constexpr (Kind::template kIncludes<T>) {
      offsets[size++] = static_cast<uint32_t>(base);
    } else {
      AppendReferencesOfMembers<T>(base, typename MemberTable<T>::Types());
    }
  }
  template <typename T, typename... M>
  consteval void AppendReferencesOfMembers(size_t base, TypeList<M...>) {
    size_t i = 0;
    (AppendReferencesOf<M>(base + MemberTable<T>::kOffsets[i++]), ...);
  }
};

template <typename T, typename Kind = Traced>
consteval std::array<uint32_t, CountReferences<T, Kind>()> FindReferences() {
  OffsetList<CountReferences<T, Kind>(), Kind> list;
  list.template AppendReferencesOf<T>(0);
  // EBB_FIELDS names members in any order.
  if (!std::is_sorted(list.offsets.begin(), list.offsets.end())) {
    std::sort(list.offsets.begin(), list.offsets.end());
  }
  return list.offsets;
}

// The byte offsets of the references of T, a managed type, ascending.
template <typename T>
inline constexpr auto kReferenceOffsets = FindReferences<T>();

}  // namespace ebb::internal

#endif  // EBB_HEAP_REFLECT_LAYOUT_H_
