#include "heap/rc/survivors.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "heap/mutator.h"
#include "heap/rc/cell.h"
#include "heap/rc/counted_type.h"
#include "heap/ref.h"

namespace ebb::rc::internal {

namespace {

constexpr size_t kMostTypes = 10;

using Counts = absl::flat_hash_map<const CountedType*, int64_t>;

Counts CountByType(const Mutator& mutator, const CellTable& table) {
  const bool may_stop = mutator.CheckMayStop("the end of an ebb::rc::Domain").ok();
  Counts counts;
  SafepointNowAndThen safepoint;
  for (CellChunk* chunk : table.Chunks()) {
    for (const Cell& cell : chunk->owners) {
      if (may_stop) safepoint.Pass();
      const Ref<CountedObject> object = cell.Load();
      if (object != nullptr) ++counts[&CountedTypeOf(object)];
    }
  }
  return counts;
}

std::string Describe(const Counts& counts) {
  std::vector<std::pair<int64_t, std::string_view>> types;
  for (const auto& [type, count] : counts) types.emplace_back(-count, type->name);
  std::sort(types.begin(), types.end());  // by name, where there are as many
  std::string text;
  int64_t others = 0;
  for (size_t i = 0; i < types.size(); ++i) {
    const auto& [negative_count, name] = types[i];
    if (i >= kMostTypes) {
      others -= negative_count;
    } else {
      absl::StrAppend(&text, text.empty() ? "" : ", ", -negative_count, " ", name);
    }
  }
  if (others > 0) {
    const size_t more = types.size() - kMostTypes;
    absl::StrAppend(&text, ", and ", others, " of ", more,
                    more == 1 ? " more type" : " more types");
  }
  return text;
}

}  // namespace

std::string DescribeSurvivors(Heap& heap, CellTable& table) {
  try {
    std::optional<Mutator> own;
    const Mutator* mutator = Mutator::Current(heap);
    if (mutator == nullptr) mutator = &own.emplace(heap);
    return Describe(CountByType(*mutator, table));
  } catch (const std::exception& error) {
    return absl::StrCat("of unknown types: ", error.what());
  }
}

}  // namespace ebb::rc::internal
