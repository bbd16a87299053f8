#include "heap/pinned_space.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace ebb::internal {

using copyspace::Reference;
using platform::AddressRange;
using platform::Bytes;

namespace {
constexpr Bytes kChunk{PinnedSpace::kChunkBytes};

Bytes TableBytes(Bytes range) {
  const int64_t chunks = range / PinnedSpace::Footprint() + 1;
  return RoundUp((PinnedSpace::Footprint() - kChunk) * chunks, kChunk);
}

// Calls f(index) for each bit that is set.
template <typename F>
void ForEachBit(size_t word_index, uint64_t word, F&& f) {
  for (; word != 0; word &= word - 1) {
    f(word_index * 64 + static_cast<size_t>(std::countr_zero(word)));
  }
}
}  // namespace

PinnedSpace::PinnedSpace(platform::System& system, copyspace::Ledger& ledger, AddressRange range)
    : system_(system),
      ledger_(ledger),
      table_{range.end() - TableBytes(range.size).size(), TableBytes(range.size)},
      range_{range.begin, range.size - table_.size},
      frontier_(range_.begin),
      table_committed_(table_.begin) {}

// Classes 0.. are 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320 ...
size_t PinnedSpace::SlotBytes(int size_class) {
  constexpr int kSmall = 5;
  if (size_class < kSmall) return kLeastSlot + 8 * static_cast<size_t>(size_class);
  const int power = (size_class - kSmall) / 4;
  const size_t step = (size_class - kSmall) % 4;
  return (size_t{64} + 16 * step) << power;
}

int PinnedSpace::ClassOf(size_t bytes, bool align16) {
  int size_class = 0;
  while (SlotBytes(size_class) < bytes || (align16 && SlotBytes(size_class) % 16 != 0)) {
    ++size_class;
  }
  return size_class;
}

uintptr_t PinnedSpace::TakeSlot(Chunk& chunk) {
  for (size_t word = chunk.first_word; word < kMapWords; ++word) {
    const size_t bit = static_cast<size_t>(std::countr_one(chunk.allocated[word]));
    const size_t index = word * 64 + bit;
    if (bit == 64) continue;
    if (index >= chunk.slot_count) break;
    chunk.first_word = static_cast<uint32_t>(word);
    chunk.allocated[word] |= uint64_t{1} << bit;
    // Until the chunk has been swept in this cycle. Relaxed: who reads the mark got the reference
    // from this thread in an ordered way.
    if (chunk.swept_in != cycle_) {
      chunk.marked[word].fetch_or(uint64_t{1} << bit, std::memory_order_relaxed);
    }
    ++chunk.in_use;
    return chunk.SlotAt(index);
  }
  return 0;
}

absl::Status PinnedSpace::CommitChunk() {
  if (range_.end() - frontier_ < kChunkBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the ", range_.size,
                     " of address space reserved for pinned objects are used up: raise "
                     "Options::reserve_bytes"));
  }
  const uintptr_t element_end = reinterpret_cast<uintptr_t>(&ChunkOf(frontier_) + 1);
  if (element_end > table_committed_) {
    absl::Status status = system_.Commit({table_committed_, kTableStep}, "marks of pinned objects");
    if (!status.ok()) return status;
    table_committed_ += kTableStep.size();
  }
  absl::Status status = system_.Commit({frontier_, kChunk}, "pinned objects");
  if (status.ok()) frontier_ += kChunkBytes;
  return status;
}

absl::StatusOr<PinnedSpace::Chunk*> PinnedSpace::NewChunk(int size_class, Bytes keep_free) {
  std::vector<Chunk*>& chunks = classes_[size_class].chunks;
  if (chunks.size() == chunks.capacity()) chunks.reserve(2 * chunks.size() + 1);  // may throw
  if (!ledger_.TryDebit(Footprint(), keep_free)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("pinned objects want ", Footprint(), "; the heap has ",
                     ledger_.limit() - ledger_.used(), " of ", ledger_.limit(), " left"));
  }
  uintptr_t begin = frontier_;
  if (!free_.empty()) {
    begin = free_.back();
    free_.pop_back();
  } else if (absl::Status status = CommitChunk(); !status.ok()) {
    ledger_.Credit(Footprint());
    return status;
  }
  // Nothing in it is allocated or marked: fresh, or swept.
  Chunk* chunk = &ChunkOf(begin);
  chunk->begin = begin;
  chunk->size_class = size_class;
  chunk->slot_bytes = static_cast<uint32_t>(SlotBytes(size_class));
  chunk->swept_in = sweep_begun_in_;
  chunk->slot_count = static_cast<uint32_t>((kChunkBytes - kFirstSlot) / chunk->slot_bytes);
  chunk->first_word = 0;
  chunks.push_back(chunk);
  return chunk;
}

