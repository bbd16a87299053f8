#include "heap/mutator.h"

#include <pthread.h>
#include <unistd.h>

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/log/check.h"
#include "absl/strings/str_cat.h"
#include "heap/align.h"
#include "heap/fork_registry.h"
#include "heap/heap.h"
#include "heap/heap_core.h"
#include "heap/mutator_forwarder.h"
#include "heap/region_walk.h"
#include "heap/store_barrier.h"
#include "heap/thread_barriers.h"

namespace ebb {

using internal::HeapCore;

constinit thread_local Mutator* Mutator::this_threads_mutators = nullptr;

namespace {

std::string ThreadName() {
  char name[32] = "";
  pthread_getname_np(pthread_self(), name, sizeof(name));
  return absl::StrCat("thread ", name, " (", gettid(), ")");
}

}  // namespace

Mutator::Mutator(Heap& heap)
    : heap_(heap.core()),
      forwarder_(heap_->NewForwarder()),
      edges_(heap_->remembered()),
      thread_name_(ThreadName()) {
  if (absl::Status status = CheckThreadMayStop("making a Mutator"); !status.ok()) {
    Throw(std::move(status));
  }
  suspended_ = Current(heap);
  if (suspended_ != nullptr) suspended_->Suspend();
  const StressOptions& stress = heap_->options().stress;
  stress_random_ = static_cast<uint64_t>(stress.seed);
  stress_countdown_ = stress.collect_every;
  ParkThread(/*except=*/nullptr);
  // Attaching may throw std::bad_alloc, and then no destructor runs.
  absl::Cleanup undo = [this] {
    UnparkThread();
    if (suspended_ != nullptr) suspended_->Resume();
  };
  heap_->safepoints().Attach(*this);
  std::move(undo).Cancel();
  RearmFastPath();
  next_on_thread_ = this_threads_mutators;
  this_threads_mutators = this;
  UnparkThread();
}

Mutator::~Mutator() {
  const Mutator* found = this_threads_mutators;
  while (found != nullptr && found != this) found = found->next_on_thread_;
  CHECK(found == this) << "an ebb::Mutator must be destroyed by the thread that made it: "
                       << thread_name_;
  // Before newer ones of the same thread and heap, perhaps; not before its own scopes.
  int by_newer = 0;
  for (const Mutator* m = this_threads_mutators; m != this; m = m->next_on_thread_) {
    by_newer += m->suspended_ == this ? 1 : 0;
  }
  CHECK_EQ(suspensions_, by_newer) << "an ebb::Blocking scope must end before its Mutator does: "
                                   << thread_name_;
  CHECK_EQ(no_safepoint_scopes_, 0)
      << "an ebb::NoSafepoint scope must end before its Mutator does: " << thread_name_;
  if (suspensions_ > 0) {
    suspensions_ = 1;
    Resume();
  }
  HandOverGreys();
  CloseAllocator();
  // Before Detach: a fork waits for mutators that are attached only (inv.fork-stacks).
  OrphanLocals();
  heap_->safepoints().Detach(*this);
  Mutator** link = &this_threads_mutators;
  while (*link != this) {
    // A newer one that outlives this one resumes, in its turn, what this one would have.
    if ((*link)->suspended_ == this) (*link)->suspended_ = std::exchange(suspended_, nullptr);
    link = &(*link)->next_on_thread_;
  }
  *link = next_on_thread_;
  UpdateBarriers();
  if (suspended_ != nullptr) suspended_->Resume();
}

void Mutator::OrphanLocals() {
  while (locals_ != nullptr) {
    internal::LocalBase* local = locals_;
    locals_ = local->previous();
    local->Orphan();
  }
}

bool Mutator::IsThisThreads(const Mutator& mutator) {
  const Mutator* found = this_threads_mutators;
  while (found != nullptr && found != &mutator) found = found->next_on_thread_;
  return found != nullptr;
}

void Mutator::AbandonInChild(absl::FunctionRef<void(uintptr_t bits)> keep) {
  ForEachLocal([keep](std::atomic<uintptr_t>& slot) {
    keep(slot.load(std::memory_order_relaxed));  // relaxed: the child has one thread
  });
  CloseAllocator();
  OrphanLocals();
  forwarder_ = nullptr;
  heap_ = nullptr;
}

Mutator* Mutator::Current(const Heap& heap) {
  for (Mutator* m = this_threads_mutators; m != nullptr; m = m->next_on_thread_) {
    if (m->heap_ == heap.core() && m->suspensions_ == 0) return m;
  }
  return nullptr;
}

void Mutator::Suspend() {
  absl::Status status = CheckThread("a Blocking scope");
  if (status.ok()) status = CheckThreadMayStop("a Blocking scope");
  if (!status.ok()) Throw(std::move(status));
  ++epoch_;
  if (suspensions_++ > 0) return;
  allocator_.ForceSlow();
  HandOverGreys();
  heap_->safepoints().Block(*this);
  UpdateBarriers();
}

void Mutator::Resume() {
  if (--suspensions_ > 0) return;
  parked_ = true;
  UnparkThread();
}

// inv.park-all: a thread that waits for the end of a pause, or for a pause of its own, counts as
// running in no heap. Else two threads that are attached to two heaps could each wait for the
// other.
bool Mutator::ParkThread(const Mutator* except) {
  bool any = false;
  for (Mutator* m = this_threads_mutators; m != nullptr; m = m->next_on_thread_) {
    if (m->parked_ || m->suspensions_ > 0) continue;
    if (m == except) {
      // A handshake may be acknowledged for it while it holds a pause.
      m->HandOverGreys();
      continue;
    }
    ++m->epoch_;
    m->allocator_.ForceSlow();
    m->HandOverGreys();
    m->heap_->safepoints().Block(*m);
    m->parked_ = true;
    any = true;
  }
  return any;
}

void Mutator::UnparkThread() {
  for (Mutator* m = this_threads_mutators; m != nullptr;) {
    if (m->parked_ && m->suspensions_ == 0) {
      if (!m->heap_->safepoints().TryUnblock(*m)) {
        // All or none: those that run already must not while this one is waited for.
        ParkThread(/*except=*/nullptr);
        m->heap_->safepoints().AwaitMayRun(*m);
        m = this_threads_mutators;
        continue;
      }
      m->parked_ = false;
      m->ForwardOwedRoots();
      m->RearmFastPath();
    }
    m = m->next_on_thread_;
  }
  UpdateBarriers();
}

// Before the thread touches the heap again (inv.tospace). What it forwards is its own: no edge.
void Mutator::ForwardOwedRoots() {
  if (!std::exchange(roots_owed_, false)) return;
  for (internal::LocalBase* local = locals_; local != nullptr; local = local->previous()) {
    if (local->bits() != 0) local->bits() = forwarder_->Forward(local->bits());
  }
}

void Mutator::UpdateBarriers() { internal::ThreadBarriers::Update(); }

void Mutator::HandOverGreys() {
  if (forwarder_ != nullptr) forwarder_->HandOver();
}

bool Mutator::AcknowledgeHandshake() {
  if (forwarder_ == nullptr) return false;
  if (!barrier_armed_) heap_->AddEvacuationCounts(forwarder_->Finish());
  return forwarder_->TakeFoundGrey();
}

void Mutator::RearmFastPath() {
  if (heap_->options().stress.collect_every != 0) {
    allocator_.ForceSlow();
    return;
  }
  allocator_.RestoreLimit();
  const Safepoints& safepoints = heap_->safepoints();
  if (safepoints.requested() || safepoints.handshake_due(*this) ||
      heap_->external().mutators_wanted()) {
    allocator_.ForceSlow();
  }
}

absl::Status Mutator::CheckThread(const char* what) const {
  if (IsThisThreads(*this)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(what, " by ", ThreadName(), " with the Mutator of ", thread_name_,
                   ", or one that has gone: each thread makes an ebb::Mutator of its own, which "
                   "outlives what is made with it"));
}

absl::Status Mutator::CheckMayStop(const char* what) const {
  if (absl::Status status = CheckThread(what); !status.ok()) return status;
  if (suspensions_ > 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(what, " by ", thread_name_,
                     " on a suspended Mutator: leave the Blocking scope, or use the newer Mutator "
                     "of this thread"));
  }
  return CheckThreadMayStop(what);
}

