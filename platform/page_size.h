// The size of a page of virtual memory.

#ifndef EBB_PLATFORM_PAGE_SIZE_H_
#define EBB_PLATFORM_PAGE_SIZE_H_

#include <unistd.h>

#include "platform/address_range.h"
#include "platform/bytes.h"

namespace ebb::platform {

// A power of two; the same throughout the process's life.
inline Bytes PageSize() {
  static const Bytes size(sysconf(_SC_PAGESIZE));
  return size;
}

inline bool IsPageAligned(AddressRange range) {
  const size_t mask = PageSize().size() - 1;
  return (range.begin & mask) == 0 && range.size >= Bytes(0) && (range.size.size() & mask) == 0;
}

}  // namespace ebb::platform

#endif  // EBB_PLATFORM_PAGE_SIZE_H_
