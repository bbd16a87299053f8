// EXPECT-ERROR: a C array beside a member without default constructor. Use std::array

#include "heap/field.h"
#include "heap/type_info.h"

struct Id {
  explicit Id(int value) : value(value) {}
  int value;
};
struct Node {
  Id id;
  ebb::Field<Node> children[2];
};

const void* type = &ebb::kTypeInfo<Node>;
