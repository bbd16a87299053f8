// EXPECT-ERROR: a managed type has a part with a destructor

#include <string>

#include "heap/field.h"
#include "heap/type_info.h"

struct Node {
  ebb::Field<Node> next;
  std::string name;
};

const void* type = &ebb::kTypeInfo<Node>;
