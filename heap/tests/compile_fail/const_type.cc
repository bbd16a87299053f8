// EXPECT-ERROR: a managed type is a class or a scalar without const or volatile

#include "heap/field.h"
#include "heap/type_info.h"

struct Node {
  ebb::Field<Node> next;
};
const void* type = &ebb::kTypeInfo<const Node>;