absl::StatusOr<uintptr_t> PinnedSpace::Allocate(size_t object_bytes, Bytes keep_free,
                                                bool align16) {
  const int size_class = ClassOf(object_bytes, align16);
  absl::MutexLock lock(&mu_);
  auto& [chunks, first] = classes_[size_class];
  while (first < chunks.size() && chunks[first]->in_use == chunks[first]->slot_count) ++first;
  if (first == chunks.size()) {
    if (absl::StatusOr<Chunk*> chunk = NewChunk(size_class, keep_free); !chunk.ok()) {
      return chunk.status();
    }
  }
  const uintptr_t slot = TakeSlot(*chunks[first]);
  object_bytes_ += Bytes(static_cast<int64_t>(SlotBytes(size_class)));
  allocated_bytes_ += Bytes(static_cast<int64_t>(SlotBytes(size_class)));
  std::memset(reinterpret_cast<void*>(slot), 0, SlotBytes(size_class));
  return slot;
}

bool PinnedSpace::TryMark(Reference object) {
  Chunk& chunk = ChunkOf(object);
  const size_t index = chunk.IndexOf(object);
  const uint64_t bit = uint64_t{1} << (index % 64);
  std::atomic<uint64_t>& word = chunk.marked[index / 64];
  // Relaxed: the mark only elects who scans the object; its contents were ordered by the pause.
  if ((word.load(std::memory_order_relaxed) & bit) != 0) return false;
  return (word.fetch_or(bit, std::memory_order_relaxed) & bit) == 0;
}

bool PinnedSpace::IsMarked(Reference object) const {
  const Chunk& chunk = ChunkOf(object);
  const size_t index = chunk.IndexOf(object);
  // Relaxed: as above.
  return (chunk.marked[index / 64].load(std::memory_order_relaxed) >> (index % 64) & 1) != 0;
}

// Every sweep leaves its chunks without marks.
void PinnedSpace::ClearMarks(const copyspace::MutatorsStopped&) {
  absl::MutexLock lock(&mu_);
  ++cycle_;
}

uint32_t PinnedSpace::FreeUnmarkedSlots(Chunk& chunk) {
  const uint32_t before = chunk.in_use;
  chunk.in_use = 0;
  chunk.first_word = 0;
  for (size_t word = 0; word < kMapWords; ++word) {
    // Relaxed: nobody marks any more.
    chunk.allocated[word] &= chunk.marked[word].exchange(0, std::memory_order_relaxed);
    chunk.in_use += static_cast<uint32_t>(std::popcount(chunk.allocated[word]));
  }
  return before - chunk.in_use;
}

void PinnedSpace::SweepChunk(SizeClass& size_class, size_t index) {
  std::vector<Chunk*>& chunks = size_class.chunks;
  Chunk* chunk = chunks[index];
  if (chunk->swept_in == cycle_) return;
  chunk->swept_in = cycle_;
  const Bytes freed = Bytes(chunk->slot_bytes) * FreeUnmarkedSlots(*chunk);
  object_bytes_ -= freed;
  freed_bytes_ += freed;
  if (freed > Bytes(0)) size_class.first_with_room = std::min(size_class.first_with_room, index);
  if (chunk->in_use > 0) return;
  AddSwept(*chunk);
  chunks[index] = chunks.back();
  chunks.pop_back();
}

// From the last chunk to the first: what takes the place of a chunk that has gone was swept before,
// or made since, with nothing to sweep.
void PinnedSpace::Sweep() {
  {
    absl::MutexLock lock(&mu_);
    sweep_begun_in_ = cycle_;
  }
  for (int i = 0; i < kClasses; ++i) {
    for (size_t left = std::numeric_limits<size_t>::max(); left > 0;) {
      absl::MutexLock lock(&mu_);
      SizeClass& size_class = classes_[i];
      left = std::min(left, size_class.chunks.size());
      if (left > 0) SweepChunk(size_class, --left);
    }
  }
}

void PinnedSpace::AddSwept(Chunk& chunk) {
  chunk.next_swept = swept_;
  swept_ = &chunk;
}

