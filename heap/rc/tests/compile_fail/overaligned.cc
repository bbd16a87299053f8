// EXPECT-ERROR: a managed type is aligned to more than 16 bytes

#include "heap/rc/rc.h"

struct alignas(64) Leaf {
  int value = 0;
};

void Make() { ebb::rc::MakePtr<Leaf>(); }
