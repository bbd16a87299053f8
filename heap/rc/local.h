// rc::Local<T>: a reference on the stack that counts nothing. Design: docs/design/deferral.md

#ifndef EBB_HEAP_RC_LOCAL_H_
#define EBB_HEAP_RC_LOCAL_H_

#include <cstddef>
#include <type_traits>
#include <utility>

#include "heap/rc/cell.h"
#include "heap/rc/cell_table.h"
#include "heap/rc/local_slots.h"
#include "heap/rc/owner.h"
#include "heap/rc/ptr.h"
#include "heap/rc/reference.h"
#include "heap/reflect.h"

namespace ebb::rc {

// Keeps an object alive while its scope lasts, null or not, without counting: neither by this
// thread's own count nor, where another thread made the object, by an atomic change. Made from any
// reference or other Local, on a thread with an Owner, after that and in an inner scope, for that
// thread: another one is to be handed a Ptr, to which a Local converts. (What another thread copies
// or assigns counts, and a Local that outlives its Owner reads as null.)
//
// An object whose last counted reference goes while a Local names it is destroyed later: after the
// last Local has gone, at the next Owner::Step, or some MakePtr, of the thread that dropped that
// reference; not at all if that thread does neither. A Weak gives it back until then.
//
// O(1): some forty instructions to make and end one, none atomic; of those, assigning the newest
// one is half. An older one counts while it is assigned: so what walks through a structure is best
// the newest Local. Beyond 256 of a thread at a time, and of another domain's object than the
// Owner's, a Local counts as a Ptr does. From its first Local on a domain's objects take longer to
// die, some 20 ns each, and all Locals of all threads are looked at for each.
template <typename T>
class Local {
 public:
  using Target = T;

  // Null.
  explicit Local(Owner& owner) : Local(owner, nullptr) {}
  Local(Owner& owner, std::nullptr_t) : Local(owner, static_cast<internal::Cell*>(nullptr)) {}
  template <typename U>
    requires std::is_convertible_v<U*, T*>
  Local(Owner& owner, const internal::Reference<U>& object)
      : Local(owner, internal::Reference<T>::CellOf(object)) {}
  template <typename U>
    requires std::is_convertible_v<U*, T*>
  Local(Owner& owner, const Local<U>& other) : Local(owner, CellOf(other)) {}
  template <typename U>
    requires std::is_convertible_v<U*, T*>
  Local(const Local<U>& other)  // NOLINT: implicit, as for any pointer
      : slots_(other.slots_), table_(other.table_) {
    Name(CellOf(other));
  }
  Local(const Local& other) : slots_(other.slots_), table_(other.table_) { Name(other.cell()); }
  ~Local() {
    if (!is_counted()) [[likely]] {
      GiveUpSlot();
    } else if (cell() != nullptr) {
      cell()->Release();
    }
  }

  // In a loop that follows Fields, assigning the newest Local is as cheap as making one.
  Local& operator=(std::nullptr_t) {
    Assign(nullptr);
    return *this;
  }
  template <typename U>
    requires std::is_convertible_v<U*, T*>
  Local& operator=(const internal::Reference<U>& object) {
    Assign(internal::Reference<T>::CellOf(object));
    return *this;
  }
  template <typename U>
    requires std::is_convertible_v<U*, T*>
  Local& operator=(const Local<U>& other) {
    Assign(CellOf(other));
    return *this;
  }
  Local& operator=(const Local& other) {
    Assign(other.cell());
    return *this;
  }

  // As of a Ptr: good until the thread's next safepoint.
  T* get() const {
    internal::Cell* const named = cell();
    return named == nullptr ? nullptr : reinterpret_cast<T*>(named->Load().get());
  }
  T* operator->() const { return get(); }
  T& operator*() const { return *get(); }
  explicit operator bool() const { return cell() != nullptr; }
  template <typename U>
    requires std::is_convertible_v<T*, U*>
  operator Ptr<U>() const {  // NOLINT: implicit, as of any pointer
    internal::Cell* const named = cell();
    if (named != nullptr) named->RetainNamed();
    return Ptr<T>(internal::Reference<T>::Adopt(named));
  }

