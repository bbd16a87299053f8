// EXPECT-ERROR: a managed type has a part with a destructor

#include <vector>

#include "heap/field.h"
#include "heap/type_info.h"

struct Node {
  std::vector<ebb::Field<Node>> children;
};

const void* type = &ebb::kTypeInfo<Node>;
