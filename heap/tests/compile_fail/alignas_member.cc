// EXPECT-ERROR: members with alignas or no_unique_address

#include "heap/field.h"
#include "heap/type_info.h"

struct Node {
  char a;
  alignas(8) char b;
  ebb::Field<Node> next;
};

const void* type = &ebb::kTypeInfo<Node>;