// Of any heap: while the thread stops for one, cycles may run in the others too (inv.park-all).
absl::Status Mutator::CheckThreadMayStop(const char* what) {
  if (absl::Status status = internal::ForkRegistry::CheckHeapsAreSound(); !status.ok()) {
    return status;
  }
  for (const Mutator* m = this_threads_mutators; m != nullptr; m = m->next_on_thread_) {
    if (m->no_safepoint_scopes_ > 0) {
      return absl::FailedPreconditionError(
          absl::StrCat(what, " by ", m->thread_name_,
                       " in a NoSafepoint scope, an exhaustion handler, the constructor of a "
                       "managed object or the destructor of a counted one: a safepoint may not "
                       "happen there (a counted type's Finalize may allocate)"));
    }
  }
  return absl::OkStatus();
}

absl::Status Mutator::PassSafepoint(const char* what) {
  if (absl::Status status = CheckMayStop(what); !status.ok()) return status;
#if EBB_DEBUG_REFS
  // Whether or not the thread stops, and in whichever of its heaps a cycle runs then.
  for (Mutator* m = this_threads_mutators; m != nullptr; m = m->next_on_thread_) ++m->epoch_;
#endif
  if (allocator_.slow_forced()) {
    allocator_.RestoreLimit();
    if (heap_->safepoints().handshake_due(*this)) {
      HandOverGreys();
      heap_->safepoints().Acknowledge(*this);
      UpdateBarriers();
    }
    if (heap_->safepoints().requested()) {
      ParkThread(/*except=*/nullptr);
      UnparkThread();
    }
  }
  return absl::OkStatus();
}

