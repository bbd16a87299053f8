// EXPECT-ERROR: a managed type has a Ref, Local, Persistent or Weak member

#include "heap/local.h"

#include "heap/field.h"
#include "heap/type_info.h"

struct Node {
  ebb::Local<Node> next;
};

const void* type = &ebb::kTypeInfo<Node>;