absl::Status PinnedSpace::ReleaseSwept() {
  Chunk* next = nullptr;
  {
    absl::MutexLock lock(&mu_);
    for (const Chunk* chunk = swept_; chunk != nullptr; chunk = chunk->next_swept) ++releasing_;
    next = std::exchange(swept_, nullptr);
  }
  absl::Status first_failure;
  while (next != nullptr) {
    Chunk& chunk = *std::exchange(next, next->next_swept);
    absl::Status status = system_.Discard({chunk.begin, kChunk}, "empty chunk of pinned objects");
    absl::MutexLock lock(&mu_);
    --releasing_;
    if (status.ok()) {
      ledger_.Credit(Footprint());
      free_.push_back(chunk.begin);
    } else {
      first_failure.Update(status);
      AddSwept(chunk);
    }
  }
  return first_failure;
}

void PinnedSpace::ForEachMarked(absl::FunctionRef<void(Reference)> visit) const {
  absl::MutexLock lock(&mu_);
  for (const SizeClass& size_class : classes_) {
    for (const Chunk* chunk : size_class.chunks) {
      for (size_t word = 0; word < kMapWords; ++word) {
        // Relaxed: a mark that is set meanwhile will be scanned by its setter.
        const uint64_t bits =
            chunk->allocated[word] & chunk->marked[word].load(std::memory_order_relaxed);
        ForEachBit(word, bits, [&](size_t index) { visit(chunk->SlotAt(index) + 8); });
      }
    }
  }
}

void PinnedSpace::ForEachPayload(absl::FunctionRef<void(Reference, size_t bytes)> visit) const {
  absl::MutexLock lock(&mu_);
  for (const SizeClass& size_class : classes_) {
    for (const Chunk* chunk : size_class.chunks) {
      for (size_t word = 0; word < kMapWords; ++word) {
        ForEachBit(word, chunk->allocated[word],
                   [&](size_t index) { visit(chunk->SlotAt(index) + 8, chunk->slot_bytes - 8); });
      }
    }
  }
}

void PinnedSpace::ForEachObject(absl::FunctionRef<void(Reference)> visit) const {
  ForEachPayload([&](Reference object, size_t) { visit(object); });
}

bool PinnedSpace::IsObject(Reference object) const {
  absl::MutexLock lock(&mu_);
  if (object < range_.begin || object >= frontier_) return false;
  const Chunk& chunk = ChunkOf(object);
  if (chunk.slot_bytes == 0 || object - 8 < chunk.SlotAt(0)) return false;
  const size_t index = chunk.IndexOf(object);
  return index < chunk.slot_count && chunk.SlotAt(index) + 8 == object &&
         ((chunk.allocated[index / 64] >> (index % 64)) & 1) != 0;
}

Bytes PinnedSpace::object_bytes() const {
  absl::MutexLock lock(&mu_);
  return object_bytes_;
}

Bytes PinnedSpace::allocated_bytes() const {
  absl::MutexLock lock(&mu_);
  return allocated_bytes_;
}

Bytes PinnedSpace::freed_bytes() const {
  absl::MutexLock lock(&mu_);
  return freed_bytes_;
}

absl::Status PinnedSpace::CheckInvariants() const {
  absl::MutexLock lock(&mu_);
  size_t chunk_count = releasing_ + free_.size();
  for (const Chunk* chunk = swept_; chunk != nullptr; chunk = chunk->next_swept) ++chunk_count;
  Bytes bytes;
  for (int size_class = 0; size_class < kClasses; ++size_class) {
    const auto& [chunks, first] = classes_[size_class];
    for (size_t i = 0; i < chunks.size(); ++i) {
      const Chunk* chunk = chunks[i];
      ++chunk_count;
      uint32_t in_use = 0;
      for (uint64_t word : chunk->allocated) in_use += static_cast<uint32_t>(std::popcount(word));
      const bool has_room = in_use < chunk->slot_count;
      if (chunk->size_class != size_class || chunk->in_use != in_use || in_use == 0 ||
          (has_room && i < first)) {
        return absl::InternalError(
            absl::StrCat("chunk of pinned objects at ", absl::Hex(chunk->begin), ": ", in_use,
                         " of ", chunk->slot_count, " slots allocated, ", chunk->in_use,
                         " counted, size class ", chunk->size_class, " on list ", size_class,
                         ", where the first of ", first, " chunks are full"));
      }
      bytes += Bytes(chunk->slot_bytes) * in_use;
    }
  }
  if (bytes != object_bytes_ || chunk_count * kChunkBytes != frontier_ - range_.begin) {
    return absl::InternalError(absl::StrCat("pinned objects: ", bytes, " counted, ", object_bytes_,
                                            " accounted, in ", chunk_count, " chunks of ",
                                            (frontier_ - range_.begin) / kChunkBytes));
  }
  return absl::OkStatus();
}

void PinnedSpace::AtFork(platform::ForkStep step) { platform::LockAcrossFork(mu_, step); }

}  // namespace ebb::internal