void Mutator::SafepointOfThread() {
  for (Mutator* m = this_threads_mutators; m != nullptr; m = m->next_on_thread_) {
    if (m->suspensions_ == 0) m->Safepoint();
  }
}

void Mutator::SafepointSlow() {
  if (absl::Status status = PassSafepoint("Safepoint"); !status.ok()) Throw(std::move(status));
  RearmFastPath();
}

void Mutator::CloseAllocator() {
  CloseForMinorCycle();
  if (forwarder_ != nullptr) heap_->AddEvacuationCounts(forwarder_->Finish());
}

void Mutator::CloseForMinorCycle() {
  if (const copyspace::Block* block = allocator_.block(); block != nullptr) {
    allocator_.Close(heap_->spaces().SpaceOf(*block));
  }
  heap_->AddAllocated(allocator_.TakeAllocated());
  edges_.HandOver();
}

void Mutator::ForEachLocal(absl::FunctionRef<void(std::atomic<uintptr_t>&)> visit) {
  for (internal::LocalBase* local = locals_; local != nullptr; local = local->previous()) {
    // A Local's word is an ordinary one, its thread's alone unless that is stopped or blocked. Then
    // a minor cycle may visit it while the collector thread forwards it.
    auto& slot = reinterpret_cast<std::atomic<uintptr_t>&>(local->bits());
    // Relaxed: whether it is null does not change meanwhile.
    if (slot.load(std::memory_order_relaxed) != 0) visit(slot);
  }
}

void Mutator::Throw(absl::Status status) {
  if (absl::IsResourceExhausted(status)) throw HeapExhausted(std::move(status));
  throw MisuseError(std::string(status.message()));
}

void Mutator::StressCollect() {
  const StressOptions& stress = heap_->options().stress;
  if (stress.collect_every == 0 || --stress_countdown_ > 0) return;
  // Uniform in [1, 2N - 1]: N on average, and always 1 for N = 1. SplitMix64 (Steele, Lea, Flood:
  // Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
  uint64_t z = stress_random_ += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  const auto range = static_cast<uint64_t>(2 * stress.collect_every - 1);
  stress_countdown_ = static_cast<int64_t>((z ^ (z >> 31)) % range) + 1;
  // One that the system does not let begin is made up for later.
  const bool minor = heap_->spaces().has_generations() && z % 4 != 0;
  (void)(minor ? heap_->CollectMinor(this) : heap_->Collect(this));
}

absl::StatusOr<uintptr_t> Mutator::AllocateWith(
    size_t object_bytes, bool moves, absl::FunctionRef<absl::StatusOr<uintptr_t>()> attempt) {
  if (absl::Status status = PassSafepoint("allocation"); !status.ok()) return status;
  StressCollect();
  // Also when the exhaustion handler throws: a request for a pause may have been swallowed by then.
  struct Rearm {
    Mutator& mutator;
    ~Rearm() { mutator.RearmFastPath(); }
  } rearm{*this};
  heap_->CollectForExternal(*this);
  return heap_->Allocate(*this, object_bytes, moves, attempt);
}

// A request for a pause that comes between restoring the limit and allocating forces the slow path
// again: that is no lack of room. The request is seen where the fast path is rearmed.
uintptr_t Mutator::AllocateFromOpenRegion(size_t object_bytes, bool align16) {
  const size_t most = object_bytes + internal::AlignmentPadding(align16);
  uintptr_t header = 0;
  do {
    allocator_.RestoreLimit();
    header = internal::AllocateAligned(allocator_, object_bytes, align16);
  } while (header == 0 && allocator_.room() >= most);
  return header;
}

