// EXPECT-ERROR: a managed type has a base class

#include "heap/field.h"
#include "heap/type_info.h"

struct Base {
  int value;
};
struct Node : Base {
  ebb::Field<Node> next;
};

const void* type = &ebb::kTypeInfo<Node>;
