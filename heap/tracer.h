// Tracer: one worker's part of a cycle's trace. What the workers share is in heap/trace.h.
// Design: docs/design/tracing.md

#ifndef EBB_HEAP_TRACER_H_
#define EBB_HEAP_TRACER_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "background/chase_lev_deque.h"
#include "copyspace/geometry.h"
#include "heap/edge_mailbox.h"
#include "heap/evacuator.h"
#include "heap/grey.h"
#include "heap/shared_greys.h"
#include "heap/spaces.h"
#include "heap/trace.h"
#include "heap/type_info.h"

namespace ebb::internal {

// One worker. Grey objects go through five containers, the cheapest first: `window_`, a FIFO whose
// entries' referents are being prefetched; `stack_`, private; `deque_`, which others steal from;
// when that is full the trace's GreyStock; and where there is no memory for that, a list threaded
// through the dead from-space originals, which needs none at all.
class Tracer {
 public:
  Tracer(Trace& trace, int index);

  // With mutators stopped; beside running ones.
  void ForwardRoot(std::atomic<uintptr_t>& slot);
  void ForwardRootShared(std::atomic<uintptr_t>& slot);
  // Scans until this worker finds nothing more anywhere. Alone: while no other thread takes part;
  // returns false if helpers ought to be recruited now.
  bool DrainAlone();
  // Beside other workers, mutators being stopped.
  void DrainOwned() { DrainBesideOthers<Mode::kOwned>(); }
  // Beside other workers and running mutators.
  void DrainShared() { DrainBesideOthers<Mode::kShared>(); }

  // A mutator assists a trace that is late: scans until it has evacuated `most` (what it scans in
  // place does not count), or `deadline` (MonotonicNanos) has passed, or nothing is to be had. What
  // is left is in its deque, or with Trace::greys.
  void Assist(platform::Bytes most, int64_t deadline);
  // Takes over what mutators have handed in; false if that is nothing.
  bool TakeShared();
  // Takes over some of what is in stock, or an object from another's deque; false if it found none.
  bool StealSome();
  // Scans an object again that was marked or retained in place.
  void Rescan(copyspace::Reference object);
  // Closes the allocator and hands over the counts.
  TraceCounts Finish();

  background::ChaseLevDeque& deque() { return deque_; }
  platform::Bytes memory() const;

 private:
  // Prefetch distance: so many grey objects are between the prefetch of their referents' headers
  // and their scan (Cher, Hosking, Vitek: Software Prefetching for Mark-Sweep Garbage Collection,
  // ASPLOS 2004).
  static constexpr size_t kWindow = 32;
  // As far ahead, in elements, are the referents of an array prefetched.
  static constexpr uint64_t kElementsAhead = 32;
  static constexpr size_t kStackCapacity = 4096;
  // A deque copies all it has when it grows: no more of that than goes unnoticed.
  static constexpr size_t kDequeCapacity = 4 * kStackCapacity;
  // Elements of an array that are scanned in one go.
  static constexpr uint64_t kChunkElements = 512;
  // Objects scanned alone before helpers are woken: less is done sooner than they arrive.
  static constexpr int64_t kAlone = 1024;
  // How often a worker looks whether others are idle, in objects scanned.
  static constexpr uint32_t kShareInterval = 32;

  // Edges that are received in one go, after a prefetch of what they lead to.
  static constexpr uint32_t kReceived = 16;
  // Edges that may be on their way to one worker.
  static constexpr uint32_t kInboxEdges = 4096;

  // Who else forwards: nobody; other workers, each for the blocks that it owns; or other workers
  // and running mutators, so that objects are claimed and edges compare-exchanged.
  enum class Mode { kAlone, kOwned, kShared };

  // Whether a reference that is not null leads into from-space; marks what is marked in place.
  bool MustEvacuate(copyspace::Reference reference);
  // The new reference of an object of this worker's, or its old one if it had to be retained.
  template <bool kPublished>
  copyspace::Reference Evacuate(copyspace::Reference from);
  // Leaves the edge to the worker that owns the object.
  void ForwardByOwner(int owner, uintptr_t edge, copyspace::Reference from);
  // Forwards the edges that others have left to this worker; false if there were none.
  bool Receive();
  bool HasMail() const;
  bool AllSentIsTaken() const;
  static void StoreEdge(uintptr_t edge, copyspace::Reference reference);
  template <Mode kMode>
  void ForwardEdge(uintptr_t edge);
  template <Mode kMode>
  void Scan(Grey grey);
  template <Mode kMode>
  void ScanArray(Grey grey, const TypeInfo& type);
  // Scans the next grey object of this worker's; false if there is none.
  template <Mode kMode>
  bool ScanNext();
  template <Mode kMode>
  void DrainLocal();
  template <Mode kMode>
  void DrainBesideOthers();

  void MarkInPlace(copyspace::Reference object);

  // Queues an object that has references. `original` is its dead from-space original, 0 if none.
  void Push(copyspace::Reference object, const TypeInfo& type, copyspace::Reference original);
  [[gnu::noinline]] void PushSlow(Grey grey, copyspace::Reference original);
  // Pushes onto the stack, after making room in it if need be; false if there is none to be made.
  bool TryPush(Grey grey);
  bool Pop(Grey& grey);
  bool PopOverflow(Grey& grey);
  // Into the stack, which is empty.
  bool TakeFromStock();
  bool Steal(Grey& grey);
  static void Prefetch(Grey grey);
  // Moves the older half of the stack, which holds the larger subgraphs, to where others can have
  // it; or up to `most` of it, the oldest first. False if there is no room.
  bool SpillStack() { return SpillStack(std::max<size_t>(stack_size_ / 2, 1)); }
  bool SpillStack(size_t most);
  void ServeOthers();
  // Forgets all that is grey.
  void DropWork();
  // Leaves the window, the stack and the overflow list to others.
  void GiveAway();

  Trace& trace_;
  Spaces& spaces_;
  copyspace::CopySpace& space_;
  const int index_;
  const size_t stack_capacity_;

  Evacuator evacuator_;
  std::array<Grey, kWindow> window_;
  size_t window_begin_ = 0;
  size_t window_size_ = 0;
  size_t stack_size_ = 0;
  GreyChain overflow_;
  uint32_t scans_until_share_ = kShareInterval;
  int64_t scans_alone_ = 0;
  int64_t overflows_ = 0;
  std::unique_ptr<Grey[]> stack_;
  background::ChaseLevDeque deque_;
  // By sender; none if there is but one worker, or for an assistant.
  std::vector<std::unique_ptr<EdgeMailbox>> inboxes_;
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_TRACER_H_
