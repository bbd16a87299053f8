#include "heap/rc/sized_ptr.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "heap/load_barrier.h"
#include "heap/rc/owner_queues.h"
#include "heap/ref.h"
#include "heap/region_walk.h"
#include "heap/store_barrier.h"

namespace ebb::rc::internal {

namespace {

using ebb::internal::Slot;

constexpr char kWhat[] = "ebb::rc::Resize";

// In bytes: of the payload, what comes before the number of extra bytes, if there is one.
size_t FixedBytes(const TypeInfo& type) {
  const size_t payload = type.object_bytes - kHeaderBytes;
  return type.kind == ObjectKind::kWithBytes ? payload - sizeof(uint64_t) : payload;
}

void Copy(uintptr_t to, uintptr_t from, size_t bytes) {
  std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
}

// Moves an object's fixed part to one that nobody knows yet. A worker may just be forwarding the
// old one's traced references: each is loaded as by Field::load, so that what is stored is no
// from-space reference (inv.tospace), as a new object is not scanned in the cycle that it is made
// in. A detection may be reading the counted ones: they are only read here, and stay where they
// were, as long as it may look there.
void MoveFixedPart(const TypeInfo& type, uintptr_t to, uintptr_t from) {
  size_t moved = 0;
  ForEachReference(type, from, [&](uintptr_t edge) {
    const size_t offset = edge - from;
    Copy(to + moved, from + moved, offset - moved);
    const uintptr_t reference = ebb::internal::LoadReference(Slot(edge));
    std::atomic<uintptr_t>& slot = Slot(to + offset);
    // Relaxed: the store into the address column publishes the object.
    slot.store(reference, std::memory_order_relaxed);
    ebb::internal::AfterStore(slot, reference);  // the new object is old, if it is large
    moved = offset + sizeof(uintptr_t);
  });
  Copy(to + moved, from + moved, FixedBytes(type) - moved);
}

// Of an object of type `now`, with any number of extra bytes; null if it is not known.
const TypeInfo* TypeWithBytes(const TypeInfo& now, const TypeInfo& of_reference) {
  if (now.kind == ObjectKind::kWithBytes) return &now;
  return now.counted == of_reference.counted ? &of_reference : nullptr;
}

bool IsHeldOnce(Cell& cell) {
  return cell.IsHeldOnce([&cell] {
    bool named = false;
    OwnerQueues::Get().ForEachNamed([&](const Cell* other) { named = named || other == &cell; });
    return named;
  });
}

absl::Status CheckHeldOnce(Cell& cell, Owner& owner) {
  if (IsHeldOnce(cell)) return absl::OkStatus();
  // What others have dropped of this thread's, its queue may still have.
  owner.Step(/*objects=*/0);
  ThreadIndex other;
  if (cell.RetainForQueue(other)) OwnerQueues::Get().Push(other, cell);
  if (IsHeldOnce(cell)) return absl::OkStatus();
  if (IsIndex(other) && other != this_thread) {  // it has been asked, now or before
    return absl::FailedPreconditionError(
        absl::StrCat(kWhat,
                     " of an object that another thread owns, which knows whether this is the only "
                     "reference: it gives it up at its next MakePtr or Owner::Step; try again "
                     "after that"));
  }
  return absl::FailedPreconditionError(
      absl::StrCat(kWhat,
                   " of an object that others may refer to: drop all other references first, "
                   "rc::Local, Weak and WeakCallback too (there were ",
                   cell.Count(),
                   " counted ones, this one among them; one that another thread has dropped counts "
                   "until the owner's next MakePtr or Owner::Step; an immortal object cannot be "
                   "resized), or make another one by MakePtrWithBytes"));
}

// Where its size in words stays the same.
void ResizeInPlace(const TypeInfo& type, uintptr_t object, size_t bytes) {
  uint64_t& count = type.ExtraByteCount(object);
  const absl::Span<std::byte> before = ebb::internal::ExtraBytesAt(object);
  if (bytes > count) std::memset(before.data() + count, 0, bytes - count);
  count = bytes;
}

absl::Status ResizeByMoving(Cell& cell, const TypeInfo& type, size_t bytes, Owner& owner) {
  absl::StatusOr<uintptr_t> to = owner.mutator().AllocateWithBytes(type, bytes);
  if (!to.ok()) {
    return absl::Status(to.status().code(), absl::StrCat(kWhat, ": ", to.status().message()));
  }
  // That was a safepoint: only now it is known where the object is.
  const uintptr_t from = cell.Load().bits();
  MoveFixedPart(ebb::internal::TypeOf(from), *to, from);
  const absl::Span<const std::byte> before = ebb::internal::ExtraBytesAt(from);
  const size_t kept = std::min<size_t>(before.size(), bytes);
  if (kept > 0) std::memcpy(ebb::internal::ExtraBytesAt(*to).data(), before.data(), kept);
  *cell.address() = Ref<CountedObject>::FromBits(*to, ebb::internal::Stamp::Of(owner.mutator()));
  return absl::OkStatus();
}

absl::Status Resize(Cell& cell, const TypeInfo& of_reference, size_t bytes, Owner& owner) {
  if (absl::Status status = CheckHeldOnce(cell, owner); !status.ok()) return status;
  const uintptr_t object = cell.Load().bits();
  if (ebb::internal::ExtraBytesAt(object).size() == bytes) return absl::OkStatus();
  const TypeInfo& now = ebb::internal::TypeOf(object);
  const TypeInfo* const type = TypeWithBytes(now, of_reference);
  if (type == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat(kWhat, " of a ", now.name,
                     ", made without extra bytes, by a reference to its base: make it by "
                     "MakePtrWithBytes, or use a reference to its own type"));
  }
  if (type == &now && bytes <= kMostVariableBytes &&
      type->ObjectBytesWith(bytes) == type->ObjectBytes(object)) {
    ResizeInPlace(*type, object, bytes);
    return absl::OkStatus();
  }
  return ResizeByMoving(cell, *type, bytes, owner);
}

}  // namespace

absl::Status ResizeObject(Cell* cell, const TypeInfo& of_reference, size_t bytes) {
  if (cell == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(kWhat, " of null: make the object by MakePtrWithBytes"));
  }
  Owner* const owner = Owner::Find(*cell->chunk().table);
  if (owner == nullptr || cell->address() == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat(kWhat,
                     " on a thread without an Owner of the object's domain, or where that has "
                     "gone: make an rc::Owner on this thread first"));
  }
  if (absl::Status status = owner->mutator().CheckMayStop(kWhat); !status.ok()) return status;
  return owner->WithExactCounts([&] { return Resize(*cell, of_reference, bytes, *owner); });
}

}  // namespace ebb::rc::internal
