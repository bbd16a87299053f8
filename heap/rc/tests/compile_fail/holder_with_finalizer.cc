// EXPECT-ERROR: a traced object is not finalized: make it by rc::MakePtr

#include "heap/rc/rc.h"

struct Page {
  ebb::rc::Field<Page> next;

  static void Finalize(ebb::rc::Ptr<Page>) {}
};

void Make() { ebb::rc::NewHolder<Page>(); }
