// EXPECT-ERROR: a managed type has virtual functions

#include "heap/rc/rc.h"

struct Leaf {
  virtual void Do() {}
};

void Make() { ebb::rc::MakePtr<Leaf>(); }
