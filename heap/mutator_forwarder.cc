#include "heap/mutator_forwarder.h"

#include "copyspace/forwarding_word.h"

namespace ebb::internal {

using copyspace::Reference;

Reference MutatorForwarder::Forward(Reference reference) {
  copyspace::CopySpace& copy = spaces_.copy();
  if (copy.Contains(reference)) {
    if (!copy.InFromSpace(reference)) return reference;
    return evacuator_.EvacuateShared(
        reference, [this](Reference object, const TypeInfo& type, Reference original) {
          NoteGrey(object, type, original);
        });
  }
  if (spaces_.InNursery(reference)) return reference;
  if (spaces_.TryMarkInPlace(reference)) {
    const uintptr_t bits = copyspace::ForwardingWord::Of(reference).TypeBits();
    NoteGrey(reference, *reinterpret_cast<const TypeInfo*>(bits), /*original=*/0);
  }
  return reference;
}

uintptr_t MutatorForwarder::ForwardLoaded(std::atomic<uintptr_t>& slot, uintptr_t bits) {
  const Reference to = Forward(bits);
  Heal(slot, bits, to);
  return to;
}

// Release: publishes the copy to who loads it from the slot. A failure means that another thread
// has healed it, or stored something newer: this load then came before that store.
void MutatorForwarder::Heal(std::atomic<uintptr_t>& slot, uintptr_t bits, Reference to) {
  if (to == bits) return;
  slot.compare_exchange_strong(bits, to, std::memory_order_release, std::memory_order_relaxed);
}

// What is known to be alive saves nothing: else a thread that reads it again and again would keep
// the trace from ending.
uintptr_t MutatorForwarder::ForwardLoadedWeak(std::atomic<uintptr_t>& slot, uintptr_t bits) {
  if (const Reference alive = spaces_.SurvivorOf(bits); alive != 0) {
    Heal(slot, bits, alive);
    return alive;
  }
  return weak_reads_.Read([&] { return ForwardLoaded(slot, bits); },
                          [&] { return spaces_.SurvivorOf(bits); });
}

void MutatorForwarder::NoteGrey(Reference object, const TypeInfo& type, Reference original) {
  if (!type.has_references()) return;
  found_grey_ = true;
  if (original == 0) {
    shared_.AddInPlace(object);
    return;
  }
  greys_.Push(original);
  if (++waiting_ >= kMostWaiting) HandOver();
}

}  // namespace ebb::internal
