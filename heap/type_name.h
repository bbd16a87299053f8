// The names of types, for messages: TypeName<T>(). Spelled as the compiler spells them.
// Used by heap/type_info.h.

#ifndef EBB_HEAP_TYPE_NAME_H_
#define EBB_HEAP_TYPE_NAME_H_

#include <array>
#include <cstddef>
#include <string_view>

namespace ebb::internal {

template <typename T>
consteval std::string_view PrettyFunction() {
  return __PRETTY_FUNCTION__;
}

template <typename T>
consteval std::string_view TypeName() {
  // What surrounds the type is the same for every T, so one known type shows where it begins.
  constexpr std::string_view probe = PrettyFunction<double>();
  constexpr size_t before = probe.find("double");
  constexpr size_t after = probe.size() - before - std::string_view("double").size();
  constexpr std::string_view whole = PrettyFunction<T>();
  return whole.substr(before, whole.size() - before - after);
}

// What a user calls a T: another type, if T only wraps that.
template <typename T>
struct KnownAs {
  using type = T;
};

// "T[]", in static storage.
template <typename T>
inline constexpr auto kArrayTypeName = [] {
  constexpr std::string_view element = TypeName<T>();
  std::array<char, element.size() + 2> name = {};
  for (size_t i = 0; i < element.size(); ++i) name[i] = element[i];
  name[element.size()] = '[';
  name[element.size() + 1] = ']';
  return name;
}();

template <typename T>
consteval std::string_view ArrayTypeName() {
  return {kArrayTypeName<T>.data(), kArrayTypeName<T>.size()};
}

}  // namespace ebb::internal

#endif  // EBB_HEAP_TYPE_NAME_H_
