#include "heap/tracer.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/log/check.h"
#include "copyspace/block.h"
#include "copyspace/forwarding_word.h"
#include "heap/align.h"
#include "platform/spin_wait.h"

namespace ebb::internal {

using copyspace::Block;
using copyspace::ForwardingWord;
using copyspace::Reference;

namespace {

// How far ahead of the copies their cache lines are fetched: the stores then do not miss, and the
// next claim, which waits for all earlier stores, comes through soon.
constexpr size_t kCopyAhead = 1024;

std::atomic<uintptr_t>& Slot(uintptr_t edge) {
  return *reinterpret_cast<std::atomic<uintptr_t>*>(edge);
}

const TypeInfo& TypeOf(Reference object) {
  return *reinterpret_cast<const TypeInfo*>(ForwardingWord::Of(object).TypeBits());
}

// What fits into one or two vector registers.
using Words2 [[gnu::vector_size(16)]] = uint64_t;
struct Words4 {
  Words2 first, second;
};

// Copies the first and the last Half, which may overlap: both are read before either is stored.
template <typename Half>
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void CopyEnds(Reference to, Reference from, size_t bytes) {
  const size_t last = bytes - sizeof(Half);
  Half head, tail;
  std::memcpy(&head, reinterpret_cast<const void*>(from), sizeof(Half));
  std::memcpy(&tail, reinterpret_cast<const void*>(from + last), sizeof(Half));
  std::memcpy(reinterpret_cast<void*>(to), &head, sizeof(Half));
  std::memcpy(reinterpret_cast<void*>(to + last), &tail, sizeof(Half));
}

// Copies `bytes` (a multiple of 8, at least 8) with few branches for small objects, and never reads
// past the object.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void CopyPayload(Reference to, Reference from, size_t bytes) {
  if (bytes <= 16) return CopyEnds<uint64_t>(to, from, bytes);
  if (bytes <= 32) return CopyEnds<Words2>(to, from, bytes);
  if (bytes <= 64) return CopyEnds<Words4>(to, from, bytes);
  std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
}

}  // namespace

Tracer::Tracer(Trace& trace, int index)
    : trace_(trace),
      spaces_(trace.spaces_),
      space_(trace.spaces_.copy()),
      index_(index),
      stack_capacity_(trace.options_.worklist_capacity == 0
                          ? kStackCapacity
                          : std::min<size_t>(kStackCapacity, trace.options_.worklist_capacity)),
      stack_(std::make_unique<Grey[]>(stack_capacity_)),
      deque_(/*initial_capacity=*/kStackCapacity,
             /*max_capacity=*/trace.options_.worklist_capacity == 0
                 ? size_t{1} << 40
                 : static_cast<size_t>(trace.options_.worklist_capacity)) {
  const uint32_t workers = static_cast<uint32_t>(trace.options_.workers);
  for (uint32_t sender = 0; workers > 1 && sender < workers; ++sender) {
    inboxes_.push_back(std::make_unique<EdgeMailbox>(std::bit_floor(kInboxes / workers)));
  }
}

platform::Bytes Tracer::memory() const {
  platform::Bytes sum(static_cast<int64_t>(sizeof(Tracer) + stack_capacity_ * sizeof(Grey)));
  for (const auto& inbox : inboxes_) sum += inbox->memory();
  return sum + deque_.memory();
}

// Forwarding. What is always inlined is the loop of the trace: compilers find it too large, and a
// call for each edge costs a tenth of the whole.

ABSL_ATTRIBUTE_ALWAYS_INLINE inline bool Tracer::MustEvacuate(Reference reference) {
  if (space_.InReserve(reference)) [[likely]]
    return true;
  if (space_.Contains(reference)) {
    // Objects that an earlier cycle had to leave in what is the active region now.
    return space_.has_retained() && space_.InFromSpace(reference);
  }
  MarkInPlace(reference);
  return false;
}

