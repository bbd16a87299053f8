// What compiles, beside what does not.

#include "heap/ebb.h"
#include "heap/rc/rc.h"

struct Page;
struct Leaf {
  ebb::Field<Page> page;
  ebb::rc::Field<Leaf> next;
  ebb::rc::Weak<Leaf> parent;

  static void Finalize(ebb::rc::Ptr<Leaf>) {}
};
struct Page {
  ebb::rc::Field<Leaf> leaves[2];
  ebb::rc::AtomicField<Leaf> newest;
};
// A member of that name is no finalizer of another class, which has none.
struct Plain {
  Leaf leaf;
};

void Make() {
  const ebb::rc::Ptr<Leaf> leaf = ebb::rc::MakePtr<Leaf>();
  leaf->page = ebb::rc::NewHolder<Page>();
  ebb::rc::MakePtr<Plain>();
  ebb::rc::MakePtr<int>(1);
}
