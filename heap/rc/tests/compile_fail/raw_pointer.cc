// EXPECT-ERROR: Objects move, and the collector does not see raw pointers: use ebb::Field<T>

#include "heap/rc/rc.h"

struct Leaf {
  Leaf* next = nullptr;
};

void Make() { ebb::rc::MakePtr<Leaf>(); }
