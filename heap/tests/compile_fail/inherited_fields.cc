// EXPECT-ERROR: a managed type has a base class

#include "heap/field.h"
#include "heap/type_info.h"

class Base {
 private:
  ebb::Field<Base> first_;
  EBB_FIELDS(Base, first_)
};
class Node : public Base {
 private:
  ebb::Field<Node> second_;
};

const void* type = &ebb::kTypeInfo<Node>;
