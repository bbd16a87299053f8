// EXPECT-ERROR: a String or an array cannot be a member

#include "heap/field.h"
#include "heap/type_info.h"

// As heap/array.h has it, which needs more headers than this test has at hand.
class ebb::String {
  size_t length_;
};

struct Node {
  ebb::String name;
};

const void* type = &ebb::kTypeInfo<Node>;
