// AddressRange: a half-open range of virtual addresses.

#ifndef EBB_PLATFORM_ADDRESS_RANGE_H_
#define EBB_PLATFORM_ADDRESS_RANGE_H_

#include <cstdint>

#include "absl/strings/str_format.h"
#include "platform/bytes.h"

namespace ebb::platform {

struct AddressRange {
  uintptr_t begin = 0;
  Bytes size;

  constexpr uintptr_t end() const { return begin + size.size(); }
  // One subtraction and one comparison.
  constexpr bool Contains(uintptr_t address) const { return address - begin < size.size(); }
  friend constexpr bool operator==(const AddressRange&, const AddressRange&) = default;

  template <typename Sink>
  friend void AbslStringify(Sink& sink, const AddressRange& range) {
    absl::Format(&sink, "[%#x, %#x)", range.begin, range.end());
  }
};

}  // namespace ebb::platform

#endif  // EBB_PLATFORM_ADDRESS_RANGE_H_
