// EXPECT-ERROR: a traced type has an rc::Ptr, rc::Field or rc::Weak

#include "heap/field.h"
#include "heap/type_info.h"

// As heap/rc/ptr.h says of its references.
struct Counting {
  ~Counting() {}
  void* cell = nullptr;
};
template <>
inline constexpr bool ebb::kTriviallyRelocatable<Counting> = true;
template <>
inline constexpr bool ebb::internal::kIsCounting<Counting> = true;

struct Node {
  ebb::Field<Node> next;
  Counting others[2];
};

const void* type = &ebb::kTypeInfo<Node>;
