// What the collector knows of a managed type: TypeInfo, the descriptor that the header word of
// every object points at, and kTypeInfo<T>, the one descriptor of each type. The heap's own code
// reads them; users only see their names in messages. Design: docs/design/types.md

#ifndef EBB_HEAP_TYPE_INFO_H_
#define EBB_HEAP_TYPE_INFO_H_

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "heap/reflect.h"
#include "heap/type_name.h"

namespace ebb {

// Those of one size come first: TypeInfo::ObjectBytes.
enum class ObjectKind : uint8_t {
  kFixed,      // every object of the type has the same size
  kFiller,     // eight bytes of padding between objects: a header and no payload
  kArray,      // payload: a 64-bit length, then that many elements
  kWithBytes,  // payload: as of kFixed, then a 64-bit number, and that many bytes
};

inline constexpr size_t kHeaderBytes = 8;
inline constexpr uint32_t kTypeInfoMagic = 0x0ebb719e;

// Immutable, constant-initialised, alive as long as the process: reading one needs no order and no
// lock. What tracing an object reads comes first and lies in one 32-byte half of a cache line.
struct alignas(32) TypeInfo {
  ObjectKind kind;
  // The payload's address is a multiple of 16 (else of 8).
  bool align16;
  // kFixed: header and payload, a multiple of 8. kArray: from the header to element 0. kWithBytes:
  // to the first of the bytes. kFiller: 8.
  uint32_t object_bytes;
  // Bit i: word i of the payload, or of each element (kArray), is a reference. 0 if `offsets`.
  uint64_t pointer_map;
  // Where the references are when some lie past the first 64 words: bytes from the payload or from
  // the element's start, ascending. Else null.
  const uint32_t* offsets;
  uint32_t offset_count;
  // kArray: the distance from one element to the next. Else 0.
  uint32_t element_bytes;

  // kTypeInfoMagic: Heap::Verify tells a header from a stray word by it (inv.type-magic).
  uint32_t magic = kTypeInfoMagic;
  std::string_view name;
  // How an object is destroyed that is reclaimed by its count; null: it is traced.
  const rc::internal::CountedType* counted = nullptr;

  constexpr bool has_references() const { return pointer_map != 0 || offset_count != 0; }

  // Header and payload of the object at `payload`, a multiple of 8 (inv.object-size). Reads the
  // payload where the size varies only.
  size_t ObjectBytes(uintptr_t payload) const {
    if (kind <= ObjectKind::kFiller) return object_bytes;
    if (kind == ObjectKind::kWithBytes) return ObjectBytesWith(ExtraByteCount(payload));
    const size_t elements = ArrayLength(payload) * element_bytes;
    return (object_bytes + elements + 7) & ~size_t{7};
  }

  // kArray only.
  static uint64_t ArrayLength(uintptr_t payload) {
    return *reinterpret_cast<const uint64_t*>(payload);
  }
  // kArray only: the address of element 0.
  uintptr_t ArrayElements(uintptr_t payload) const {
    return payload + (object_bytes - kHeaderBytes);
  }

