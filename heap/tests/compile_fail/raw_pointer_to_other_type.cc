// EXPECT-ERROR: a raw pointer to a managed object

#include "heap/field.h"
#include "heap/type_info.h"

struct Other {
  ebb::Field<Other> next;
};
struct Node {
  int value;
  const Other* others[2];
};

const void* type = &ebb::kTypeInfo<Node>;
