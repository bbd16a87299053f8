#include "heap/thread_barriers.h"

#include <algorithm>
#include <utility>

#include "copyspace/field_log.h"
#include "heap/heap_core.h"
#include "heap/mutator.h"
#include "heap/mutator_forwarder.h"
#include "heap/region_walk.h"

namespace ebb::internal {

void ThreadBarriers::Update() {
  static constinit ThreadBarriers barriers;
  load_filter = barriers.FilterForLoads();
  store_filter = FilterForStores();
}

uintptr_t ThreadBarriers::Forward(std::atomic<uintptr_t>& slot, uintptr_t bits) {
  const Mutator* m = ArmedFor(bits);
  return m == nullptr ? bits : m->forwarder_->ForwardLoaded(slot, bits);
}

uintptr_t ThreadBarriers::ForwardWeak(std::atomic<uintptr_t>& slot, uintptr_t bits) {
  const Mutator* m = ArmedFor(bits);
  return m == nullptr ? bits : m->forwarder_->ForwardLoadedWeak(slot, bits);
}

void ThreadBarriers::LogEdge(uintptr_t edge) {
  for (Mutator* m = Mutator::this_threads_mutators; m != nullptr; m = m->next_on_thread_) {
    Spaces& spaces = m->heap_->spaces();
    if (!m->runs() || !spaces.Contains(edge)) continue;
    // Not every edge that comes here leads to a young object. If another thread has stored
    // something else by now, that one logs it. Relaxed: only where it leads is looked at.
    const uintptr_t value = Slot(edge).load(std::memory_order_relaxed);
    if (spaces.InNursery(value) && !spaces.InNursery(edge) && spaces.Remember(edge)) {
      m->edges_.Add(edge);
    }
    return;
  }
}

// A word of bits, and so up to 64 edges, at a time. What LogEdge says of each edge holds here.
void ThreadBarriers::LogRange(uintptr_t begin, size_t count) {
  for (Mutator* m = Mutator::this_threads_mutators; m != nullptr; m = m->next_on_thread_) {
    Spaces& spaces = m->heap_->spaces();
    if (!m->runs() || !spaces.Contains(begin)) continue;
    if (!spaces.has_generations() || spaces.InNursery(begin)) return;
    const uintptr_t end = begin + count * sizeof(uintptr_t);
    for (uintptr_t edge = begin; edge < end;) {
      const uintptr_t group = edge & ~(copyspace::kLogGroup - 1);
      uint64_t young = 0;
      for (; edge < std::min(group + copyspace::kLogGroup, end); edge += sizeof(uintptr_t)) {
        // Relaxed: only where it leads is looked at.
        const uintptr_t value = Slot(edge).load(std::memory_order_relaxed);
        if (spaces.InNursery(value)) young |= copyspace::LogBit(edge);
      }
      if (young == 0) continue;
      copyspace::ForEachEdge(group, spaces.RememberEach(group, young),
                             [m](uintptr_t logged) { m->edges_.Add(logged); });
    }
    return;
  }
}

StoreFilter ThreadBarriers::FilterForStores() {
  StoreFilter filter = kAllStoresPass;
  bool any = false;
  for (const Mutator* m = Mutator::this_threads_mutators; m != nullptr; m = m->next_on_thread_) {
    if (!m->runs() || !m->heap_->spaces().has_generations()) continue;
    // Two nurseries are in different places.
    if (std::exchange(any, true)) return NoStorePasses(&LogEdge, &LogRange);
    filter = m->heap_->spaces().FilterForStores(&LogEdge, &LogRange);
  }
  return filter;
}

LoadFilter ThreadBarriers::FilterForLoads() {
  LoadFilter filter = kAllPass;
  for (const Mutator* m = Mutator::this_threads_mutators; m != nullptr; m = m->next_on_thread_) {
    if (!IsArmed(*m)) continue;
    // Two heaps have their objects in different places.
    if (filter.barrier != nullptr) return NonePasses(*this);
    filter = m->heap_->spaces().FilterFor(*this);
  }
  return filter;
}

const Mutator* ThreadBarriers::ArmedFor(uintptr_t bits) {
  if (bits == 0) return nullptr;
  const Mutator* m = Mutator::this_threads_mutators;
  while (m != nullptr && !(IsArmed(*m) && m->heap_->spaces().Contains(bits))) {
    m = m->next_on_thread_;
  }
  return m;
}

bool ThreadBarriers::IsArmed(const Mutator& mutator) {
  return mutator.runs() && mutator.barrier_armed_;
}

}  // namespace ebb::internal
