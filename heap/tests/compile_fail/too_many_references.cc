// EXPECT-ERROR: a managed type holds more than 1024 references

#include "heap/field.h"
#include "heap/type_info.h"

struct Node {
  ebb::Field<Node> children[1025];
};

const void* type = &ebb::kTypeInfo<Node>;
