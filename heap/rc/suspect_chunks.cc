#include "heap/rc/suspect_chunks.h"

#include <utility>

#include "absl/log/log.h"
#include "absl/status/statusor.h"
#include "heap/mutator.h"
#include "platform/bytes.h"
#include "platform/page_size.h"

namespace ebb::rc::internal {

absl::Status SuspectChunks::Make(absl::Span<CellChunk* const> chunks) {
  constexpr platform::Bytes kHugePage(int64_t{2} << 20);
  constexpr char kPurpose[] = "a detection of cycles of counted objects";
  const auto bytes = static_cast<int64_t>(chunks.size() * sizeof(SuspectChunk));
  if (bytes == 0) return absl::OkStatus();
  const platform::Bytes size = platform::RoundUp(platform::Bytes(bytes), platform::PageSize());
  absl::StatusOr<platform::AddressRange> memory = system_.Reserve(size, kHugePage, kPurpose);
  if (!memory.ok()) return std::move(memory).status();
  memory_ = *memory;
  // Without them it takes longer.
  system_.AdviseHugePages(memory_, platform::HugePageAdvice::kAlways, kPurpose).IgnoreError();
  if (absl::Status status = system_.Commit(memory_, kPurpose); !status.ok()) return status;
  // Zero is what all of it begins with.
  chunks_ = absl::MakeSpan(reinterpret_cast<SuspectChunk*>(memory_.begin), chunks.size());
  for (size_t i = 0; i < chunks.size(); ++i) {
    Mutator::SafepointOfThread();  // pages are faulted in
    chunks_[i].chunk = chunks[i];
    chunks_[i].number = static_cast<int32_t>(i);
  }
  return absl::OkStatus();
}

void SuspectChunks::Clear() {
  chunks_ = {};
  const absl::Status status = system_.Release(memory_, "a detection that has ended");
  LOG_IF(ERROR, !status.ok()) << status;
  memory_ = {};
}

}  // namespace ebb::rc::internal
