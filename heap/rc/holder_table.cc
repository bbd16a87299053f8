#include "heap/rc/holder_table.h"

#include <algorithm>
#include <array>

#include "heap/rc/counted_type.h"
#include "heap/region_walk.h"

namespace ebb::rc::internal {

namespace {

// So many are looked at, or taken out, while the lock is held: who makes a holder waits for it.
constexpr size_t kLooksAtOnce = 256;

const CountedType& HolderType(uintptr_t object) { return *ebb::internal::TypeOf(object).counted; }

// As std::vector::reserve, but so that adding one after the other takes linear time.
template <typename T>
void Reserve(std::vector<T>& vector, size_t size) {
  if (vector.capacity() < size) vector.reserve(std::max(size, 2 * vector.capacity()));
}

}  // namespace

HolderTable::HolderTable(Heap& heap, CellTable& table) : heap_(heap), table_(table) {
  heap_.AddDeathWatch(*this);
}

// What is held still is never counted down: see rc::NewHolder.
HolderTable::~HolderTable() {
  heap_.RemoveDeathWatch(*this);
  ReleaseDropped(INT64_MAX);
}

void HolderTable::Add(uintptr_t object) {
  const size_t fields = HolderType(object).field_count;
  absl::MutexLock lock(&mu_);
  Reserve(dropped_, dropped_.size() + fields_ + fields);
  Reserve(old_, old_.size() + recent_.size() + 1);
  recent_.push_back(object);
  fields_ += fields;
}

int64_t HolderTable::size() const {
  absl::MutexLock lock(&mu_);
  return static_cast<int64_t>(recent_.size() + old_.size());
}

void HolderTable::ReleaseDropped(int64_t most) {
  std::array<Cell*, kLooksAtOnce> some;  // undefined from the count on
  while (most > 0) {
    size_t count = 0;
    {
      absl::MutexLock lock(&mu_);
      count = std::min({some.size(), dropped_.size(), static_cast<size_t>(most)});
      std::copy(dropped_.end() - static_cast<ptrdiff_t>(count), dropped_.end(), some.begin());
      dropped_.resize(dropped_.size() - count);
    }
    if (count == 0) return;
    for (size_t i = 0; i < count; ++i) some[i]->Release();
    most -= static_cast<int64_t>(count);
  }
  absl::MutexLock lock(&mu_);
  if (!dropped_.empty()) table_.NoteOrphans();
}

void HolderTable::Bury(uintptr_t object) {
  const CountedType& type = HolderType(object);
  std::vector<Cell*>* const dropped = &dropped_;
  ForEachField(type, object, [=](auto, Cell& target) { dropped->push_back(&target); });
  fields_ -= type.field_count;
  table_.NoteOrphans();
}

// What is made meanwhile comes after what there is, and is alive where it is. Minor cycles replace
// too, between two of these looks: what they move goes towards the beginning, or to the end of old_,
// whose turn comes after that of recent_; and what has been looked at may be again.
void HolderTable::Replace(std::vector<uintptr_t> HolderTable::* which, SurvivorOf now) {
  for (size_t left = SIZE_MAX; left > 0;) {
    absl::MutexLock lock(&mu_);
    std::vector<uintptr_t>& holders = this->*which;
    left = std::min(left, holders.size());
    for (size_t i = 0; i < kLooksAtOnce && left > 0; ++i) {
      const uintptr_t before = holders[--left];
      holders[left] = now(before);
      if (holders[left] != 0) continue;
      Bury(before);
      holders[left] = holders.back();
      holders.pop_back();
    }
  }
}

void HolderTable::AfterTrace(SurvivorOf survivor_of) {
  Replace(&HolderTable::recent_, survivor_of);
  Replace(&HolderTable::old_, survivor_of);
}

void HolderTable::AfterMinorCycle(SurvivorOf survivor_of,
                                  absl::FunctionRef<bool(uintptr_t)> is_young) {
  Replace(&HolderTable::recent_,
          [&](uintptr_t object) { return is_young(object) ? survivor_of(object) : object; });
  absl::MutexLock lock(&mu_);
  std::erase_if(recent_, [&](uintptr_t object) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (is_young(object)) return false;
    old_.push_back(object);
    return true;
  });
}

void HolderTable::ForEach(absl::FunctionRef<void(const CountedType& type, uintptr_t object)> f) {
  absl::MutexLock lock(&mu_);
  for (const std::vector<uintptr_t>* holders : {&recent_, &old_}) {
    for (const uintptr_t object : *holders) f(HolderType(object), object);
  }
}

void HolderTable::MakeRoomToEmpty() {
  absl::MutexLock lock(&mu_);
  Reserve(dropped_, dropped_.size() + 2 * fields_);  // they may be stored to, and die, afterwards
}

int64_t HolderTable::EmptyIf(absl::FunctionRef<bool(uintptr_t object)> is_garbage,
                             absl::FunctionRef<bool(const Cell& target)> is_condemned) {
  int64_t emptied = 0;
  absl::MutexLock lock(&mu_);
  std::vector<Cell*>* const dropped = &dropped_;
  for (const std::vector<uintptr_t>* holders : {&recent_, &old_}) {
    for (const uintptr_t object : *holders) {
      if (!is_garbage(object)) continue;
      bool any = false;
      ForEachField(HolderType(object), object, [&](std::atomic_ref<Cell*> field, Cell& target) {
        any = true;
        if (!is_condemned(target)) dropped->push_back(&target);
        field.store(nullptr, std::memory_order_relaxed);  // in a pause
      });
      emptied += any ? 1 : 0;
    }
  }
  if (!dropped_.empty()) table_.NoteOrphans();
  return emptied;
}

}  // namespace ebb::rc::internal