  // For Ebb's own classes.
  internal::Cell* cell() const {
    // Relaxed: written by this thread alone.
    return slot_ != nullptr ? slot_->load(std::memory_order_relaxed) : counted_;
  }

 private:
  template <typename U>
  friend class Local;

  using Cell = internal::Cell;
  using LocalSlots = internal::LocalSlots;

  Local(Owner& owner, Cell* cell) : slots_(owner.locals()), table_(&owner.table()) { Name(cell); }

  template <typename U>
  static Cell* CellOf(const Local<U>& other) {
    return internal::Reference<T>::template CellOf<U>(other.cell());
  }

  bool is_counted() const { return slot_ == nullptr; }
  bool is_this_threads() const { return &slots_ == internal::this_threads_slots; }
  void GiveUpSlot() {
    if (is_this_threads()) [[likely]]
      return slots_.Pop(slot_);
    LocalSlots::Abandon(*slot_);
  }
  // Whether a slot may name it: not if its domain may go meanwhile, nor by another thread.
  bool MayName(Cell* cell) const {
    if (!is_this_threads()) [[unlikely]]
      return false;
    if (cell == nullptr) return true;
    const internal::CellChunk& chunk = cell->chunk();
    // Relaxed: see there.
    if (chunk.named_by_locals.load(std::memory_order_relaxed) == table_) [[likely]]
      return true;
    if (chunk.table != table_) return false;
    chunk.table->BeginLocals();
    return true;
  }
  void Name(Cell* cell) {
    if (MayName(cell)) [[likely]] {
      slot_ = slots_.Push(cell);
      if (slot_ != nullptr) [[likely]]
        return;
    }
    slot_ = nullptr;
    if (cell != nullptr) cell->RetainNamed();
    counted_ = cell;
  }
  void Assign(Cell* cell) {
    if (is_counted() || !MayName(cell)) [[unlikely]] {
      AssignCounted(cell);
    } else if (slots_.IsNewest(slot_)) {
      LocalSlots::Set(*slot_, cell);
    } else {
      AssignOlder(cell);
    }
  }
  // It may be a newer one that leads to `cell`: inv.upwards. Who looks at the slots meanwhile, and
  // misses it, sees that it has been given a reference.
  [[gnu::noinline]] void AssignOlder(Cell* cell) {
    if (cell != nullptr) cell->RetainNamed();
    LocalSlots::Set(*slot_, cell);
    if (cell != nullptr) cell->Release();
  }
  // From now on it counts.
  [[gnu::noinline]] void AssignCounted(Cell* cell) {
    if (cell != nullptr) cell->RetainNamed();
    if (!is_counted()) GiveUpSlot();
    slot_ = nullptr;
    Cell* const before = std::exchange(counted_, cell);
    if (before != nullptr) before->Release();
  }

  LocalSlots& slots_;
  const internal::CellTable* const table_;  // the Owner's; it may have gone
  LocalSlots::Slot* slot_;                  // among slots_; null if it counts
  Cell* counted_ = nullptr;
};

template <typename T>
Local(Owner&, const Ptr<T>&) -> Local<T>;
template <typename T>
Local(Owner&, const Field<T>&) -> Local<T>;

// By identity of the object, as of other references.
template <typename T, typename U>
bool operator==(const Local<T>& a, const Local<U>& b) {
  return a.cell() == b.cell();
}
template <typename T, typename U>
bool operator==(const Local<T>& a, const internal::Reference<U>& b) {
  return a.cell() == b.cell();
}
template <typename T>
bool operator==(const Local<T>& a, std::nullptr_t) {
  return a.cell() == nullptr;
}

}  // namespace ebb::rc

// What an object cannot have as a member.
template <typename T>
inline constexpr bool ebb::internal::kIsHandle<ebb::rc::Local<T>> = true;

// Arguments of MakePtr are passed by value, and counted.
template <typename A, typename T>
struct ebb::internal::Passed<A, ebb::rc::Local<T>> {
  using type = ebb::rc::Ptr<T>;
};

#endif  // EBB_HEAP_RC_LOCAL_H_
