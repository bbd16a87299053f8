// EXPECT-ERROR: a managed type has a destructor. Destructors do not run on collection

#include "heap/field.h"
#include "heap/type_info.h"

struct Node {
  ~Node() {}
  ebb::Field<Node> next;
};

const void* type = &ebb::kTypeInfo<Node>;
