// EXPECT-ERROR: a managed type is aligned to more than 16 bytes

#include "heap/field.h"
#include "heap/type_info.h"

struct alignas(64) Node {
  int value;
};

const void* type = &ebb::kTypeInfo<Node>;
