// EXPECT-ERROR: a managed type has a union that is not trivially copyable

#include "heap/field.h"
#include "heap/type_info.h"

union Child {
  ebb::Field<Child> pointer;
  int number;
};
struct Node {
  Child child;
};

const void* type = &ebb::kTypeInfo<Node>;
