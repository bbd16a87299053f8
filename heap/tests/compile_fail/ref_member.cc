// EXPECT-ERROR: a managed type has a Ref, Local, Persistent or Weak member

#include "heap/field.h"
#include "heap/type_info.h"

struct Node {
  ebb::Ref<Node> next;
};

const void* type = &ebb::kTypeInfo<Node>;
