// Mutator: objects of variable size. Design: docs/design/types.md#arrays

#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "heap/heap_core.h"
#include "heap/mutator.h"

namespace ebb {

namespace {

constexpr char kTooMuch[] = " bytes is more than any heap can hold";

const char* HintIfNegative(size_t length) {
  return static_cast<int64_t>(length) < 0 ? "; was that negative?" : "";
}

}  // namespace

absl::StatusOr<uintptr_t> Mutator::AllocateArray(const TypeInfo& type, size_t length) {
  if (length > kMostVariableBytes / type.element_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat("an array of ", length, " elements of ",
                                                     type.element_bytes, kTooMuch,
                                                     HintIfNegative(length)));
  }
  const size_t bytes = ArrayBytes(type, length);
  bool zeroed = false;
  absl::StatusOr<uintptr_t> header = AllocateSlow(type, bytes, &zeroed);
  if (!header.ok()) return header;
  return InitializeArray(*header, type, length, zeroed ? 0 : bytes);
}

absl::StatusOr<Ref<String>> Mutator::TryNewString(std::string_view text) {
  std::string copy;
  for (const Mutator* m = this_threads_mutators; m != nullptr; m = m->next_on_thread_) {
    if (!m->heap_->spaces().Contains(reinterpret_cast<uintptr_t>(text.data()))) continue;
    copy = text;  // it may move before it is read
    text = copy;
    break;
  }
  absl::StatusOr<uintptr_t> payload = AllocateArray(internal::kStringTypeInfo, text.size());
  if (!payload.ok()) return std::move(payload).status();
  if (!text.empty()) {
    std::memcpy(reinterpret_cast<char*>(*payload) + sizeof(uint64_t), text.data(), text.size());
  }
  return Ref<String>::FromBits(*payload, internal::Stamp::Of(*this));
}

absl::StatusOr<uintptr_t> Mutator::AllocateWithBytes(const TypeInfo& type, size_t bytes) {
  if (bytes > kMostVariableBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("an object ", type.name, " with ", bytes, kTooMuch, HintIfNegative(bytes)));
  }
  bool zeroed = false;
  absl::StatusOr<uintptr_t> header = AllocateSlow(type, type.ObjectBytesWith(bytes), &zeroed);
  if (!header.ok()) return header;
  return InitializeWithBytes(*header, type, bytes, /*clear=*/!zeroed);
}

}  // namespace ebb
