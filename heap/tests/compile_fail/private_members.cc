// EXPECT-ERROR: the members of a class with constructors or private members are unknown

#include "heap/field.h"
#include "heap/type_info.h"

class Node {
 public:
  Node() {}

 private:
  ebb::Field<Node> next_;
};

const void* type = &ebb::kTypeInfo<Node>;
