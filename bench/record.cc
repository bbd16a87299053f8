#include "bench/record.h"

#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace ebb::bench {
namespace {

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppendFormat(&out, "\\u%04x", c);
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string ValueJson(const Record::Value& value) {
  if (const bool* b = std::get_if<bool>(&value)) return *b ? "true" : "false";
  if (const int64_t* i = std::get_if<int64_t>(&value)) return absl::StrCat(*i);
  if (const double* d = std::get_if<double>(&value)) return absl::StrFormat("%.9g", *d);
  return Quoted(std::get<std::string>(value));
}

bool IsJson(const Record::Value& value) {
  const double* d = std::get_if<double>(&value);
  return d == nullptr || std::isfinite(*d);
}

// A reader of the subset that Record writes.
class Reader {
 public:
  Reader(std::string_view text, Record& record) : text_(text), record_(record) {}

  absl::Status Read() {
    if (!Object("") || (Space(), position_ != text_.size())) {
      return absl::InvalidArgumentError(
          absl::StrCat("not a result line (at character ", position_, "): ", text_));
    }
    return absl::OkStatus();
  }

 private:
  void Space() {
    while (position_ < text_.size() && absl::ascii_isspace(text_[position_])) ++position_;
  }
  bool Take(char c) {
    Space();
    if (position_ == text_.size() || text_[position_] != c) return false;
    ++position_;
    return true;
  }
  bool TakeWord(std::string_view word) {
    if (!absl::StartsWith(text_.substr(position_), word)) return false;
    position_ += word.size();
    return true;
  }
  bool String(std::string& out) {
    if (!Take('"')) return false;
    while (position_ < text_.size() && text_[position_] != '"') {
      if (text_[position_] == '\\' && ++position_ == text_.size()) return false;
      out += text_[position_++];
    }
    return Take('"');
  }
  bool Object(const std::string& prefix) {
    if (!Take('{')) return false;
    if (Take('}')) return true;
    do {
      std::string name;
      if (!String(name) || !Take(':') || !Value(absl::StrCat(prefix, name))) return false;
    } while (Take(','));
    return Take('}');
  }
  bool Value(const std::string& name) {
    Space();
    if (position_ == text_.size()) return false;
    if (text_[position_] == '{') return Object(absl::StrCat(name, "."));
    if (text_[position_] == '"') {
      std::string text;
      if (!String(text)) return false;
      record_.Set(name, text);
      return true;
    }
    if (TakeWord("true")) return record_.Set(name, true), true;
    if (TakeWord("false")) return record_.Set(name, false), true;
    size_t end = text_.find_first_not_of("+-.0123456789eE", position_);
    if (end == text_.npos) end = text_.size();
    std::string_view number = text_.substr(position_, end - position_);
    position_ = end;
    int64_t integer = 0;
    double real = 0;
    if (absl::SimpleAtoi(number, &integer)) return record_.Set(name, integer), true;
    if (absl::SimpleAtod(number, &real)) return record_.Set(name, real), true;
    return false;
  }

  std::string_view text_;
  Record& record_;
  size_t position_ = 0;
};

}  // namespace

void Record::SetValue(std::string_view name, Value value) {
  for (auto& [field, old] : fields_) {
    if (field == name) {
      old = std::move(value);
      return;
    }
  }
  fields_.emplace_back(name, std::move(value));
}

const Record::Value* Record::Find(std::string_view name) const {
  for (const auto& [field, value] : fields_) {
    if (field == name) return &value;
  }
  return nullptr;
}

void Record::Merge(const Record& other) {
  for (const auto& [name, value] : other.fields_) SetValue(name, value);
}

std::optional<double> Record::Number(std::string_view name) const {
  const Value* value = Find(name);
  if (value == nullptr) return std::nullopt;
  if (const int64_t* i = std::get_if<int64_t>(value)) return static_cast<double>(*i);
  if (const double* d = std::get_if<double>(value)) return *d;
  return std::nullopt;
}

std::string_view Record::Text(std::string_view name) const {
  const Value* value = Find(name);
  const std::string* text = value == nullptr ? nullptr : std::get_if<std::string>(value);
  return text == nullptr ? std::string_view() : *text;
}

std::string Record::ToJson() const {
  std::string out = "{";
  std::string open;  // the inner object being written
  bool first = true;
  for (const auto& [name, value] : fields_) {
    if (!IsJson(value)) continue;
    size_t dot = name.find('.');
    std::string object = dot == name.npos ? "" : name.substr(0, dot);
    if (object != open && !open.empty()) out += '}';
    if (!first && (object == open || object.empty() || !out.ends_with('{'))) out += ',';
    if (object != open && !object.empty()) {
      absl::StrAppend(&out, Quoted(object), ":{");
    }
    open = object;
    std::string_view leaf =
        dot == name.npos ? std::string_view(name) : std::string_view(name).substr(dot + 1);
    absl::StrAppend(&out, Quoted(leaf), ":", ValueJson(value));
    first = false;
  }
  if (!open.empty()) out += '}';
  return out + '}';
}

absl::StatusOr<Record> Record::FromJson(std::string_view json) {
  Record record;
  absl::Status status = Reader(json, record).Read();
  if (!status.ok()) return status;
  return record;
}

}  // namespace ebb::bench
