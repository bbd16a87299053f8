// EXPECT-ERROR: the Finalize of a counted type T is `static void Finalize(ebb::rc::Ptr<T> self)`, and public

#include "heap/rc/rc.h"

class Leaf {
 private:
  static void Finalize(ebb::rc::Ptr<Leaf>) {}
};

void Make() { ebb::rc::MakePtr<Leaf>(); }
