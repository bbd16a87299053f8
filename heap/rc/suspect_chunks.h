// SuspectChunks: what a detection of cycles notes of each cell. Design: docs/design/detection.md

#ifndef EBB_HEAP_RC_SUSPECT_CHUNKS_H_
#define EBB_HEAP_RC_SUSPECT_CHUNKS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "heap/rc/cell.h"
#include "platform/address_range.h"
#include "platform/system.h"

namespace ebb::rc::internal {

// Side arrays of a chunk, by a cell's index. All zero at first.
struct SuspectChunk {
  enum class State : uint8_t {
    kAbsent,  // no object when CountFromOutside came by
    kFound,   // may be garbage
    kAlive,   // something from outside leads to it
    kAside,   // a finalizer that is to be called may reach it
  };

  CellChunk* chunk;
  int32_t number;
  std::array<State, CellChunk::kCells> states;
  // At first: references from outside, all there are, less those that were found in Fields. Of
  // suspects: those that were found in suspects' Fields. Of others: the next cell on the list of
  // those whose Fields have not been followed yet.
  std::array<int32_t, CellChunk::kCells> counts;
};

// Those of a table, in memory of their own: in huge pages, where they fill some, since a detection
// touches all of it once.
class SuspectChunks {
 public:
  explicit SuspectChunks(platform::System& system) : system_(system) {}
  ~SuspectChunks() { Clear(); }
  SuspectChunks(const SuspectChunks&) = delete;
  SuspectChunks& operator=(const SuspectChunks&) = delete;

  // For `chunks`, in their order. Once, or again after Clear.
  absl::Status Make(absl::Span<CellChunk* const> chunks);
  void Clear();

  SuspectChunk& operator[](size_t number) { return chunks_[number]; }
  SuspectChunk* begin() { return chunks_.begin(); }
  SuspectChunk* end() { return chunks_.end(); }

 private:
  platform::System& system_;
  platform::AddressRange memory_;
  absl::Span<SuspectChunk> chunks_;
};

// A cell's entry in the side arrays.
class SuspectPlace {
 public:
  SuspectPlace(SuspectChunk& chunk, size_t index) : chunk_(&chunk), index_(index) {}
  // By its number among all.
  SuspectPlace(SuspectChunks& chunks, int32_t number)
      : SuspectPlace(chunks[number / CellChunk::kCells], number % CellChunk::kCells) {}

  Cell& cell() const { return chunk_->chunk->owners[index_]; }
  SuspectChunk::State& state() const { return chunk_->states[index_]; }
  int32_t& count() const { return chunk_->counts[index_]; }
  int32_t number() const {
    return chunk_->number * static_cast<int32_t>(CellChunk::kCells) + static_cast<int32_t>(index_);
  }

 private:
  SuspectChunk* chunk_;
  size_t index_;
};

}  // namespace ebb::rc::internal

#endif  // EBB_HEAP_RC_SUSPECT_CHUNKS_H_
