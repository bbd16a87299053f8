// EXPECT-ERROR: is packed, or has members with alignas

#include "heap/field.h"
#include "heap/type_info.h"

#pragma pack(push, 4)
struct Node {
  int value;
  ebb::Field<Node> next;
};
#pragma pack(pop)

const void* type = &ebb::kTypeInfo<Node>;
