// ExtraBytes: the plain bytes behind an object that Mutator::NewWithBytes has made.
// Design: docs/design/types.md#objects-with-extra-bytes

#ifndef EBB_HEAP_EXTRA_BYTES_H_
#define EBB_HEAP_EXTRA_BYTES_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "copyspace/forwarding_word.h"
#include "heap/ref.h"
#include "heap/type_info.h"

namespace ebb {

namespace internal {

// Those of the object at `payload`, which is neither forwarded nor being evacuated.
inline absl::Span<std::byte> ExtraBytesAt(uintptr_t payload) {
  const auto& type =
      *reinterpret_cast<const TypeInfo*>(copyspace::ForwardingWord::Of(payload).TypeBits());
  if (type.kind != ObjectKind::kWithBytes) return {};
  return {reinterpret_cast<std::byte*>(type.ExtraBytes(payload)), type.ExtraByteCount(payload)};
}

}  // namespace internal

// Empty for null, and for an object made without any. Aligned as a word, or as T where that is
// more. Good until the thread's next safepoint, as the Ref is. Other threads may use them as any
// plain member of the object. O(1).
template <typename T>
absl::Span<std::byte> ExtraBytes(Ref<T> object) {
  if (object == nullptr) return {};
  return internal::ExtraBytesAt(object.bits());
}

}  // namespace ebb

#endif  // EBB_HEAP_EXTRA_BYTES_H_
