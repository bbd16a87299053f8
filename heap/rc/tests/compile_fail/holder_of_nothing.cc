// EXPECT-ERROR: make others by Mutator::New

#include "heap/rc/rc.h"

struct Page {
  int number = 0;
};

void Make() { ebb::rc::NewHolder<Page>(); }
