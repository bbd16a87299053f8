#include "heap/field.h"
#include "heap/type_info.h"

// Compiles: else the other cases could fail for want of a header.
struct Node {
  ebb::Field<Node> left, right;
  ebb::Field<ebb::String> name;
  int weights[4];
};
class Leaf {
 public:
  explicit Leaf(int value) : value_(value) {}

 private:
  ebb::Field<Node> node_;
  int value_;
  EBB_FIELDS(Leaf, node_, value_)
};
const void* types[] = {&ebb::kTypeInfo<Node>, &ebb::kTypeInfo<Leaf>,
                       &ebb::kArrayTypeInfo<ebb::Field<Leaf>>};
