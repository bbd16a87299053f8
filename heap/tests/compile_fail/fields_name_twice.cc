// EXPECT-ERROR: EBB_FIELDS names a data member twice

#include "heap/field.h"
#include "heap/type_info.h"

class Node {
 private:
  ebb::Field<Node> left_;
  int value_;
  EBB_FIELDS(Node, left_, value_, left_)
};

const void* type = &ebb::kTypeInfo<Node>;