absl::StatusOr<uintptr_t> Mutator::AllocateSlow(const TypeInfo& type, size_t object_bytes,
                                                bool* zeroed) {
  if (object_bytes > static_cast<size_t>(heap_->options().large_object_bytes)) {
    if (zeroed != nullptr) *zeroed = true;
    return AllocateLarge(object_bytes);
  }
  const bool align16 = type.align16;
  return AllocateWith(object_bytes, /*moves=*/true, [&]() -> absl::StatusOr<uintptr_t> {
    uintptr_t header = AllocateFromOpenRegion(object_bytes, align16);
    if (header == 0) {
      const size_t wanted = object_bytes + internal::AlignmentPadding(align16);
      if (absl::Status status = heap_->Refill(*this, wanted); !status.ok()) return status;
      header = AllocateFromOpenRegion(object_bytes, align16);
    }
    if (zeroed != nullptr) *zeroed = allocator_.known_zero();
    return header;
  });
}

absl::StatusOr<uintptr_t> Mutator::AllocateLarge(size_t object_bytes) {
  return AllocateWith(object_bytes, /*moves=*/false,
                      [&] { return AllocateInPlace(heap_->spaces().large(), object_bytes); });
}

absl::StatusOr<uintptr_t> Mutator::AllocatePinned(const TypeInfo& type) {
  const size_t object_bytes = type.object_bytes;
  if (object_bytes > internal::PinnedSpace::kMostObjectBytes) return AllocateLarge(object_bytes);
  return AllocateWith(object_bytes, /*moves=*/false,
                      [&] { return AllocateInPlace(heap_->spaces().pinned(), object_bytes); });
}

template <typename Space>
absl::StatusOr<uintptr_t> Mutator::AllocateInPlace(Space& space, size_t object_bytes) {
  internal::Spaces& spaces = heap_->spaces();
  heap_->Pace(*this);
  absl::StatusOr<uintptr_t> header = space.Allocate(object_bytes, spaces.keep_free());
  if (header.ok()) return header;
  // Empty blocks of the copy space may stand in the way: their memory is given back for this.
  const platform::Bytes wanted =
      RoundUp(internal::LargeSpace::Footprint(object_bytes), copyspace::kBlockSize);
  if (absl::Status status = spaces.copy().PageOutNow(wanted); !status.ok()) return status;
  return space.Allocate(object_bytes, spaces.keep_free());
}

void Mutator::LogIfOld(uintptr_t payload) {
  const internal::Spaces& spaces = heap_->spaces();
  if (!spaces.has_generations() || spaces.InNursery(payload)) return;
  internal::ForEachReferenceOf(internal::TypeOf(payload), payload, [&](uintptr_t edge) {
    const std::atomic<uintptr_t>& slot = internal::Slot(edge);
    // Relaxed: this thread has stored it.
    internal::AfterStore(slot, slot.load(std::memory_order_relaxed));
  });
}

#if EBB_DEBUG_REFS
namespace internal {

Stamp Stamp::Of(const Mutator& mutator) {
  Stamp stamp;
  stamp.mutator_ = &mutator;
  stamp.epoch_ = mutator.epoch();
  return stamp;
}

Stamp Stamp::At(uintptr_t place) {
  const Mutator* found = nullptr;
  for (Mutator* m = Mutator::this_threads_mutators; m != nullptr; m = m->next_on_thread_) {
    if (!m->heap_->spaces().Contains(place)) continue;
    found = m;
    if (m->suspensions_ == 0) break;
  }
  CHECK(found != nullptr)
      << ThreadName() << " touches " << absl::StrCat("0x", absl::Hex(place))
      << ", which lies in no heap that the thread is attached to: make an "
         "ebb::Mutator on this thread first, and keep Fields in managed objects "
         "only";
  CHECK(found->suspensions_ == 0) << found->thread_name()
                                  << " touches its heap in a Blocking scope, in which it counts as "
                                     "stopped: leave the scope first";
  return Of(*found);
}

void LocalBase::CheckHasMutator() const {
  CHECK(head_ != nullptr) << "an ebb::Local is assigned whose Mutator has gone: it is null for "
                             "good; make another one on the Mutator that is there";
}

void Stamp::Check() const {
  const Mutator* m = Mutator::this_threads_mutators;
  while (m != nullptr && m != mutator_) m = m->next_on_thread_;
  CHECK(m != nullptr) << ThreadName()
                      << " uses an ebb::Ref that another thread made, or whose Mutator has gone: "
                         "hand objects over in Fields or Persistents";
  CHECK(epoch_ == m->epoch_) << "a stale ebb::Ref: its thread has passed " << m->epoch_ - epoch_
                             << " safepoints since it was made, and the object may have moved; "
                                "hold it in an ebb::Local";
}

}  // namespace internal
#endif  // EBB_DEBUG_REFS

}  // namespace ebb
