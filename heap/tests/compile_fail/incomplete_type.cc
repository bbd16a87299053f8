// EXPECT-ERROR: a managed type must be complete where it is used

#include "heap/field.h"
#include "heap/type_info.h"

struct Node;
const void* type = &ebb::kTypeInfo<Node>;
