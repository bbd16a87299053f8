// EXPECT-ERROR: kUncollectable is for objects that rc::MakePtr makes

#include "heap/rc/rc.h"

struct Leaf {
  int value = 0;
};
struct Page {
  static constexpr bool kUncollectable = true;
  ebb::rc::Field<Leaf> leaf;
};

void Make() { ebb::rc::NewHolder<Page>(); }
