// EXPECT-ERROR: EBB_FIELDS leaves out a data member

#include "heap/field.h"
#include "heap/type_info.h"

class Node {
 private:
  ebb::Field<Node> left_;
  ebb::Field<Node> right_;
  int value_;
  EBB_FIELDS(Node, left_, value_)
};

const void* type = &ebb::kTypeInfo<Node>;
