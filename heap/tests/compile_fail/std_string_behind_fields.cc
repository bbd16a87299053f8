// EXPECT-ERROR: a managed type has a part with a destructor

#include <string>

#include "heap/field.h"
#include "heap/type_info.h"

class Node {
 private:
  ebb::Field<Node> left_;
  std::string name_;
  EBB_FIELDS(Node, left_, name_)
};

const void* type = &ebb::kTypeInfo<Node>;
