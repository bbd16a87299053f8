#include "heap/tracer.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/log/check.h"
#include "absl/types/span.h"
#include "copyspace/forwarding_word.h"
#include "heap/region_walk.h"
#include "platform/clock.h"
#include "platform/spin_wait.h"

namespace ebb::internal {

using copyspace::ForwardingWord;
using copyspace::Reference;

Tracer::Tracer(Trace& trace, int index)
    : trace_(trace),
      spaces_(trace.spaces_),
      space_(trace.spaces_.copy()),
      index_(index),
      stack_capacity_(trace.options_.worklist_capacity == 0
                          ? kStackCapacity
                          : std::min<size_t>(kStackCapacity, trace.options_.worklist_capacity)),
      evacuator_(space_, trace.rules_),
      stack_(std::make_unique<Grey[]>(stack_capacity_)),
      deque_(/*initial_capacity=*/kStackCapacity,
             /*max_capacity=*/trace.options_.worklist_capacity == 0
                 ? kDequeCapacity
                 : static_cast<size_t>(trace.options_.worklist_capacity)) {
  const uint32_t workers = static_cast<uint32_t>(trace.options_.workers);
  // An assistant owns no block, so nobody sends it anything.
  const bool owns_blocks = workers > 1 && static_cast<uint32_t>(index) < workers;
  for (uint32_t sender = 0; owns_blocks && sender < workers; ++sender) {
    inboxes_.push_back(std::make_unique<EdgeMailbox>(std::bit_floor(kInboxEdges / workers)));
  }
}

platform::Bytes Tracer::memory() const {
  platform::Bytes sum(static_cast<int64_t>(sizeof(Tracer) + stack_capacity_ * sizeof(Grey)));
  for (const auto& inbox : inboxes_) sum += inbox->memory();
  return sum + deque_.memory();
}

// Forwarding. What is always inlined is the loop of the trace: see heap/evacuator.h.

ABSL_ATTRIBUTE_ALWAYS_INLINE inline bool Tracer::MustEvacuate(Reference reference) {
  if (space_.InReserve(reference)) [[likely]]
    return true;
  if (space_.Contains(reference)) {
    // Objects that an earlier cycle had to leave in what is the active region now.
    return space_.has_retained() && space_.InFromSpace(reference);
  }
  // What is young is none of this trace's business.
  if (spaces_.InNursery(reference)) return false;
  MarkInPlace(reference);
  return false;
}

// inv.one-owner makes this the only worker that evacuates the object: nothing is claimed.
template <bool kPublished>
ABSL_ATTRIBUTE_ALWAYS_INLINE inline Reference Tracer::Evacuate(Reference from) {
  return evacuator_.EvacuateOwned<kPublished>(
      from, [this](Reference object, const TypeInfo& type, Reference original)
                ABSL_ATTRIBUTE_ALWAYS_INLINE { Push(object, type, original); });
}

void Tracer::ForwardByOwner(int owner, uintptr_t edge, Reference from) {
  // What many edges lead to has mostly been settled.
  const ForwardingWord::Snapshot seen = ForwardingWord::Of(from).Load();
  if (seen.is_forwarded()) return StoreEdge(edge, seen.forwarded());
  EdgeMailbox& mailbox = *trace_.tracers_[static_cast<size_t>(owner)]->inboxes_[index_];
  platform::SpinWait wait;
  while (!mailbox.TrySend({edge, from})) {
    // The owner may be waiting in the same way. Receiving sends nothing, so one of the two goes on.
    if (!Receive()) wait.Once();
  }
}

bool Tracer::Receive() {
  bool any = false;
  for (const auto& inbox : inboxes_) {
    while (const uint32_t count = std::min(inbox->waiting(), kReceived)) {
      any = true;
      for (uint32_t i = 0; i < count; ++i) {
        __builtin_prefetch(reinterpret_cast<const void*>(inbox->Peek(i).from - kHeaderBytes),
                           /*rw=*/1);
      }
      for (uint32_t i = 0; i < count; ++i) {
        const EdgeMailbox::Message message = inbox->Peek(i);
        StoreEdge(message.edge, Evacuate</*kPublished=*/true>(message.from));
      }
      inbox->Take(count);
    }
  }
  return any;
}

bool Tracer::HasMail() const {
  return std::any_of(inboxes_.begin(), inboxes_.end(),
                     [](const auto& inbox) { return inbox->waiting() != 0; });
}

bool Tracer::AllSentIsTaken() const {
  return std::all_of(trace_.tracers_.begin(), trace_.tracers_.end(), [this](const auto& tracer) {
    return tracer->inboxes_.empty() || tracer->inboxes_[index_]->all_taken();
  });
}

void Tracer::MarkInPlace(Reference object) {
  if (spaces_.TryMarkInPlace(object)) Push(object, TypeOf(object), /*original=*/0);
}

// Relaxed, as is every access to an edge while mutators are stopped: one worker scans the object,
// and the pause's end publishes what it stored.
inline void Tracer::StoreEdge(uintptr_t edge, Reference reference) {
  Slot(edge).store(reference, std::memory_order_relaxed);
}

template <Tracer::Mode kMode>
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void Tracer::ForwardEdge(uintptr_t edge) {
  if constexpr (kMode == Mode::kShared) {
    // Acquire: pairs with Field's release; a large object's header that is looked at is complete.
    Reference reference = Slot(edge).load(std::memory_order_acquire);
    if (reference == 0 || !MustEvacuate(reference)) return;
    const Reference to = evacuator_.EvacuateShared(
        reference, [this](Reference object, const TypeInfo& type, Reference original) {
          Push(object, type, original);
        });
    // Release: publishes the copy to who loads it from here. Should the edge hold something else by
    // now, a mutator stored it, and that is no from-space reference (inv.tospace).
    Slot(edge).compare_exchange_strong(reference, to, std::memory_order_release,
                                       std::memory_order_relaxed);
    return;
  }
  const Reference reference = Slot(edge).load(std::memory_order_relaxed);  // see StoreEdge
  if (reference == 0 || !MustEvacuate(reference)) return;
  if constexpr (kMode == Mode::kOwned) {
    if (const int owner = trace_.owners_.Find(reference, index_); owner != index_) {
      return ForwardByOwner(owner, edge, reference);
    }
  }
  constexpr bool kPublished = kMode == Mode::kOwned;  // other workers may look at the word
  StoreEdge(edge, Evacuate<kPublished>(reference));
}

void Tracer::ForwardRoot(std::atomic<uintptr_t>& slot) {
  const uintptr_t edge = reinterpret_cast<uintptr_t>(&slot);
  // Helpers may be at work as soon as they have been recruited.
  if (trace_.job_->recruited()) {
    ForwardEdge<Mode::kOwned>(edge);
  } else {
    ForwardEdge<Mode::kAlone>(edge);
  }
}

void Tracer::ForwardRootShared(std::atomic<uintptr_t>& slot) {
  ForwardEdge<Mode::kShared>(reinterpret_cast<uintptr_t>(&slot));
}

// Scanning.

template <Tracer::Mode kMode>
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void Tracer::Scan(Grey grey) {
  const TypeInfo& type = TypeOf(grey.object());
  if (type.kind != ObjectKind::kArray) [[likely]] {
    ForEachReference(type, grey.object(), [this](uintptr_t edge) ABSL_ATTRIBUTE_ALWAYS_INLINE {
      ForwardEdge<kMode>(edge);
    });
  } else {
    ScanArray<kMode>(grey, type);
  }
}

template <Tracer::Mode kMode>
void Tracer::ScanArray(Grey grey, const TypeInfo& type) {
  const uint64_t length = TypeInfo::ArrayLength(grey.object());
  // Chunk numbers have 16 bits, so very long arrays get longer chunks.
  const uint64_t chunk_elements = std::max(kChunkElements, length / 65535 + 1);
  const uint64_t begin = grey.chunk() * chunk_elements;
  uint64_t end = std::min(length, begin + chunk_elements);
  if (end < length) {
    // The rest is queued first, where another worker can have it while this one scans. Where there
    // is no room to queue it, it is scanned here and now.
    const Grey rest(grey.object(), grey.chunk() + 1);
    const bool shared = kMode != Mode::kAlone && deque_.Push(rest.bits());
    if (!shared && !TryPush(rest)) end = length;
  }
  const uintptr_t elements = type.ArrayElements(grey.object());
  for (uint64_t i = begin; i < end; ++i) {
    if (i + kElementsAhead < end) {
      PrefetchReferents(type, elements + (i + kElementsAhead) * type.element_bytes);
    }
    ForEachReference(type, elements + i * type.element_bytes,
                     [this](uintptr_t edge)
                         ABSL_ATTRIBUTE_ALWAYS_INLINE { ForwardEdge<kMode>(edge); });
  }
  if constexpr (kMode == Mode::kShared) {
    if (!space_.Contains(grey.object())) {
      // Relaxed: see scanned_in_place.
      trace_.scanned_in_place_.fetch_add(static_cast<int64_t>((end - begin) * type.element_bytes),
                                         std::memory_order_relaxed);
    }
  }
}

// Worklists.

ABSL_ATTRIBUTE_ALWAYS_INLINE inline void Tracer::Push(Reference object, const TypeInfo& type,
                                                      Reference original) {
  if (!type.has_references()) return;
  if (stack_size_ < stack_capacity_) [[likely]] {
    stack_[stack_size_++] = Grey(object);
    return;
  }
  PushSlow(Grey(object), original);
}

bool Tracer::TryPush(Grey grey) {
  if (stack_size_ == stack_capacity_ && !SpillStack()) return false;
  stack_[stack_size_++] = grey;
  return true;
}

void Tracer::PushSlow(Grey grey, Reference original) {
  if (TryPush(grey)) return;
  ++overflows_;
  if (original == 0) {
    // Relaxed: read when the helpers have been joined.
    trace_.rescan_.store(true, std::memory_order_relaxed);
    return;
  }
  overflow_.Push(original);
}

bool Tracer::SpillStack(size_t most) {
  size_t moved = 0;
  while (moved < most && deque_.Push(stack_[moved].bits())) ++moved;
  if (moved == 0) {
    moved = std::min(most, GreyStock::kBatch);
    if (!trace_.stock_.Put(absl::MakeConstSpan(stack_.get(), moved))) return false;
  }
  std::move(stack_.get() + moved, stack_.get() + stack_size_, stack_.get());
  stack_size_ -= moved;
  return true;
}

bool Tracer::PopOverflow(Grey& grey) {
  if (overflow_.empty()) return false;
  grey = Grey(ForwardingWord::Of(overflow_.Pop()).LoadPlain().forwarded());
  return true;
}

bool Tracer::Pop(Grey& grey) {
  if (stack_size_ > 0) {
    grey = stack_[--stack_size_];
    return true;
  }
  if (std::optional<uint64_t> bits = deque_.Take(); bits.has_value()) {
    grey = Grey::FromBits(*bits);
    return true;
  }
  if (TakeFromStock()) {
    grey = stack_[--stack_size_];
    return true;
  }
  return PopOverflow(grey);
}

bool Tracer::TakeFromStock() {
  if (trace_.stock_.empty_hint()) return false;
  stack_size_ = trace_.stock_.Take(stack_.get());
  return stack_size_ > 0;
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline void Tracer::Prefetch(Grey grey) {
  const TypeInfo& type = TypeOf(grey.object());
  if (type.kind != ObjectKind::kArray) PrefetchReferents(type, grey.object());
}

// What others may be waiting for: edges to this worker's objects, and work.
void Tracer::ServeOthers() {
  scans_until_share_ = kShareInterval;
  // Relaxed: see Abandon.
  if (trace_.abandoned_.load(std::memory_order_relaxed)) return DropWork();
  Receive();
  if (stack_size_ >= 2 && trace_.work_wanted() && deque_.EmptyHint()) SpillStack();
}

void Tracer::DropWork() {
  window_size_ = stack_size_ = 0;
  overflow_ = GreyChain();
  while (deque_.Take().has_value()) {
  }
  trace_.stock_.Clear();
}

// Draining.

template <Tracer::Mode kMode>
ABSL_ATTRIBUTE_ALWAYS_INLINE inline bool Tracer::ScanNext() {
  Grey grey;
  while (window_size_ < kWindow && Pop(grey)) {
    Prefetch(grey);
    window_[(window_begin_ + window_size_++) % kWindow] = grey;
  }
  if (window_size_ == 0) return false;
  grey = window_[window_begin_];
  window_begin_ = (window_begin_ + 1) % kWindow;
  --window_size_;
  Scan<kMode>(grey);
  return true;
}

template <Tracer::Mode kMode>
void Tracer::DrainLocal() {
  while (ScanNext<kMode>()) {
    if constexpr (kMode != Mode::kAlone) {
      if (--scans_until_share_ == 0) ServeOthers();
    } else {
      if (++scans_alone_ >= kAlone && stack_size_ > 0 && trace_.MayRecruit()) return;
    }
  }
}

void Tracer::Assist(platform::Bytes most, int64_t deadline) {
  // Between two looks at the clock: objects or chunks of arrays, and bytes evacuated, about.
  constexpr int kScans = 8;
  constexpr int64_t kBytes = 16 << 10;
  const int64_t enough = evacuator_.counts().evacuated_bytes + most.count();
  do {
    const int64_t look_at = evacuator_.counts().evacuated_bytes + kBytes;
    for (int i = 0; i < kScans && evacuator_.counts().evacuated_bytes < look_at; ++i) {
      if (ScanNext<Mode::kShared>() || TakeShared() || StealSome()) continue;
      trace_.WantWorkToShare();
      return GiveAway();
    }
    // So that the workers need not wait for the end of this.
    if (stack_size_ >= 2 && deque_.EmptyHint()) SpillStack();
  } while (evacuator_.counts().evacuated_bytes < enough && platform::MonotonicNanos() < deadline);
  GiveAway();
}

void Tracer::GiveAway() {
  for (; window_size_ > 0; --window_size_) {
    const Grey grey = window_[window_begin_];
    window_begin_ = (window_begin_ + 1) % kWindow;
    if (!TryPush(grey)) Scan<Mode::kShared>(grey);  // nobody else can be told of it
  }
  while (stack_size_ > 0) {
    if (!SpillStack(stack_size_)) Scan<Mode::kShared>(stack_[--stack_size_]);
  }
  trace_.greys_.Add(std::exchange(overflow_, GreyChain()));
}

bool Tracer::DrainAlone() {
  DrainLocal<Mode::kAlone>();
  return window_size_ == 0 && stack_size_ == 0 && overflow_.empty() && deque_.EmptyHint() &&
         trace_.stock_.empty_hint();
}

template <Tracer::Mode kMode>
void Tracer::DrainBesideOthers() {
  platform::SpinWait wait;
  for (;;) {
    DrainLocal<kMode>();
    if ((kMode == Mode::kOwned ? Receive() : TakeShared()) || StealSome()) {
      wait.Reset();
      continue;
    }
    // What was sent is in this worker's care until it has been taken: inv.work-has-active-owner.
    // What assistants have taken, they will soon share or leave in their deques; a worker that went
    // on to a handshake would wait for them all the same, and idly.
    if (!AllSentIsTaken() || (kMode == Mode::kShared && trace_.assisted())) {
      wait.Once();
      continue;
    }
    const auto has_work = [this] {
      return trace_.AnyWorkToShare() || HasMail() ||
             (kMode == Mode::kShared && !trace_.greys_.empty_hint());
    };
    if (!trace_.termination_.AwaitWork(has_work)) return;
    wait.Reset();
  }
}

bool Tracer::TakeShared() {
  if (trace_.greys_.empty_hint()) return false;
  overflow_.Splice(trace_.greys_.TakeChain());
  bool any = !overflow_.empty();
  while (stack_size_ < stack_capacity_) {
    const Reference object = trace_.greys_.TakeInPlace();
    if (object == 0) break;
    stack_[stack_size_++] = Grey(object);
    any = true;
  }
  return any;
}

bool Tracer::Steal(Grey& grey) {
  const size_t count = trace_.tracers_.size();
  for (size_t i = 1; i < count; ++i) {
    Tracer& victim = *trace_.tracers_[(static_cast<size_t>(index_) + i) % count];
    if (std::optional<uint64_t> bits = victim.deque_.Steal(); bits.has_value()) {
      grey = Grey::FromBits(*bits);
      return true;
    }
  }
  return false;
}

bool Tracer::StealSome() {
  if (TakeFromStock()) return true;
  Grey grey;
  if (!Steal(grey)) return false;
  stack_[stack_size_++] = grey;
  return true;
}

void Tracer::Rescan(Reference object) {
  const TypeInfo& type = TypeOf(object);
  if (type.has_references()) Scan<Mode::kAlone>(Grey(object));
}

TraceCounts Tracer::Finish() {
  scans_alone_ = 0;
  deque_.ResetWhenQuiescent();
  return {evacuator_.Finish(), std::exchange(overflows_, 0)};
}

template void Tracer::DrainBesideOthers<Tracer::Mode::kOwned>();
template void Tracer::DrainBesideOthers<Tracer::Mode::kShared>();

}  // namespace ebb::internal
