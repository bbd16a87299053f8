// Reference<T>: one counted reference: what rc::Ptr and rc::Field are made of, and rc::Weak is made
// from.

#ifndef EBB_HEAP_RC_REFERENCE_H_
#define EBB_HEAP_RC_REFERENCE_H_

#include <atomic>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "absl/log/check.h"
#include "heap/rc/cell.h"
#include "heap/rc/coalescer.h"

namespace ebb::rc::internal {

template <typename Derived, typename Base>
concept ConvertsTo = std::is_convertible_v<Derived*, Base*> && !std::is_same_v<Derived, Base>;

template <typename T>
class Reference {
 public:
  using Target = T;

  Reference() = default;
  // The cell of an object that is referred to once more already; null for none.
  static Reference Adopt(Cell* cell) {
    Reference reference;
    reference.cell_ = cell;
    return reference;
  }
  // The opposite: null from here on, and its cell is still counted.
  static Cell* Disown(Reference&& reference) { return std::exchange(reference.cell_, nullptr); }
  Reference(const Reference& other) : cell_(other.cell_) {
    if (cell_ != nullptr) cell_->Retain();
  }
  Reference(Reference&& other) noexcept : cell_(std::exchange(other.cell_, nullptr)) {}
  template <ConvertsTo<T> U>
  Reference(const Reference<U>& other) : cell_(CellOf(other)) {
    if (cell_ != nullptr) cell_->Retain();
  }
  template <ConvertsTo<T> U>
  Reference(Reference<U>&& other) noexcept : cell_(CellOf(other)) {
    other.cell_ = nullptr;
  }
  ~Reference() {
    if (cell_ != nullptr) cell_->Release();
  }

  T* get() const { return cell_ == nullptr ? nullptr : reinterpret_cast<T*>(cell_->Load().get()); }
  T* operator->() const { return get(); }
  T& operator*() const { return *get(); }
  explicit operator bool() const { return cell_ != nullptr; }

  // By the object's owner, or while no other thread counts; without a meaning for what is immortal.
  int64_t use_count() const { return cell_ == nullptr ? 0 : cell_->Count(); }

  // From here on the object is never destroyed, and counting it costs no write: for what many
  // threads share for good.
  void MakeImmortal() const {
    if (cell_ != nullptr) cell_->MakeImmortal();
  }

  template <typename H>
  friend H AbslHashValue(H h, const Reference& reference) {
    return H::combine(std::move(h), reference.cell_);
  }

  Cell* cell() const { return cell_; }
  // The same, of a reference that this one can be made from.
  template <typename U>
  static Cell* CellOf(const Reference<U>& other) {
    return CellOf<U>(other.cell_);
  }
  template <typename U>
  static Cell* CellOf(Cell* cell) {
    if constexpr (!std::is_same_v<U, T>) CheckSharesAddress<U>();
    return cell;
  }

 protected:
  // What was referred to goes last: its destructor may use this reference.
  Reference& operator=(Reference other) noexcept {
    std::swap(cell_, other.cell_);
    return *this;
  }
  // The same, where a detection may be reading. Relaxed: it reads nothing on the strength of that,
  // but of cells that it knows.
  void Exchange(Reference other) noexcept {
    Cell* before = cell_;
    std::atomic_ref<Cell*>(cell_).store(std::exchange(other.cell_, before),
                                        std::memory_order_relaxed);
  }
  // Whether the reference is to `cell` now, and was counted neither for that nor for what it was to
  // before (heap/rc/coalescer.h). Of members of objects.
  bool StoreUncounted(Cell* cell) noexcept { return Coalescer::Store(&cell_, cell); }
  // Before such a member is destroyed: null, if what it refers to was not counted.
  void ForgetUncounted() { Coalescer::Destroy(&cell_); }

 private:
  template <typename U>
  friend class Reference;

  // One cell stands for both only if a U* leads to the same address as its T*. The compiler knows.
  template <typename U>
  static void CheckSharesAddress() {
    constexpr uintptr_t kSomewhere = 1 << 12;
    static_assert(!std::is_polymorphic_v<T>,
                  "counted types have no virtual functions: dispatch on a tag or a table of "
                  "functions");
    const T* base = reinterpret_cast<const U*>(kSomewhere);
    CHECK_EQ(reinterpret_cast<uintptr_t>(base), kSomewhere)
        << "a counted reference to a base class that is not at the start of the object: make it "
           "the first base";
  }

  Cell* cell_ = nullptr;
};

// By identity of the object, as is the hash.
template <typename T, typename U>
bool operator==(const Reference<T>& a, const Reference<U>& b) {
  return a.cell() == b.cell();
}
template <typename T>
bool operator==(const Reference<T>& a, std::nullptr_t) {
  return a.cell() == nullptr;
}
// An order of objects as long as they are referred to, for sorted containers; no other meaning.
template <typename T, typename U>
std::strong_ordering operator<=>(const Reference<T>& a, const Reference<U>& b) {
  return std::compare_three_way()(static_cast<const void*>(a.cell()),
                                  static_cast<const void*>(b.cell()));
}

}  // namespace ebb::rc::internal

#endif  // EBB_HEAP_RC_REFERENCE_H_
