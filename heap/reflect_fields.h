// How a class tells Ebb about itself: EBB_FIELDS, kTriviallyRelocatable. Users include heap/ebb.h.
// Design: docs/design/types.md#ebb_fields

#ifndef EBB_HEAP_REFLECT_FIELDS_H_
#define EBB_HEAP_REFLECT_FIELDS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <type_traits>

// Inside a class, last: EBB_FIELDS(Type, member...) names all its data members, private and
// inherited ones included, so that the collector finds the Fields among them. For classes that are
// not aggregates, have bases, or whose layout Ebb cannot compute. A class that holds no reference
// and is trivially copyable may leave members out, and EBB_FIELDS(Type) alone is enough.
//
// A member left out that could be a Field is rejected at compile time. A bit-field cannot be named:
// put it into a struct of its own, without references, and name a member of that type.
#define EBB_FIELDS(Type, ...)                                                        \
  friend struct ::ebb::internal::FieldsAccess;                                       \
  _Pragma("GCC diagnostic push")                                                     \
      _Pragma("GCC diagnostic ignored \"-Winvalid-offsetof\"") static consteval auto \
      EbbFields() {                                                                  \
    return ::ebb::internal::NameMembers<Type>(                                       \
        __VA_OPT__(EBB_INTERNAL_RESCAN(EBB_INTERNAL_FIELDS(Type, __VA_ARGS__))));    \
  }                                                                                  \
  _Pragma("GCC diagnostic pop")

#define EBB_INTERNAL_FIELD(Type, member) \
  ::ebb::internal::NamedMember<decltype(Type::member)> { offsetof(Type, member) }
#define EBB_INTERNAL_FIELDS(Type, member, ...) \
  EBB_INTERNAL_FIELD(Type, member)             \
  __VA_OPT__(, EBB_INTERNAL_FIELDS_AGAIN EBB_INTERNAL_PARENS(Type, __VA_ARGS__))
#define EBB_INTERNAL_FIELDS_AGAIN() EBB_INTERNAL_FIELDS
#define EBB_INTERNAL_PARENS ()
// Each scan expands one more member: up to 256.
#define EBB_INTERNAL_RESCAN(...) \
  EBB_INTERNAL_RESCAN_3(EBB_INTERNAL_RESCAN_3(EBB_INTERNAL_RESCAN_3(__VA_ARGS__)))
#define EBB_INTERNAL_RESCAN_3(...) \
  EBB_INTERNAL_RESCAN_2(EBB_INTERNAL_RESCAN_2(EBB_INTERNAL_RESCAN_2(__VA_ARGS__)))
#define EBB_INTERNAL_RESCAN_2(...) \
  EBB_INTERNAL_RESCAN_1(EBB_INTERNAL_RESCAN_1(EBB_INTERNAL_RESCAN_1(__VA_ARGS__)))
#define EBB_INTERNAL_RESCAN_1(...) \
  EBB_INTERNAL_RESCAN_0(EBB_INTERNAL_RESCAN_0(EBB_INTERNAL_RESCAN_0(__VA_ARGS__)))
#define EBB_INTERNAL_RESCAN_0(...) __VA_ARGS__

namespace ebb {

template <typename T>
class Field;
template <typename T>
class Ref;
template <typename T>
class Local;
template <typename T>
class Persistent;
template <typename T>
class Weak;
template <typename E>
class Array;
class String;

// To let values of a class of yours be members of managed types although its constructors or its
// destructor say otherwise:
//   template <> inline constexpr bool ebb::kTriviallyRelocatable<X> = true;
// It promises that an X may be moved by memcpy and then forgotten, and that nothing is lost if its
// destructor never runs. X is not looked into, unless it has EBB_FIELDS: references in it are not
// traced.
template <typename T>
inline constexpr bool kTriviallyRelocatable = false;
template <typename T>
inline constexpr bool kTriviallyRelocatable<std::atomic<T>> = std::is_trivially_copyable_v<T>;

namespace rc::internal {
struct CountedType;
}  // namespace rc::internal

namespace internal {

// For heap/rc. Whether a T counts the object that it refers to.
template <typename T>
inline constexpr bool kIsCounting = false;
// How objects of type T are destroyed when nothing refers to them any more; null for a traced type,
// whose objects are not.
template <typename T>
inline constexpr const rc::internal::CountedType* kCountedType = nullptr;

template <typename M>
struct NamedMember {
  using Type = M;
  size_t offset;
};

template <typename... T>
struct TypeList {};

// What EBB_FIELDS of Self says.
template <typename Self, typename... M>
struct NamedMembers {
  using Owner = Self;
  using Types = TypeList<M...>;
  std::array<size_t, sizeof...(M)> offsets;
};

template <typename Self, typename... M>
consteval NamedMembers<Self, M...> NameMembers(NamedMember<M>... members) {
  return {{members.offset...}};
}

// The friend that may call EbbFields.
struct FieldsAccess {
  template <typename T>
  static constexpr bool kHas = requires { T::EbbFields(); };
  template <typename T>
  static consteval auto Get() {
    return T::EbbFields();
  }
};

// T has EBB_FIELDS, or a base of it has.
template <typename T>
inline constexpr bool kHasOrInheritsFields = false;
template <typename T>
  requires std::is_class_v<T>
inline constexpr bool kHasOrInheritsFields<T> = FieldsAccess::kHas<T>;

template <typename T>
inline constexpr bool kHasFields = false;
template <typename T>
  requires kHasOrInheritsFields<T>
inline constexpr bool kHasFields<T> =
    std::is_same_v<typename decltype(FieldsAccess::Get<T>())::Owner, T>;

}  // namespace internal
}  // namespace ebb

#endif  // EBB_HEAP_REFLECT_FIELDS_H_
