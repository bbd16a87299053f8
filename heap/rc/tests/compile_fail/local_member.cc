// EXPECT-ERROR: inside a managed object use ebb::Field<T>, or ebb::rc::Field<T> to a counted one

#include "heap/rc/rc.h"

struct Leaf {
  ebb::rc::Local<Leaf> next;
};

// As MakePtr says of its objects.
const void* type = &ebb::kTypeInfo<ebb::rc::internal::Counted<Leaf>>;
