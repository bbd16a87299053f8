// EXPECT-ERROR: a managed type has a reference member (T&)
// EXPECT-ERROR: a raw pointer to a managed object

#include "heap/field.h"
#include "heap/type_info.h"

struct Node {
  ebb::Field<Node> next;
  Node* previous;
  int& counter;
};

const void* type = &ebb::kTypeInfo<Node>;
