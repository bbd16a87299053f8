// Stamped: objects of the stress tests that tell whether what they hold, and what they lead to, is
// still what it was.

#ifndef EBB_HEAP_STAMPED_FOR_TEST_H_
#define EBB_HEAP_STAMPED_FOR_TEST_H_

#include <cstddef>
#include <cstdint>
#include <random>

#include "heap/ebb.h"

namespace ebb {

// Edges lead from a greater depth to a lesser one, so a graph stays small.
struct Stamped {
  Field<Stamped> next, other;
  Field<Array<int64_t>> numbers;
  Field<RefArray<Stamped>> fan;  // each kFanStep'th element: the others are null
  int64_t stamp = 0;
  int64_t inverse = 0;
  int64_t depth = 0;
};
inline constexpr int64_t kMostDepth = 6;
inline constexpr size_t kFanStep = 63;

inline bool Intact(Ref<Stamped> object) {
  if (object->inverse != ~object->stamp) return false;
  if (Ref<Array<int64_t>> numbers = object->numbers.load(); numbers != nullptr) {
    for (int64_t number : *numbers) {
      if (number != object->stamp) return false;
    }
  }
  if (Ref<RefArray<Stamped>> fan = object->fan.load(); fan != nullptr) {
    for (size_t i = 0; i < fan->size(); i += kFanStep) {
      Ref<Stamped> leaf = fan->at(i).load();
      if (leaf != nullptr && leaf->inverse != ~leaf->stamp) return false;
    }
  }
  return true;
}

// Takes `found`, if it is not null, along some edges, at most `steps`. True if what it met was
// intact.
inline bool Wander(Local<Stamped>& found, int steps, std::mt19937_64& random) {
  for (int i = 0; found && i < steps; ++i) {
    if (!Intact(found)) return false;
    Ref<Stamped> further = random() % 2 == 0 ? found->next.load() : found->other.load();
    if (further == nullptr) break;
    if (further->depth >= found->depth) return false;
    found = further;
  }
  return true;
}

// An object above `below`, if that is not null and not too far up; some are pinned, and some have
// numbers, of which some are large objects.
inline Ref<Stamped> NewStamped(Mutator& mutator, Local<Stamped>& below, std::mt19937_64& random) {
  const int64_t stamp = static_cast<int64_t>(random());
  const int64_t depth = below ? below->depth + 1 : 0;
  Local<Stamped> made(mutator);
  made = random() % 16 == 0 ? mutator.NewPinned<Stamped>() : mutator.New<Stamped>();
  made->stamp = stamp;
  made->inverse = ~stamp;
  if (depth <= kMostDepth) {
    made->depth = depth;
    made->next = below;
  }
  if (random() % 8 == 0) {
    const size_t length = random() % 64 == 0 ? 3000 : random() % 100;
    made->numbers = mutator.NewArray<int64_t>(length);
    for (int64_t& number : *made->numbers) number = stamp;
  }
  return made;
}

}  // namespace ebb

#endif  // EBB_HEAP_STAMPED_FOR_TEST_H_
