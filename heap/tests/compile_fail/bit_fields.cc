// EXPECT-ERROR: bit-fields beside references

#include "heap/field.h"
#include "heap/type_info.h"

struct Node {
  unsigned color : 1;
  unsigned depth : 31;
  ebb::Field<Node> next;
};

const void* type = &ebb::kTypeInfo<Node>;
