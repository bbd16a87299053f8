// Record: one line of benchmark output, a JSON object whose fields keep the order they were set in.
// A field of an inner object is named with a dot: "pause_ns.p50". Used by every part of bench/.

#ifndef EBB_BENCH_RECORD_H_
#define EBB_BENCH_RECORD_H_

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace ebb::bench {

class Record {
 public:
  using Value = std::variant<bool, int64_t, double, std::string>;

  // Sets or replaces a field. Fields of one inner object must be set one after the other.
  void Set(std::string_view name, bool value) { SetValue(name, value); }
  void Set(std::string_view name, std::integral auto value) {
    SetValue(name, static_cast<int64_t>(value));
  }
  void Set(std::string_view name, std::floating_point auto value) {
    SetValue(name, static_cast<double>(value));
  }
  void Set(std::string_view name, std::string_view value) { SetValue(name, std::string(value)); }
  void Set(std::string_view name, const char* value) { SetValue(name, std::string(value)); }

  // Appends the fields of `other`; a field that is there already is replaced.
  void Merge(const Record& other);

  // The field as a number, or nothing if it is absent or not a number.
  std::optional<double> Number(std::string_view name) const;
  // The field as text, or "" if it is absent or not text.
  std::string_view Text(std::string_view name) const;

  // One line without a newline; numbers that are not finite are left out (JSON has no such thing).
  std::string ToJson() const;
  // Reads what ToJson writes: objects of objects, strings, numbers and booleans.
  static absl::StatusOr<Record> FromJson(std::string_view json);

 private:
  void SetValue(std::string_view name, Value value);
  const Value* Find(std::string_view name) const;

  std::vector<std::pair<std::string, Value>> fields_;
};

}  // namespace ebb::bench

#endif  // EBB_BENCH_RECORD_H_
