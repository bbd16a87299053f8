// What counting knows of a type: how to finalize and destroy an object, and where its rc::Fields
// are.
// Design: docs/design/counting.md#objects

#ifndef EBB_HEAP_RC_COUNTED_TYPE_H_
#define EBB_HEAP_RC_COUNTED_TYPE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>

#include "heap/rc/cell.h"
#include "heap/rc/reference.h"
#include "heap/ref.h"
#include "heap/region_walk.h"
#include "heap/type_info.h"
#include "heap/type_name.h"

namespace ebb::rc {

template <typename T>
class Ptr;

namespace internal {

// Immutable, alive as long as the process.
struct CountedType {
  std::string_view name;
  // Runs the destructor of the object at `payload`; null if that does nothing.
  void (*destroy)(uintptr_t payload);
  // Calls the type's Finalize with a reference that the caller had; null if there is none.
  void (*finalize)(Cell* cell);
  // Whether a cycle with such an object is never destroyed.
  bool is_uncollectable;
  // Where in the payload its rc::Fields are, in bytes.
  const uint32_t* field_offsets;
  uint32_t field_count;
};

// What a word of a Field, or of an AtomicField, which may be locked, leads to.
inline Cell* FieldTarget(Cell* word) {
  return reinterpret_cast<Cell*>(reinterpret_cast<uintptr_t>(word) & ~uintptr_t{1});
}

// Calls f(field, target) for each Field of the object at `payload` that is not null, where a Field
// is a std::atomic_ref<Cell*>. Others may be storing to them; what is read of the target must be
// known to be there.
template <typename F>
void ForEachField(const CountedType& type, uintptr_t payload, F f) {
  for (uint32_t i = 0; i < type.field_count; ++i) {
    const std::atomic_ref<Cell*> field(*reinterpret_cast<Cell**>(payload + type.field_offsets[i]));
    // Relaxed: see above.
    Cell* const target = FieldTarget(field.load(std::memory_order_relaxed));
    if (target != nullptr) f(field, *target);
  }
}

// Whether a T is an rc::Field or AtomicField.
template <typename T>
inline constexpr bool kIsField = false;
// For ebb::internal::FindReferences.
struct InnerReferences {
  template <typename T>
  static constexpr bool kIncludes = kIsField<T>;
};
template <typename T>
inline constexpr auto kFieldOffsets = ebb::internal::FindReferences<T, InnerReferences>();

// A T and nothing else, so that a T* leads to the object. Reclaimed by its count, or a holder:
// traced.
template <typename T, bool kIsHolder>
class Whole {
 public:
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored \
    "-Wmissing-field-initializers"  // fewer arguments than members: as T{}
  template <typename... Args>
  explicit Whole(Args&&... args) : value{std::forward<Args>(args)...} {}
#pragma GCC diagnostic pop
  Whole(const Whole&) = delete;
  Whole& operator=(const Whole&) = delete;

  T value;

  EBB_FIELDS(Whole, value)
};
template <typename T>
using Counted = Whole<T, /*kIsHolder=*/false>;
template <typename T>
using Holder = Whole<T, /*kIsHolder=*/true>;

template <typename T>
void DestroyCounted(uintptr_t payload) {
  std::destroy_at(reinterpret_cast<T*>(payload));
}

// A type may have a finalizer: static void Finalize(rc::Ptr<T> self), its own or of its base.
template <typename T>
concept HasFinalizer = requires(Ptr<T> self) { T::Finalize(std::move(self)); };

// Whether a T has a member of that name, public or not: where a class has two from its bases, the
// name is ambiguous, and that comes before access. (Nothing can derive from a final class: of its
// members only public ones are found.)
struct WithFinalize {
  int Finalize;
};
template <typename T>
struct AndFinalize : T, WithFinalize {};
template <typename T>
consteval bool NamesFinalizer() {
  if constexpr (!std::is_class_v<T> || std::is_final_v<T>) {
    return requires { &T::Finalize; };
  } else {
    return !requires { &AndFinalize<T>::Finalize; };
  }
}

template <typename T>
void FinalizeCounted(Cell* cell) {
  T::Finalize(Ptr<T>(Reference<T>::Adopt(cell)));
}

template <typename T>
constexpr auto FinalizerOf() -> void (*)(Cell*) {
  static_assert(!NamesFinalizer<T>() || HasFinalizer<T>,
                "the Finalize of a counted type T is `static void Finalize(ebb::rc::Ptr<T> self)`, "
                "and public: give it another name if it is not meant to be a finalizer");
  if constexpr (HasFinalizer<T>) return &FinalizeCounted<T>;
  return nullptr;
}

// A type may say `static constexpr bool kUncollectable = true`.
template <typename T>
constexpr bool IsUncollectable() {
  if constexpr (requires { T::kUncollectable; }) return T::kUncollectable;
  return false;
}

// Nothing of a holder is destroyed: its Fields are counted down by the HolderTable.
template <typename T, bool kIsHolder>
consteval CountedType DescribeWhole() {
  CountedType type = {};
  type.name = ebb::internal::TypeName<T>();
  type.field_offsets = kFieldOffsets<T>.data();
  type.field_count = static_cast<uint32_t>(kFieldOffsets<T>.size());
  if constexpr (!kIsHolder) {
    if constexpr (!std::is_trivially_destructible_v<T>) type.destroy = &DestroyCounted<T>;
    type.finalize = FinalizerOf<T>();
    type.is_uncollectable = IsUncollectable<T>();
  }
  return type;
}
template <typename T, bool kIsHolder>
inline constexpr CountedType kDescriptor = DescribeWhole<T, kIsHolder>();

// That of an object.
inline const CountedType& CountedTypeOf(Ref<CountedObject> object) {
  return *ebb::internal::TypeOf(object.bits()).counted;
}

}  // namespace internal
}  // namespace ebb::rc

template <typename T, bool kIsHolder>
struct ebb::internal::KnownAs<ebb::rc::internal::Whole<T, kIsHolder>> {
  using type = T;
};
template <typename T, bool kIsHolder>
inline constexpr const ebb::rc::internal::CountedType*
    ebb::internal::kCountedType<ebb::rc::internal::Whole<T, kIsHolder>> =
        &ebb::rc::internal::kDescriptor<T, kIsHolder>;

#endif  // EBB_HEAP_RC_COUNTED_TYPE_H_
