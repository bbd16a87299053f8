// What a managed type is, and where its references are: EBB_FIELDS, kTriviallyRelocatable, Managed,
// CheckManaged. Users include heap/ebb.h.
// Design: docs/design/types.md

#ifndef EBB_HEAP_REFLECT_H_
#define EBB_HEAP_REFLECT_H_

#include <cstddef>
#include <type_traits>
#include <utility>

#include "heap/reflect_check.h"
#include "heap/reflect_fields.h"
#include "heap/reflect_layout.h"

namespace ebb {
namespace internal {

inline constexpr int kItself = -1;

template <typename Whole>
consteval void CheckMembers();

// Stops the compiler at the first mistake of each part of Whole: Part is the type of its member
// number `member`, counted from 0, or of Whole itself. The compiler names all three.
template <typename Whole, int member, typename Part>
consteval void CheckPart() {
  using enum Mistake;
  constexpr Mistake mistake = FindMistake<Whole, Part>();
  static_assert(mistake != kRawReference,
                "Ebb: a managed type has a reference member (T&). Objects move: hold a managed "
                "object by ebb::Field<T>, anything else by a pointer.");
  static_assert(mistake != kRawPointer,
                "Ebb: a managed type has a raw pointer to a managed object. Objects move, and the "
                "collector does not see raw pointers: use ebb::Field<T>, or ebb::rc::Field<T> to a "
                "counted one.");
  static_assert(
      mistake != kHandle,
      "Ebb: a managed type has a Ref, Local, Persistent or Weak member. Those are for the "
      "stack and for ordinary C++ objects: inside a managed object use ebb::Field<T>, "
      "or ebb::rc::Field<T> to a counted one.");
  static_assert(
      mistake != kVariableSized,
      "Ebb: a String or an array cannot be a member or a type for New, as its size varies. "
      "Hold it by ebb::Field, and allocate it with NewArray or NewString.");
  static_assert(mistake != kOveraligned,
                "Ebb: a managed type is aligned to more than 16 bytes. Lower its alignas, or keep "
                "the over-aligned part outside the heap.");
  static_assert(mistake != kTooLarge,
                "Ebb: a managed type is larger than 4 GiB. Use an ebb::Array.");
  static_assert(mistake != kTooManyReferences,
                "Ebb: a managed type holds more than 1024 references. Hold them in an "
                "ebb::RefArray.");
  static_assert(mistake != kPolymorphic,
                "Ebb: a managed type has virtual functions. Ebb keeps the type in the object's "
                "header: drop 'virtual', and dispatch on a tag or a table of functions.");
  static_assert(mistake != kUnion,
                "Ebb: a managed type has a union that is not trivially copyable. The collector "
                "cannot know which member is alive: hold references outside the union.");
  static_assert(mistake != kNamelessUnion,
                "Ebb: a managed type with references has a union whose type has no name. Give the "
                "type a name, and make the union a member of that type.");
  static_assert(mistake != kBase,
                "Ebb: a managed type has a base class. Make the base a member, or name all data "
                "members, inherited ones too, with EBB_FIELDS(Type, member...) in the class.");
  static_assert(mistake != kUnknownMembers,
                "Ebb: the members of a managed type cannot be found: more than 64, or a C array "
                "beside a member without default constructor. Use std::array, or name all data "
                "members with EBB_FIELDS(Type, member...) in the class.");
  static_assert(mistake != kNotRelocatable,
                "Ebb: a managed type has a part with a destructor, as std::string, std::vector and "
                "std::unique_ptr have. Objects move by memcpy, and destructors of traced ones "
                "never run. Name the members of a class of your own with EBB_FIELDS(Type, "
                "member...); of others use ebb::String, ebb::Array or ebb::Field, or keep that "
                "part outside the heap. If it may be moved so (and, in a traced object, never "
                "destroyed), specialise ebb::kTriviallyRelocatable.");
  static_assert(
      mistake != kNoFields,
      "Ebb: the members of a class with constructors or private members are unknown. Name "
      "them with EBB_FIELDS(Type, member...) in the class. If it holds no references and "
      "may be moved by memcpy, specialise ebb::kTriviallyRelocatable.");
  static_assert(
      mistake != kDestructor,
      "Ebb: a managed type has a destructor. Destructors do not run on collection: remove "
      "it. If nothing is lost without it, specialise ebb::kTriviallyRelocatable.");
  static_assert(mistake != kBitField,
                "Ebb: a managed type has bit-fields beside references, so their offsets cannot be "
                "computed. Put the bit-fields into a struct of their own, and make that a member.");
  static_assert(mistake != kOveralignedAggregate,
                "Ebb: the offsets of references in a type aligned to 16 bytes cannot be computed. "
                "Name all data members with EBB_FIELDS(Type, member...) in the class.");
  static_assert(mistake != kLayout,
                "Ebb: a managed type is packed, or has members with alignas or no_unique_address, "
                "so the offsets of its references cannot be computed. Name all data members with "
                "EBB_FIELDS(Type, member...) in the class.");
  static_assert(
      mistake != kUnnamedMember,
      "Ebb: EBB_FIELDS leaves out a data member: some aligned word of the class belongs to "
      "none of those named, and a reference there would not be traced. Name all data "
      "members, inherited ones too; put bit-fields into a struct of their own.");
  static_assert(mistake != kOverlap,
                "Ebb: EBB_FIELDS names a data member twice, or two that overlap, as in a union.");
  if constexpr (mistake == kInMember) CheckMembers<ElementOf<Part>>();
}

// CheckPart of each member of Whole.
template <typename Whole>
consteval void CheckMembers() {
  []<typename... M, size_t... member>(TypeList<M...>, std::index_sequence<member...>) {
    (CheckPart<Whole, static_cast<int>(member), M>(), ...);
  }(typename MemberTable<Whole>::Types(),
    std::make_index_sequence<MemberTable<Whole>::kOffsets.size()>());
}

template <typename T>
inline constexpr bool kIsPlainObject =
    std::is_object_v<T> && !std::is_array_v<T> && std::is_same_v<T, std::remove_cv_t<T>>;

}  // namespace internal

// A type whose values can live in the heap, alone or as elements of an array. T must be complete.
// To reject a type with a message that says why, call CheckManaged instead.
template <typename T>
concept Managed = internal::kIsPlainObject<T> && requires { sizeof(T); } &&
                  internal::FindMistakeOfWhole<T>() == internal::Mistake::kNone;

// Compiles if T is Managed; otherwise each mistake is one error, which names it and its remedy.
template <typename T>
consteval void CheckManaged() {
  static_assert(
      internal::kIsPlainObject<T>,
      "Ebb: a managed type is a class or a scalar without const or volatile. For a C array "
      "use NewArray, or a std::array.");
  static_assert(requires { sizeof(T); }, "Ebb: a managed type must be complete where it is used.");
  if constexpr (internal::kIsPlainObject<T> && requires { sizeof(T); }) {
    internal::CheckPart<T, internal::kItself, T>();
    static_assert(
        internal::FindMistakeOfWhole<T>() != internal::Mistake::kCounting,
        "Ebb: a traced type has an rc::Ptr, rc::Field or rc::Weak. Its destructor never runs, so "
        "what it counts would stay: make the object with rc::NewHolder (rc::Fields only) or "
        "rc::MakePtr, or hold an ebb::Field.");
  }
}

}  // namespace ebb

#endif  // EBB_HEAP_REFLECT_H_
