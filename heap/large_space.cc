#include "heap/large_space.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"

namespace ebb::internal {

using copyspace::Reference;
using platform::AddressRange;
using platform::Bytes;

namespace {
// Address space is committed in steps of this size: few kernel calls, one kernel mapping.
constexpr Bytes kCommitStep = platform::MiB(64);

constexpr Bytes kMark{sizeof(uint64_t)};

// For so much address space.
Bytes TableBytes(Bytes size) {
  const int64_t pages = RoundUp(size, LargeSpace::kPage) / LargeSpace::kPage;
  return RoundUp(kMark * pages, LargeSpace::kPage);
}
}  // namespace

LargeSpace::LargeSpace(platform::System& system, copyspace::Ledger& ledger, AddressRange range)
    : system_(system),
      ledger_(ledger),
      table_{range.end() - TableBytes(range.size).size(), TableBytes(range.size)},
      range_{range.begin, range.size - table_.size},
      frontier_(range_.begin),
      committed_end_(range_.begin),
      table_committed_end_(table_.begin) {}

Bytes LargeSpace::Footprint(size_t object_bytes) {
  const size_t whole = sizeof(LargeHeader) - sizeof(LargeHeader::word) + object_bytes;
  return RoundUp(Bytes(static_cast<int64_t>(whole)), kPage);
}

absl::StatusOr<uintptr_t> LargeSpace::Allocate(size_t object_bytes, Bytes keep_free) {
  const Bytes size = Footprint(object_bytes);
  if (!ledger_.TryDebit(size, keep_free)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a large object wants ", size, "; the heap has ",
                     ledger_.limit() - ledger_.used(), " of ", ledger_.limit(), " left"));
  }
  absl::MutexLock lock(&mu_);
  absl::StatusOr<uintptr_t> begin = TakeAddresses(size);
  if (!begin.ok()) {
    ledger_.Credit(size);
    return begin.status();
  }
  objects_[*begin] = size;
  object_bytes_ += Bytes(static_cast<int64_t>(object_bytes));
  allocated_bytes_ += Bytes(static_cast<int64_t>(object_bytes));
  LargeHeader& header = HeaderOf(ObjectAt(*begin));
  // Relaxed: who reads the mark got the reference from this thread in an ordered way.
  MarkOf(ObjectAt(*begin)).store(cycle_, std::memory_order_relaxed);
  header.object_bytes = object_bytes;
  return reinterpret_cast<uintptr_t>(&header.word);
}

// Best fit, the lowest address among equals; the frontier only when no free range is big enough.
absl::StatusOr<uintptr_t> LargeSpace::TakeAddresses(Bytes size) {
  auto best = free_.end();
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    if (it->second >= size && (best == free_.end() || it->second < best->second)) best = it;
  }
  if (best != free_.end()) {
    const auto [begin, free_size] = *best;
    free_.erase(best);
    if (free_size > size) free_[begin + size.size()] = free_size - size;
    return begin;
  }
  if (range_.end() - frontier_ < size.size()) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "a large object wants ", size, " of address space in one piece; ",
        Bytes(static_cast<int64_t>(range_.end() - frontier_)),
        " are left of what was reserved for large objects: raise Options::reserve_bytes"));
  }
  if (absl::Status status = CommitUpTo(frontier_ + size.size()); !status.ok()) return status;
  return std::exchange(frontier_, frontier_ + size.size());
}

absl::Status LargeSpace::CommitUpTo(uintptr_t end) {
  if (end <= committed_end_) return absl::OkStatus();
  const uintptr_t step_end =
      range_.begin + RoundUp(Bytes(static_cast<int64_t>(end - range_.begin)), kCommitStep).size();
  const uintptr_t new_end = std::min(step_end, range_.end());
  if (absl::Status status = CommitMarksUpTo(new_end); !status.ok()) return status;
  const AddressRange more{committed_end_, Bytes(static_cast<int64_t>(new_end - committed_end_))};
  if (absl::Status status = system_.Commit(more, "large objects"); !status.ok()) return status;
  committed_end_ = new_end;
  return absl::OkStatus();
}

absl::Status LargeSpace::CommitMarksUpTo(uintptr_t end) {
  const Bytes pages(static_cast<int64_t>(end - range_.begin));
  const uintptr_t marks_end = table_.begin + TableBytes(pages).size();
  if (marks_end <= table_committed_end_) return absl::OkStatus();
  const AddressRange more{table_committed_end_,
                          Bytes(static_cast<int64_t>(marks_end - table_committed_end_))};
  absl::Status status = system_.Commit(more, "marks of large objects");
  if (status.ok()) table_committed_end_ = marks_end;
  return status;
}

void LargeSpace::FreeAddresses(AddressRange range) {
  auto next = free_.upper_bound(range.begin);
  if (next != free_.end() && next->first == range.end()) {
    range.size += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    auto before = std::prev(next);
    if (before->first + before->second.size() == range.begin) {
      before->second += range.size;
      return;
    }
  }
  free_[range.begin] = range.size;
}

bool LargeSpace::TryMark(Reference object) {
  std::atomic<uint64_t>& mark = MarkOf(object);
  // Relaxed: the mark only elects who scans the object; its contents were ordered by the pause.
  uint64_t seen = mark.load(std::memory_order_relaxed);
  return seen != cycle_ && mark.compare_exchange_strong(seen, cycle_, std::memory_order_relaxed);
}

bool LargeSpace::IsMarked(Reference object) const {
  return MarkOf(object).load(std::memory_order_relaxed) == cycle_;  // as above
}

