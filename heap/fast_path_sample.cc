// The fast paths, each as a function of its own, compiled as a release build compiles them whatever
// the configuration is: for fast_path_test to count their instructions. Never run.

#include "heap/ebb.h"

namespace {

struct Node {
  ebb::Field<Node> left, right;
  int32_t i = 0, j = 0;
};

}  // namespace

extern "C" {

// Up to the store of the header, then the two references and the integers.
void* SampleNew(ebb::Mutator& mutator) { return mutator.New<Node>().get(); }

void* SampleLoad(const ebb::Field<Node>& field) { return field.load().get(); }

void SampleStore(ebb::Field<Node>& field, void* value) {
  field.store(ebb::Ref<Node>::FromBits(reinterpret_cast<uintptr_t>(value), {}));
}

void SamplePoll(ebb::Mutator& mutator) { mutator.Safepoint(); }
}
