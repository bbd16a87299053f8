// EXPECT-ERROR: a type aligned to 16 bytes cannot be computed

#include "heap/field.h"
#include "heap/type_info.h"

struct alignas(16) Node {
  ebb::Field<Node> next;
};

const void* type = &ebb::kTypeInfo<Node>;
