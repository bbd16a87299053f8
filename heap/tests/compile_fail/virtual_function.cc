// EXPECT-ERROR: a managed type has virtual functions

#include "heap/field.h"
#include "heap/type_info.h"

class Node {
 public:
  virtual int value() const { return 0; }

 private:
  ebb::Field<Node> next_;
  EBB_FIELDS(Node, next_)
};

const void* type = &ebb::kTypeInfo<Node>;
