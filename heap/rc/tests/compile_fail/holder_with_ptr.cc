// EXPECT-ERROR: a traced object holds counted references by rc::Field or rc::AtomicField only

#include "heap/rc/rc.h"

struct Leaf {
  int value = 0;
};
struct Page {
  ebb::rc::Field<Leaf> leaf;
  ebb::rc::Ptr<Leaf> other;
};

void Make() { ebb::rc::NewHolder<Page>(); }
