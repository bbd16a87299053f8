// EXPECT-ERROR: a managed type has a part with a destructor

#include <array>
#include <memory>

#include "heap/field.h"
#include "heap/type_info.h"

struct Part {
  int id;
  std::array<std::unique_ptr<int>, 2> owned;
};
struct Node {
  ebb::Field<Node> next;
  Part parts[3];
};

const void* type = &ebb::kTypeInfo<Node>;
