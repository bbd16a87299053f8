// The data members of an aggregate as the compiler finds them: how many, of which types, and
// whether some are bit-fields. For heap/reflect_layout.h only.
// Design: docs/design/types.md#aggregates

#ifndef EBB_HEAP_REFLECT_MEMBERS_H_
#define EBB_HEAP_REFLECT_MEMBERS_H_

#include <cstddef>
#include <initializer_list>
#include <string_view>
#include <type_traits>
#include <utility>

#include "heap/type_name.h"

namespace ebb::internal {

// An aggregate with more members needs EBB_FIELDS.
inline constexpr int kMaxMembers = 64;

template <bool has_bit_fields, typename... T>
struct Members {
  static constexpr bool kHasBitFields = has_bit_fields;
};

// Converts to whatever a member needs: a value of a class that cannot be copied, a reference to
// anything else.
struct AnyInitializer {
  template <typename U>
    requires(std::is_copy_constructible_v<U>)
  operator U&() const;  // NOLINT: never defined, named only where nothing is evaluated
  template <typename U>
    requires(!std::is_copy_constructible_v<U>)
  operator U() const;  // NOLINT
};

// kTakesBraces<T, n>: T{{}, {}, ...} with n empty braces compiles. Each initialises one member, a C
// array included, which without braces would take as many initialisers as it has elements.
template <typename T, int n>
inline constexpr bool kTakesBraces = false;
template <typename T>
inline constexpr bool kTakesBraces<T, 0> = requires { T{}; };

// The same with one more initialiser, an X, or one in braces of its own.
template <typename T, int n, typename X>
inline constexpr bool kTakesBracesThen = false;
template <typename T, typename X>
inline constexpr bool kTakesBracesThen<T, 0, X> = requires { T{X()}; };
template <typename T, int n, typename X>
inline constexpr bool kTakesBracesThenBraced = false;
template <typename T, typename X>
inline constexpr bool kTakesBracesThenBraced<T, 0, X> = requires { T{{X()}}; };

// BindMembers(aggregate, n) is never called; its return type holds the answer. The compiler rejects
// it unless the aggregate has exactly n members, so a wrong count cannot go unnoticed.
template <typename T>
Members<false> BindMembers(T&, std::integral_constant<int, 0>);

consteval bool AnyOf(std::initializer_list<bool> values) {
  for (bool value : values) {
    if (value) return true;
  }
  return false;
}

// clang-format off
// Lists of n names, with X applied to each.
#define EBB_INTERNAL_1(X, p) X(p##0)
#define EBB_INTERNAL_2(X, p) EBB_INTERNAL_1(X, p), X(p##1)
#define EBB_INTERNAL_3(X, p) EBB_INTERNAL_2(X, p), X(p##2)
#define EBB_INTERNAL_4(X, p) EBB_INTERNAL_3(X, p), X(p##3)
#define EBB_INTERNAL_5(X, p) EBB_INTERNAL_4(X, p), X(p##4)
#define EBB_INTERNAL_6(X, p) EBB_INTERNAL_5(X, p), X(p##5)
#define EBB_INTERNAL_7(X, p) EBB_INTERNAL_6(X, p), X(p##6)
#define EBB_INTERNAL_8(X, p) EBB_INTERNAL_7(X, p), X(p##7)
#define EBB_INTERNAL_LIST_1(X) EBB_INTERNAL_1(X, a)
#define EBB_INTERNAL_LIST_2(X) EBB_INTERNAL_2(X, a)
#define EBB_INTERNAL_LIST_3(X) EBB_INTERNAL_3(X, a)
#define EBB_INTERNAL_LIST_4(X) EBB_INTERNAL_4(X, a)
#define EBB_INTERNAL_LIST_5(X) EBB_INTERNAL_5(X, a)
#define EBB_INTERNAL_LIST_6(X) EBB_INTERNAL_6(X, a)
#define EBB_INTERNAL_LIST_7(X) EBB_INTERNAL_7(X, a)
#define EBB_INTERNAL_LIST_8(X) EBB_INTERNAL_8(X, a)
#define EBB_INTERNAL_LIST_9(X) EBB_INTERNAL_LIST_8(X), EBB_INTERNAL_1(X, b)
#define EBB_INTERNAL_LIST_10(X) EBB_INTERNAL_LIST_8(X), EBB_INTERNAL_2(X, b)
#define EBB_INTERNAL_LIST_11(X) EBB_INTERNAL_LIST_8(X), EBB_INTERNAL_3(X, b)
#define EBB_INTERNAL_LIST_12(X) EBB_INTERNAL_LIST_8(X), EBB_INTERNAL_4(X, b)
#define EBB_INTERNAL_LIST_13(X) EBB_INTERNAL_LIST_8(X), EBB_INTERNAL_5(X, b)
#define EBB_INTERNAL_LIST_14(X) EBB_INTERNAL_LIST_8(X), EBB_INTERNAL_6(X, b)
#define EBB_INTERNAL_LIST_15(X) EBB_INTERNAL_LIST_8(X), EBB_INTERNAL_7(X, b)
#define EBB_INTERNAL_LIST_16(X) EBB_INTERNAL_LIST_8(X), EBB_INTERNAL_8(X, b)
#define EBB_INTERNAL_LIST_17(X) EBB_INTERNAL_LIST_16(X), EBB_INTERNAL_1(X, c)
#define EBB_INTERNAL_LIST_18(X) EBB_INTERNAL_LIST_16(X), EBB_INTERNAL_2(X, c)
#define EBB_INTERNAL_LIST_19(X) EBB_INTERNAL_LIST_16(X), EBB_INTERNAL_3(X, c)
#define EBB_INTERNAL_LIST_20(X) EBB_INTERNAL_LIST_16(X), EBB_INTERNAL_4(X, c)
#define EBB_INTERNAL_LIST_21(X) EBB_INTERNAL_LIST_16(X), EBB_INTERNAL_5(X, c)
#define EBB_INTERNAL_LIST_22(X) EBB_INTERNAL_LIST_16(X), EBB_INTERNAL_6(X, c)
#define EBB_INTERNAL_LIST_23(X) EBB_INTERNAL_LIST_16(X), EBB_INTERNAL_7(X, c)
#define EBB_INTERNAL_LIST_24(X) EBB_INTERNAL_LIST_16(X), EBB_INTERNAL_8(X, c)
#define EBB_INTERNAL_LIST_25(X) EBB_INTERNAL_LIST_24(X), EBB_INTERNAL_1(X, d)
#define EBB_INTERNAL_LIST_26(X) EBB_INTERNAL_LIST_24(X), EBB_INTERNAL_2(X, d)
#define EBB_INTERNAL_LIST_27(X) EBB_INTERNAL_LIST_24(X), EBB_INTERNAL_3(X, d)
#define EBB_INTERNAL_LIST_28(X) EBB_INTERNAL_LIST_24(X), EBB_INTERNAL_4(X, d)
#define EBB_INTERNAL_LIST_29(X) EBB_INTERNAL_LIST_24(X), EBB_INTERNAL_5(X, d)
#define EBB_INTERNAL_LIST_30(X) EBB_INTERNAL_LIST_24(X), EBB_INTERNAL_6(X, d)
#define EBB_INTERNAL_LIST_31(X) EBB_INTERNAL_LIST_24(X), EBB_INTERNAL_7(X, d)
#define EBB_INTERNAL_LIST_32(X) EBB_INTERNAL_LIST_24(X), EBB_INTERNAL_8(X, d)
#define EBB_INTERNAL_LIST_33(X) EBB_INTERNAL_LIST_32(X), EBB_INTERNAL_1(X, e)
#define EBB_INTERNAL_LIST_34(X) EBB_INTERNAL_LIST_32(X), EBB_INTERNAL_2(X, e)
#define EBB_INTERNAL_LIST_35(X) EBB_INTERNAL_LIST_32(X), EBB_INTERNAL_3(X, e)
#define EBB_INTERNAL_LIST_36(X) EBB_INTERNAL_LIST_32(X), EBB_INTERNAL_4(X, e)
#define EBB_INTERNAL_LIST_37(X) EBB_INTERNAL_LIST_32(X), EBB_INTERNAL_5(X, e)
#define EBB_INTERNAL_LIST_38(X) EBB_INTERNAL_LIST_32(X), EBB_INTERNAL_6(X, e)
#define EBB_INTERNAL_LIST_39(X) EBB_INTERNAL_LIST_32(X), EBB_INTERNAL_7(X, e)
#define EBB_INTERNAL_LIST_40(X) EBB_INTERNAL_LIST_32(X), EBB_INTERNAL_8(X, e)
#define EBB_INTERNAL_LIST_41(X) EBB_INTERNAL_LIST_40(X), EBB_INTERNAL_1(X, f)
#define EBB_INTERNAL_LIST_42(X) EBB_INTERNAL_LIST_40(X), EBB_INTERNAL_2(X, f)
#define EBB_INTERNAL_LIST_43(X) EBB_INTERNAL_LIST_40(X), EBB_INTERNAL_3(X, f)
#define EBB_INTERNAL_LIST_44(X) EBB_INTERNAL_LIST_40(X), EBB_INTERNAL_4(X, f)
#define EBB_INTERNAL_LIST_45(X) EBB_INTERNAL_LIST_40(X), EBB_INTERNAL_5(X, f)
#define EBB_INTERNAL_LIST_46(X) EBB_INTERNAL_LIST_40(X), EBB_INTERNAL_6(X, f)
#define EBB_INTERNAL_LIST_47(X) EBB_INTERNAL_LIST_40(X), EBB_INTERNAL_7(X, f)
#define EBB_INTERNAL_LIST_48(X) EBB_INTERNAL_LIST_40(X), EBB_INTERNAL_8(X, f)
#define EBB_INTERNAL_LIST_49(X) EBB_INTERNAL_LIST_48(X), EBB_INTERNAL_1(X, g)
#define EBB_INTERNAL_LIST_50(X) EBB_INTERNAL_LIST_48(X), EBB_INTERNAL_2(X, g)
#define EBB_INTERNAL_LIST_51(X) EBB_INTERNAL_LIST_48(X), EBB_INTERNAL_3(X, g)
#define EBB_INTERNAL_LIST_52(X) EBB_INTERNAL_LIST_48(X), EBB_INTERNAL_4(X, g)
#define EBB_INTERNAL_LIST_53(X) EBB_INTERNAL_LIST_48(X), EBB_INTERNAL_5(X, g)
#define EBB_INTERNAL_LIST_54(X) EBB_INTERNAL_LIST_48(X), EBB_INTERNAL_6(X, g)
#define EBB_INTERNAL_LIST_55(X) EBB_INTERNAL_LIST_48(X), EBB_INTERNAL_7(X, g)
#define EBB_INTERNAL_LIST_56(X) EBB_INTERNAL_LIST_48(X), EBB_INTERNAL_8(X, g)
#define EBB_INTERNAL_LIST_57(X) EBB_INTERNAL_LIST_56(X), EBB_INTERNAL_1(X, h)
#define EBB_INTERNAL_LIST_58(X) EBB_INTERNAL_LIST_56(X), EBB_INTERNAL_2(X, h)
#define EBB_INTERNAL_LIST_59(X) EBB_INTERNAL_LIST_56(X), EBB_INTERNAL_3(X, h)
#define EBB_INTERNAL_LIST_60(X) EBB_INTERNAL_LIST_56(X), EBB_INTERNAL_4(X, h)
#define EBB_INTERNAL_LIST_61(X) EBB_INTERNAL_LIST_56(X), EBB_INTERNAL_5(X, h)
#define EBB_INTERNAL_LIST_62(X) EBB_INTERNAL_LIST_56(X), EBB_INTERNAL_6(X, h)
#define EBB_INTERNAL_LIST_63(X) EBB_INTERNAL_LIST_56(X), EBB_INTERNAL_7(X, h)
#define EBB_INTERNAL_LIST_64(X) EBB_INTERNAL_LIST_56(X), EBB_INTERNAL_8(X, h)
#define EBB_INTERNAL_LIST_65(X) EBB_INTERNAL_LIST_64(X), EBB_INTERNAL_1(X, i)

#define EBB_INTERNAL_BRACES(name) {}
#define EBB_INTERNAL_NAME(name) name
#define EBB_INTERNAL_TYPE(name) decltype(name)
// A bit-field has no address.
#define EBB_INTERNAL_IS_BIT_FIELD(name) !requires { __builtin_addressof(name); }

#define EBB_INTERNAL_TAKES_BRACES(n)                                            \
  template <typename T>                                                         \
  inline constexpr bool kTakesBraces<T, n> =                                    \
      requires { T{EBB_INTERNAL_LIST_##n(EBB_INTERNAL_BRACES)}; };              \
  template <typename T, typename X>                                             \
  inline constexpr bool kTakesBracesThen<T, n, X> =                             \
      requires { T{EBB_INTERNAL_LIST_##n(EBB_INTERNAL_BRACES), X()}; };         \
  template <typename T, typename X>                                             \
  inline constexpr bool kTakesBracesThenBraced<T, n, X> =                       \
      requires { T{EBB_INTERNAL_LIST_##n(EBB_INTERNAL_BRACES), {X()}}; };

#define EBB_INTERNAL_BIND(n)                                                       \
  EBB_INTERNAL_TAKES_BRACES(n)                                                     \
  template <typename T>                                                            \
  auto BindMembers(T& aggregate, std::integral_constant<int, n>) {                 \
    [[maybe_unused]] auto& [EBB_INTERNAL_LIST_##n(EBB_INTERNAL_NAME)] = aggregate; \
    return Members<AnyOf({EBB_INTERNAL_LIST_##n(EBB_INTERNAL_IS_BIT_FIELD)}),      \
                   EBB_INTERNAL_LIST_##n(EBB_INTERNAL_TYPE)>();                    \
  }

EBB_INTERNAL_BIND(1) EBB_INTERNAL_BIND(2) EBB_INTERNAL_BIND(3) EBB_INTERNAL_BIND(4)
EBB_INTERNAL_BIND(5) EBB_INTERNAL_BIND(6) EBB_INTERNAL_BIND(7) EBB_INTERNAL_BIND(8)
EBB_INTERNAL_BIND(9) EBB_INTERNAL_BIND(10) EBB_INTERNAL_BIND(11) EBB_INTERNAL_BIND(12)
EBB_INTERNAL_BIND(13) EBB_INTERNAL_BIND(14) EBB_INTERNAL_BIND(15) EBB_INTERNAL_BIND(16)
EBB_INTERNAL_BIND(17) EBB_INTERNAL_BIND(18) EBB_INTERNAL_BIND(19) EBB_INTERNAL_BIND(20)
EBB_INTERNAL_BIND(21) EBB_INTERNAL_BIND(22) EBB_INTERNAL_BIND(23) EBB_INTERNAL_BIND(24)
EBB_INTERNAL_BIND(25) EBB_INTERNAL_BIND(26) EBB_INTERNAL_BIND(27) EBB_INTERNAL_BIND(28)
EBB_INTERNAL_BIND(29) EBB_INTERNAL_BIND(30) EBB_INTERNAL_BIND(31) EBB_INTERNAL_BIND(32)
EBB_INTERNAL_BIND(33) EBB_INTERNAL_BIND(34) EBB_INTERNAL_BIND(35) EBB_INTERNAL_BIND(36)
EBB_INTERNAL_BIND(37) EBB_INTERNAL_BIND(38) EBB_INTERNAL_BIND(39) EBB_INTERNAL_BIND(40)
EBB_INTERNAL_BIND(41) EBB_INTERNAL_BIND(42) EBB_INTERNAL_BIND(43) EBB_INTERNAL_BIND(44)
EBB_INTERNAL_BIND(45) EBB_INTERNAL_BIND(46) EBB_INTERNAL_BIND(47) EBB_INTERNAL_BIND(48)
EBB_INTERNAL_BIND(49) EBB_INTERNAL_BIND(50) EBB_INTERNAL_BIND(51) EBB_INTERNAL_BIND(52)
EBB_INTERNAL_BIND(53) EBB_INTERNAL_BIND(54) EBB_INTERNAL_BIND(55) EBB_INTERNAL_BIND(56)
EBB_INTERNAL_BIND(57) EBB_INTERNAL_BIND(58) EBB_INTERNAL_BIND(59) EBB_INTERNAL_BIND(60)
EBB_INTERNAL_BIND(61) EBB_INTERNAL_BIND(62) EBB_INTERNAL_BIND(63) EBB_INTERNAL_BIND(64)
EBB_INTERNAL_TAKES_BRACES(65)
// clang-format on

#undef EBB_INTERNAL_BIND
#undef EBB_INTERNAL_TAKES_BRACES
#undef EBB_INTERNAL_IS_BIT_FIELD
#undef EBB_INTERNAL_TYPE
#undef EBB_INTERNAL_NAME
#undef EBB_INTERNAL_BRACES

    // Converts to a base class of T only.
    template <typename T>
    struct AnyBase {
  template <typename U>
    requires(std::is_base_of_v<U, T> && !std::is_same_v<U, T>)
  operator U() const;  // NOLINT: see AnyInitializer
};

// Converts to a union whose type has no name.
struct AnyNamelessUnion {
  template <typename U>
  static consteval bool Fits() {
    constexpr std::string_view name = TypeName<U>();
    return name.find("(anonymous union") != name.npos || name.find("(unnamed union") != name.npos ||
           name.find("<unnamed union>") != name.npos;
  }
  template <typename U>
    requires(std::is_union_v<U> && Fits<U>())
  operator U() const;  // NOLINT: see AnyInitializer
};

template <size_t>
using AnyAt = AnyInitializer;

// T{first..., any, any, ...} compiles, with n times any.
template <typename T, typename... First, size_t... kAny>
consteval bool TakesAny(std::index_sequence<kAny...>) {
  return requires { T{First()..., AnyAt<kAny>()...}; };
}
template <typename T, int n, typename... First>
inline constexpr bool kTakesAny = TakesAny<T, First...>(std::make_index_sequence<n>());

// T has a base class: bases come first among the initialisers.
template <typename T, int n = 0>
consteval bool HasBase() {
  if constexpr (kTakesAny<T, n, AnyBase<T>>) {
    return true;
  } else if constexpr (n < kMaxMembers && !kTakesBraces<T, 0>) {
    return HasBase<T, n + 1>();
  } else {
    return false;
  }
}

// Initialiser number `before` of T's n is the first of a C array's: in braces of its own, two of
// them leave room for fewer others than one plain one does.
template <typename T, size_t... kBefore, size_t... kAfter>
consteval bool TakesPair(std::index_sequence<kBefore...>, std::index_sequence<kAfter...>) {
  return requires {
    T{AnyAt<kBefore>()..., {AnyInitializer(), AnyInitializer()}, AnyAt<kAfter>()...};
  };
}
template <typename T, int before, size_t... kFewer>
consteval bool TakesPairAndFewer(std::index_sequence<kFewer...>) {
  return AnyOf(
      {TakesPair<T>(std::make_index_sequence<before>(), std::make_index_sequence<kFewer>())...});
}
template <typename T, int n, int before>
inline constexpr bool kIsArrayAt =
    !TakesPair<T>(std::make_index_sequence<before>(), std::make_index_sequence<n - before - 1>()) &&
    TakesPairAndFewer<T, before>(std::make_index_sequence<n - before - 1>());
template <typename T, size_t... kAt>
consteval bool HasArray(std::index_sequence<kAt...> all) {
  return AnyOf({kIsArrayAt<T, all.size(), kAt>...});
}

inline constexpr int kUnknownCount = -1;

// How many empty braces T takes.
template <typename T, int n = 0>
consteval int CountBraces() {
  if constexpr (n <= kMaxMembers && kTakesBraces<T, n + 1>) {
    return CountBraces<T, n + 1>();
  } else {
    return n;
  }
}

// How many initialisers T takes, for a T with a member that has no default constructor, so that no
// empty braces fit. A C array would be counted by its elements: none may be there.
template <typename T, int n = kMaxMembers + 1>
consteval int CountInitializers() {
  if constexpr (n == 0 || kTakesAny<T, n>) {
    return n == 0 || n > kMaxMembers || HasArray<T>(std::make_index_sequence<n>()) ? kUnknownCount
                                                                                   : n;
  } else {
    return CountInitializers<T, n - 1>();
  }
}

// The number of members of T, an aggregate without bases, or kUnknownCount.
template <typename T>
consteval int CountMembers() {
  constexpr int n = CountBraces<T>();
  if constexpr (n > kMaxMembers) {
    return kUnknownCount;
  } else if constexpr (std::is_empty_v<T>) {
    return 0;
  } else if constexpr (n == 0 || kTakesBracesThen<T, n, AnyInitializer>) {
    return CountInitializers<T>();
  } else {
    return n;
  }
}

// A union whose type has no name is among the first n members of T, each of which takes braces. The
// compiler would not bind the members of T if the union had no name either. (Where a member is an
// aggregate that begins with such a union, braces around the initialiser do not change a thing.)
template <typename T, int n>
consteval bool HasNamelessUnion() {
  if constexpr (n <= 0) {
    return false;
  } else {
    return (kTakesBracesThen<T, n - 1, AnyNamelessUnion> &&
            !kTakesBracesThenBraced<T, n - 1, AnyNamelessUnion>) ||
           HasNamelessUnion<T, n - 1>();
  }
}

// Members<...> of T, whose count is known.
template <typename T>
using MembersOf =
    decltype(BindMembers(std::declval<T&>(), std::integral_constant<int, CountMembers<T>()>()));

}  // namespace ebb::internal

#endif  // EBB_HEAP_REFLECT_MEMBERS_H_
