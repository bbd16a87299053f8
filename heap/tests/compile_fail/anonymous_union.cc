// EXPECT-ERROR: a union whose type has no name. Give the type a name

#include "heap/field.h"
#include "heap/type_info.h"

struct Node {
  ebb::Field<Node> next;
  union {
    int number;
    float real;
  };
};

const void* type = &ebb::kTypeInfo<Node>;
