// EXPECT-ERROR: a traced type has an rc::Ptr, rc::Field or rc::Weak

#include "heap/ebb.h"
#include "heap/rc/rc.h"

struct Leaf {
  int value = 0;
};
struct Page {
  ebb::rc::Field<Leaf> leaf;
};

void Make(ebb::Mutator& mutator) { mutator.New<Page>(); }
