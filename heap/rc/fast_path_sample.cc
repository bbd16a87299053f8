// The fast paths of counting, compiled as heap/fast_path_sample.cc is: for heap/fast_path_test.py.

#include <cstdint>
#include <memory>

#include "heap/rc/coalescer.h"
#include "heap/rc/rc.h"

namespace {

struct Plain {
  int64_t value = 0;
};
using Ptr = ebb::rc::Ptr<Plain>;

}  // namespace

extern "C" {

// With the test for null that a copy begins with, and the store of the copy.
void SampleCopy(Ptr* to, const Ptr& from) { std::construct_at(to, from); }

// With the test for null.
void SampleDrop(Ptr* ptr) { std::destroy_at(ptr); }

// A Local, made and ended.
void SampleName(ebb::rc::Owner& owner, const Ptr& from) {
  const ebb::rc::Local<Plain> local(owner, from);
  asm volatile("" : : "r"(&local) : "memory");
}

// What a store to a Field does first: up to the first return, where nothing is coalesced.
bool SampleStore(ebb::rc::internal::Cell** field, const Ptr& to) {
  return ebb::rc::internal::Coalescer::Store(field, to.cell());
}

int64_t SampleFollow(const Ptr& ptr) { return ptr->value; }
}
