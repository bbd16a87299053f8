// EXPECT-ERROR: the Finalize of a counted type T is `static void Finalize(ebb::rc::Ptr<T> self)`, and public

#include "heap/rc/rc.h"

struct Leaf {
  void Finalize() {}
};

void Make() { ebb::rc::MakePtr<Leaf>(); }
