// EXPECT-ERROR: a managed type is larger than 4 GiB

#include "heap/field.h"
#include "heap/type_info.h"

struct Node {
  char bytes[5ull << 30];
};

const void* type = &ebb::kTypeInfo<Node>;