// inv.one-owner makes this the only worker that evacuates the object: nothing is claimed. Shared:
// others look at the word meanwhile.
template <bool kShared>
ABSL_ATTRIBUTE_ALWAYS_INLINE inline Reference Tracer::Evacuate(Reference from) {
  ForwardingWord& word = ForwardingWord::Of(from);
  const ForwardingWord::Snapshot seen = word.LoadPlain();
  if (seen.is_forwarded()) return seen.forwarded();
  const int parity = space_.cycle_parity();
  if (!seen.claimable_in(parity)) return from;  // retained in this cycle
  const TypeInfo& type = *reinterpret_cast<const TypeInfo*>(seen.type());
  const Reference to = Copy(from, type);
  if (to == 0) [[unlikely]] {
    space_.RetainRegionOf(from);
    if constexpr (kShared) {
      word.Retain(seen.type(), parity);
    } else {
      word.RetainPlain(seen.type(), parity);
    }
    NoteRetained(from, type);
    return from;
  }
  if constexpr (kShared) {
    word.Commit(to);
  } else {
    word.CommitPlain(to);
  }
  Push(to, type, from);
  return to;
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
        StoreEdge(message.edge, Evacuate<true>(message.from));
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

ABSL_ATTRIBUTE_ALWAYS_INLINE inline Reference Tracer::Copy(Reference from, const TypeInfo& type) {
  const size_t bytes = type.ObjectBytes(from);
  uintptr_t header = 0;
  if (!type.align16 && trace_.options_.fail_evacuation == 0) [[likely]] {
    header = allocator_.TryAllocate(bytes);
  }
  if (header == 0) [[unlikely]] {
    header = AllocateSlow(type, bytes);
    if (header == 0) return 0;
  }
  const Reference to = header + kHeaderBytes;
  __builtin_prefetch(reinterpret_cast<const void*>(to + kCopyAhead), /*rw=*/1);
  ForwardingWord::Of(to).Initialize(reinterpret_cast<uintptr_t>(&type));
  CopyPayload(to, from, bytes - kHeaderBytes);
  ++counts_.evacuated_objects;
  counts_.evacuated_bytes += static_cast<int64_t>(bytes);
  return to;
}

bool Tracer::FailsByOrder() {
  const int64_t every = trace_.options_.fail_evacuation;
  if (every == 0) return false;
  // Relaxed: a count that publishes nothing.
  return (trace_.evacuations_.fetch_add(1, std::memory_order_relaxed) + 1) % every == 0;
}

uintptr_t Tracer::AllocateSlow(const TypeInfo& type, size_t bytes) {
  if (FailsByOrder()) return 0;
  for (;;) {
    if (uintptr_t header = AllocateAligned(allocator_, bytes, type.align16); header != 0) {
      return header;
    }
    if (!allocator_.Refill(space_, copyspace::AcquirePurpose::kEvacuation,
                           bytes + AlignmentPadding(type.align16))) {
      return 0;
    }
  }
}

void Tracer::NoteRetained(Reference object, const TypeInfo& type) {
  ++counts_.retained_objects;
  Push(object, type, /*original=*/0);
}

void Tracer::MarkInPlace(Reference object) {
  if (spaces_.TryMarkInPlace(object)) Push(object, TypeOf(object), /*original=*/0);
}

// Relaxed, as is every access to an edge: mutators are stopped, one worker scans the object, and
// the pause's end publishes what it stored.
inline void Tracer::StoreEdge(uintptr_t edge, Reference reference) {
  Slot(edge).store(reference, std::memory_order_relaxed);
}

template <bool kShared>
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void Tracer::ForwardEdge(uintptr_t edge) {
  const Reference reference = Slot(edge).load(std::memory_order_relaxed);  // see StoreEdge
  if (reference == 0 || !MustEvacuate(reference)) return;
  if constexpr (kShared) {
    if (const int owner = trace_.owners_.Find(reference, index_); owner != index_) {
      return ForwardByOwner(owner, edge, reference);
    }
  }
  StoreEdge(edge, Evacuate<kShared>(reference));
}

void Tracer::ForwardRoot(std::atomic<uintptr_t>& slot) {
  const uintptr_t edge = reinterpret_cast<uintptr_t>(&slot);
  // Helpers may be at work as soon as they have been recruited.
  if (trace_.job_->recruited()) {
    ForwardEdge<true>(edge);
  } else {
    ForwardEdge<false>(edge);
  }
}

// Scanning.

template <bool kShared>
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void Tracer::Scan(Grey grey) {
  const TypeInfo& type = TypeOf(grey.object());
  if (type.kind == ObjectKind::kFixed) [[likely]] {
    ForEachReference(type, grey.object(), [this](uintptr_t edge) ABSL_ATTRIBUTE_ALWAYS_INLINE {
      ForwardEdge<kShared>(edge);
    });
  } else {
    ScanArray<kShared>(grey, type);
  }
}

template <bool kShared>
void Tracer::ScanArray(Grey grey, const TypeInfo& type) {
  const uint64_t length = TypeInfo::ArrayLength(grey.object());
  // Chunk numbers have 16 bits, so very long arrays get longer chunks.
  const uint64_t chunk_elements = std::max(kChunkElements, length / 65535 + 1);
  const uint64_t begin = grey.chunk() * chunk_elements;
  uint64_t end = std::min(length, begin + chunk_elements);
  if (end < length) {
    // The rest is queued first, so that another worker can have it while this one scans. Where
    // there is no room to queue it, it is scanned here and now.
    if (stack_size_ < stack_capacity_ || SpillStack()) {
      stack_[stack_size_++] = Grey(grey.object(), grey.chunk() + 1);
    } else {
      end = length;
    }
  }
  const uintptr_t elements = type.ArrayElements(grey.object());
  for (uint64_t i = begin; i < end; ++i) {
    ForEachReference(type, elements + i * type.element_bytes,
                     [this](uintptr_t edge)
                         ABSL_ATTRIBUTE_ALWAYS_INLINE { ForwardEdge<kShared>(edge); });
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

void Tracer::PushSlow(Grey grey, Reference original) {
  if (SpillStack()) {
    stack_[stack_size_++] = grey;
    return;
  }
  ++counts_.overflows;
  if (original == 0) {
    // Relaxed: read when the helpers have been joined.
    trace_.rescan_.store(true, std::memory_order_relaxed);
    return;
  }
  // The original is dead, its body is this thread's alone, and its header leads to the copy.
  *reinterpret_cast<Reference*>(original) = overflow_;
  overflow_ = original;
}

bool Tracer::SpillStack() {
  const size_t half = std::max<size_t>(stack_size_ / 2, 1);
  size_t moved = 0;
  while (moved < half && deque_.Push(stack_[moved].bits())) ++moved;
  if (moved == 0) return false;
  std::move(stack_.get() + moved, stack_.get() + stack_size_, stack_.get());
  stack_size_ -= moved;
  return true;
}

bool Tracer::PopOverflow(Grey& grey) {
  if (overflow_ == 0) return false;
  const Reference original = overflow_;
  overflow_ = *reinterpret_cast<const Reference*>(original);
  grey = Grey(ForwardingWord::Of(original).LoadPlain().forwarded());
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
  return PopOverflow(grey);
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline void Tracer::Prefetch(Grey grey) {
  const TypeInfo& type = TypeOf(grey.object());
  if (type.kind != ObjectKind::kFixed) return;
  ForEachReference(type, grey.object(), [](uintptr_t edge) {
    // Relaxed: only a hint comes of it.
    const Reference referent = Slot(edge).load(std::memory_order_relaxed);
    __builtin_prefetch(reinterpret_cast<const void*>(referent - kHeaderBytes), /*rw=*/1);
  });
}

// What others may be waiting for: edges to this worker's objects, and work.
void Tracer::ServeOthers() {
  scans_until_share_ = kShareInterval;
  Receive();
  if (stack_size_ >= 2 && trace_.termination_.idle_hint() > 0 && deque_.EmptyHint()) SpillStack();
}

// Draining.

template <bool kShared>
void Tracer::DrainLocal() {
  for (;;) {
    Grey grey;
    while (window_size_ < kWindow && Pop(grey)) {
      Prefetch(grey);
      window_[(window_begin_ + window_size_++) % kWindow] = grey;
    }
    if (window_size_ == 0) return;
    grey = window_[window_begin_];
    window_begin_ = (window_begin_ + 1) % kWindow;
    --window_size_;
    Scan<kShared>(grey);
    if constexpr (kShared) {
      if (--scans_until_share_ == 0) ServeOthers();
    } else {
      if (++scans_alone_ >= kAlone && stack_size_ > 0 && trace_.MayRecruit()) return;
    }
  }
}

bool Tracer::DrainAlone() {
  DrainLocal<false>();
  return window_size_ == 0 && stack_size_ == 0 && overflow_ == 0 && deque_.EmptyHint();
}

void Tracer::DrainShared() {
  platform::SpinWait wait;
  for (;;) {
    DrainLocal<true>();
    Grey grey;
    if (Receive()) continue;
    if (Steal(grey)) {
      stack_[stack_size_++] = grey;
      continue;
    }
    // What was sent is in this worker's care until it has been taken: inv.work-has-active-owner.
    if (!AllSentIsTaken()) {
      wait.Once();
      continue;
    }
    const auto has_work = [this] { return trace_.AnyDequeHasWork() || HasMail(); };
    if (!trace_.termination_.AwaitWork(has_work)) return;
    wait.Reset();
  }
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

void Tracer::Rescan(Reference object) {
  const TypeInfo& type = TypeOf(object);
  if (type.has_references()) Scan<false>(Grey(object));
}

TraceCounts Tracer::Finish() {
  allocator_.Close(space_);
  scans_alone_ = 0;
  deque_.ResetWhenQuiescent();
  return std::exchange(counts_, TraceCounts());
}

}  // namespace ebb::internal
