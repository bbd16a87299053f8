// EXPECT-ERROR: a managed type has a reference member (T&)

#include "heap/field.h"
#include "heap/type_info.h"

struct Node {
  ebb::Field<Node> next;
  int& counter;
};

const void* type = &ebb::kTypeInfo<Node>;