void LargeSpace::ClearMarks(const copyspace::MutatorsStopped&) { ++cycle_; }

void LargeSpace::Sweep() {
  uintptr_t next = range_.begin;
  while (next != 0) next = SweepSome(next);
}

uintptr_t LargeSpace::SweepSome(uintptr_t from) {
  constexpr int kAtATime = 256;
  absl::MutexLock lock(&mu_);
  auto it = objects_.lower_bound(from);
  for (int i = 0; i < kAtATime && it != objects_.end(); ++i) {
    // Relaxed: nobody marks any more.
    if (MarkOf(ObjectAt(it->first)).load(std::memory_order_relaxed) == cycle_) {
      ++it;
      continue;
    }
    LargeHeader& header = HeaderOf(ObjectAt(it->first));
    object_bytes_ -= Bytes(static_cast<int64_t>(header.object_bytes));
    freed_bytes_ += Bytes(static_cast<int64_t>(header.object_bytes));
    AddSwept(header);
    it = objects_.erase(it);
  }
  return it == objects_.end() ? 0 : it->first;
}

void LargeSpace::AddSwept(LargeHeader& header) {
  header.next_swept = swept_;
  swept_ = &header;
}

absl::Status LargeSpace::ReleaseSwept() {
  LargeHeader* next = nullptr;
  {
    absl::MutexLock lock(&mu_);
    for (const LargeHeader* header = swept_; header != nullptr; header = header->next_swept) {
      const AddressRange pages = PagesOf(*header);
      releasing_[pages.begin] = pages.size;
    }
    next = std::exchange(swept_, nullptr);
  }
  absl::Status first_failure;
  while (next != nullptr) {
    LargeHeader& header = *std::exchange(next, next->next_swept);
    const AddressRange pages = PagesOf(header);
    const uint64_t object_bytes = header.object_bytes;
    absl::Status status = system_.Discard(pages, "dead large object");
    absl::MutexLock lock(&mu_);
    releasing_.erase(pages.begin);
    if (status.ok()) {
      ledger_.Credit(pages.size);
      FreeAddresses(pages);
    } else {
      first_failure.Update(status);
      header.object_bytes = object_bytes;  // some of the pages may have gone
      AddSwept(header);
    }
  }
  return first_failure;
}

void LargeSpace::ForEachMarked(absl::FunctionRef<void(Reference)> visit) const {
  absl::MutexLock lock(&mu_);
  for (const auto& [begin, size] : objects_) {
    const Reference object = ObjectAt(begin);
    // Relaxed: mutators are stopped, and a mark that is set meanwhile will be scanned by its
    // setter.
    if (MarkOf(object).load(std::memory_order_relaxed) == cycle_) visit(object);
  }
}

void LargeSpace::ForEachObject(absl::FunctionRef<void(Reference)> visit) const {
  absl::MutexLock lock(&mu_);
  for (const auto& [begin, size] : objects_) visit(ObjectAt(begin));
}

void LargeSpace::ForEachPayload(absl::FunctionRef<void(Reference, size_t bytes)> visit) const {
  ForEachObject([&](Reference object) {
    visit(object, HeaderOf(object).object_bytes - sizeof(LargeHeader::word));
  });
}

bool LargeSpace::IsObject(Reference object) const {
  absl::MutexLock lock(&mu_);
  return objects_.contains(object - sizeof(LargeHeader));
}

Bytes LargeSpace::object_bytes() const {
  absl::MutexLock lock(&mu_);
  return object_bytes_;
}

Bytes LargeSpace::allocated_bytes() const {
  absl::MutexLock lock(&mu_);
  return allocated_bytes_;
}

Bytes LargeSpace::freed_bytes() const {
  absl::MutexLock lock(&mu_);
  return freed_bytes_;
}

absl::Status LargeSpace::CheckInvariants() const {
  absl::MutexLock lock(&mu_);
  absl::btree_map<uintptr_t, Bytes> all = free_;
  Bytes bytes;
  for (const auto& [begin, size] : objects_) {
    const LargeHeader& header = HeaderOf(ObjectAt(begin));
    if (!all.emplace(begin, size).second || Footprint(header.object_bytes) != size) {
      return absl::InternalError(absl::StrCat("large object at ", absl::Hex(begin), " of ", size,
                                              " overlaps free memory or has a damaged header"));
    }
    bytes += Bytes(static_cast<int64_t>(header.object_bytes));
  }
  for (const LargeHeader* header = swept_; header != nullptr; header = header->next_swept) {
    const AddressRange pages = PagesOf(*header);
    all.emplace(pages.begin, pages.size);
  }
  all.insert(releasing_.begin(), releasing_.end());
  uintptr_t expected = range_.begin;
  for (const auto& [begin, size] : all) {
    if (begin != expected) {
      return absl::InternalError(absl::StrCat("large-object addresses from ", absl::Hex(expected),
                                              " to ", absl::Hex(begin), " belong to nobody"));
    }
    expected = begin + size.size();
  }
  if (expected != frontier_ || bytes != object_bytes_) {
    return absl::InternalError(absl::StrCat("large objects: ", bytes, " counted, ", object_bytes_,
                                            " accounted; end ", absl::Hex(expected), ", frontier ",
                                            absl::Hex(frontier_)));
  }
  return absl::OkStatus();
}

void LargeSpace::AtFork(platform::ForkStep step) { platform::LockAcrossFork(mu_, step); }

}  // namespace ebb::internal