  // kWithBytes only: the address of the first of the bytes. Their number is the word before it, so
  // that the payload begins as one of kFixed does.
  uintptr_t ExtraBytes(uintptr_t payload) const {
    return payload + (object_bytes - kHeaderBytes);
  }
  uint64_t& ExtraByteCount(uintptr_t payload) const {
    return *reinterpret_cast<uint64_t*>(ExtraBytes(payload) - sizeof(uint64_t));
  }
  // The size of an object with so many: at most kMostVariableBytes.
  size_t ObjectBytesWith(size_t extra_bytes) const {
    return (object_bytes + extra_bytes + 7) & ~size_t{7};
  }
};
// What varies in an object's size. Far more than any address space, and far from overflow.
inline constexpr size_t kMostVariableBytes = size_t{1} << 46;
static_assert(offsetof(TypeInfo, element_bytes) + sizeof(uint32_t) == 32);
static_assert(sizeof(TypeInfo) == 64);

// Calls f(edge) with the address of each reference of the payload, or of the array element
// (kArray), at `start`, in ascending order. Inlines to a bit scan: no indirect call.
template <typename F>
inline void ForEachReference(const TypeInfo& type, uintptr_t start, F&& f) {
  if (type.offsets == nullptr) [[likely]] {
    for (uint64_t map = type.pointer_map; map != 0; map &= map - 1) {
      f(start + 8 * static_cast<uintptr_t>(std::countr_zero(map)));
    }
    return;
  }
  for (uint32_t i = 0; i < type.offset_count; ++i) f(start + type.offsets[i]);
}

namespace internal {

// Sets the map if it can hold every reference of T, else the table.
template <typename T>
consteval void SetReferences(TypeInfo& type) {
  constexpr auto& offsets = kReferenceOffsets<T>;
  if constexpr (!offsets.empty()) {
    if constexpr (offsets.back() < 64 * 8) {
      for (uint32_t offset : offsets) type.pointer_map |= uint64_t{1} << (offset / 8);
    } else {
      type.offsets = offsets.data();
      type.offset_count = static_cast<uint32_t>(offsets.size());
    }
  }
}

template <typename T>
consteval TypeInfo MakeTypeInfo() {
  CheckManaged<T>();
  TypeInfo type = {};
  if constexpr (Managed<T>) {
    type.kind = ObjectKind::kFixed;
    type.align16 = alignof(T) > 8;
    type.object_bytes = static_cast<uint32_t>(kHeaderBytes + ((sizeof(T) + 7) & ~size_t{7}));
    type.name = TypeName<typename KnownAs<T>::type>();
    type.counted = kCountedType<T>;
    SetReferences<T>(type);
  }
  return type;
}

template <typename T>
consteval TypeInfo MakeTypeInfoWithBytes() {
  TypeInfo type = MakeTypeInfo<T>();
  if constexpr (Managed<T>) {
    static_assert(sizeof(T) <= kMaxPayloadBytes - 16,
                  "Ebb: an object with extra bytes is larger than 4 GiB without them.");
    type.kind = ObjectKind::kWithBytes;
    // The first of the bytes is as aligned as the payload.
    const size_t alignment = type.align16 ? 16 : 8;
    const size_t fixed = sizeof(T) + sizeof(uint64_t);
    type.object_bytes =
        static_cast<uint32_t>(kHeaderBytes + ((fixed + alignment - 1) & ~(alignment - 1)));
  }
  return type;
}

template <typename E>
consteval TypeInfo MakeArrayTypeInfo() {
  CheckManaged<E>();
  TypeInfo type = {};
  if constexpr (Managed<E>) {
    type.kind = ObjectKind::kArray;
    type.align16 = alignof(E) > 8;
    // Element 0 is as aligned as the payload, so 16-byte aligned elements pad the length.
    type.object_bytes = kHeaderBytes + (type.align16 ? 16 : 8);
    type.element_bytes = sizeof(E);
    type.name = ArrayTypeName<E>();
    SetReferences<E>(type);
  }
  return type;
}

}  // namespace internal

// The descriptor of T. Instantiating it checks that T can be managed (see CheckManaged).
template <typename T>
inline constexpr TypeInfo kTypeInfo = internal::MakeTypeInfo<T>();

// The descriptor of a T with plain bytes behind it, whose number is each object's own.
template <typename T>
inline constexpr TypeInfo kTypeInfoWithBytes = internal::MakeTypeInfoWithBytes<T>();

// The descriptor of an array of E; kArrayTypeInfo<Field<T>> is that of an array of references.
template <typename E>
inline constexpr TypeInfo kArrayTypeInfo = internal::MakeArrayTypeInfo<E>();

inline constexpr TypeInfo kFillerType = {.kind = ObjectKind::kFiller,
                                         .align16 = false,
                                         .object_bytes = kHeaderBytes,
                                         .pointer_map = 0,
                                         .offsets = nullptr,
                                         .offset_count = 0,
                                         .element_bytes = 0,
                                         .name = "(filler)"};

}  // namespace ebb

#endif  // EBB_HEAP_TYPE_INFO_H_
