#include "heap/options.h"

#include <limits>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace ebb {
namespace {

constexpr int64_t kLeastHeap = int64_t{1} << 20;
constexpr int64_t kMostHeap = int64_t{1} << 40;
// It lies in one slab of address space.
constexpr int64_t kLeastNursery = int64_t{384} << 10;
constexpr int64_t kMostNursery = int64_t{63} << 20;
constexpr int64_t kMostInt = std::numeric_limits<int64_t>::max();

// "12", "64k", "1g"; false if it is nothing of the kind or does not fit.
bool ParseSize(absl::string_view text, int64_t& size) {
  constexpr absl::string_view kUnits = "kmgt";
  int shift = 0;
  if (!text.empty()) {
    size_t unit = kUnits.find(absl::ascii_tolower(text.back()));
    if (unit != kUnits.npos) {
      shift = 10 * (static_cast<int>(unit) + 1);
      text.remove_suffix(1);
    }
  }
  int64_t count = 0;
  if (!absl::SimpleAtoi(text, &count) || count < 0 || count > (kMostInt >> shift)) return false;
  size = count << shift;
  return true;
}

// One option: how its text is read and how its value is checked and shown.
struct Entry {
  absl::string_view name;
  std::string accepted;
  std::function<bool(absl::string_view, Options&)> parse;
  std::function<bool(const Options&)> in_range;
  std::function<std::string(const Options&)> show;
};

// `Get` maps Options& to the field.
template <typename Get>
Entry NumberEntry(absl::string_view name, double least, double most, Get get) {
  return {name, absl::StrCat("a number from ", least, " to ", most),
          [get](absl::string_view text, Options& o) { return absl::SimpleAtod(text, &get(o)); },
          [=](const Options& o) {
            const double value = get(const_cast<Options&>(o));
            return value >= least && value <= most;
          },
          [get](const Options& o) { return absl::StrCat(get(const_cast<Options&>(o))); }};
}

template <typename Get>
Entry SizeEntry(absl::string_view name, int64_t least, int64_t most, bool zero_is_default,
                Get get) {
  return {name,
          absl::StrCat(zero_is_default ? "0 (the default) or " : "", "a size from ", least, " to ",
                       most, " (k, m, g, t)"),
          [get](absl::string_view text, Options& o) { return ParseSize(text, get(o)); },
          [=](const Options& o) {
            int64_t value = get(const_cast<Options&>(o));
            return (zero_is_default && value == 0) || (value >= least && value <= most);
          },
          [get](const Options& o) { return absl::StrCat(get(const_cast<Options&>(o))); }};
}

template <typename Get>
Entry CountEntry(absl::string_view name, int64_t most, Get get) {
  return {name, absl::StrCat("a whole number from 0 to ", most),
          [get](absl::string_view text, Options& o) { return absl::SimpleAtoi(text, &get(o)); },
          [=](const Options& o) {
            int64_t value = get(const_cast<Options&>(o));
            return value >= 0 && value <= most;
          },
          [get](const Options& o) { return absl::StrCat(get(const_cast<Options&>(o))); }};
}

template <typename Get>
Entry SwitchEntry(absl::string_view name, Get get) {
  return {name, "true or false",
          [get](absl::string_view text, Options& o) { return absl::SimpleAtob(text, &get(o)); },
          [](const Options&) { return true; },
          [get](const Options& o) {
            return std::string(get(const_cast<Options&>(o)) ? "true" : "false");
          }};
}

template <typename Get>
Entry DurationEntry(absl::string_view name, absl::Duration least, absl::Duration most, Get get) {
  return {name,
          absl::StrCat("a duration from ", absl::FormatDuration(least), " to ",
                       absl::FormatDuration(most)),
          [get](absl::string_view text, Options& o) { return absl::ParseDuration(text, &get(o)); },
          [=](const Options& o) {
            absl::Duration value = get(const_cast<Options&>(o));
            return value >= least && value <= most;
          },
          [get](const Options& o) { return absl::FormatDuration(get(const_cast<Options&>(o))); }};
}

template <typename Enum>
struct Named {
  absl::string_view name;
  Enum value;
};

template <typename Enum, typename Get>
Entry EnumEntry(absl::string_view name, std::vector<Named<Enum>> values, Get get) {
  std::string accepted = "one of";
  for (const auto& v : values) absl::StrAppend(&accepted, " ", v.name);
  return {name, accepted,
          [=](absl::string_view text, Options& o) {
            for (const auto& v : values) {
              if (v.name == text) {
                get(o) = v.value;
                return true;
              }
            }
            return false;
          },
          [=](const Options& o) {
            const Enum value = get(const_cast<Options&>(o));
            return absl::c_any_of(values, [value](const auto& v) { return v.value == value; });
          },
          [=](const Options& o) {
            for (const auto& v : values) {
              if (v.value == get(const_cast<Options&>(o))) return std::string(v.name);
            }
            return absl::StrCat(static_cast<int>(get(const_cast<Options&>(o))));
          }};
}

#define EBB_OPTION(field) [](Options& o) -> auto& { return o.field; }

const std::vector<Entry>& Entries() {
  using platform::ReleaseBackend;
  static const auto* entries = new std::vector<Entry>{
      SizeEntry("max_bytes", kLeastHeap, kMostHeap, true, EBB_OPTION(max_bytes)),
      SizeEntry("reserve_bytes", kLeastHeap, 4 * kMostHeap, true, EBB_OPTION(reserve_bytes)),
      NumberEntry("memory_limit_share", 0, 1, EBB_OPTION(memory_limit_share)),
      SwitchEntry("yield_to_pressure", EBB_OPTION(yield_to_pressure)),
      EnumEntry<Sizing>("sizing",
                        {{"fixed", Sizing::kFixed},
                         {"growable", Sizing::kGrowable},
                         {"adaptive", Sizing::kAdaptive}},
                        EBB_OPTION(sizing)),
      SizeEntry("min_bytes", kLeastHeap, kMostHeap, true, EBB_OPTION(min_bytes)),
      NumberEntry("growth", 2, 100, EBB_OPTION(growth)),
      NumberEntry("processors_per_gib", 0.001, 1000, EBB_OPTION(processors_per_gib)),
      EnumEntry<Collector>(
          "collector",
          {{"parallel", Collector::kParallel},
           {"concurrent", Collector::kConcurrent},
           {"generational", Collector::kGenerational}},
          EBB_OPTION(collector)),
      SizeEntry("nursery_bytes", kLeastNursery, kMostNursery, true, EBB_OPTION(nursery_bytes)),
      DurationEntry("minor_pause_target", absl::Microseconds(10), absl::Hours(1),
                    EBB_OPTION(minor_pause_target)),
      SwitchEntry("nursery_bypass", EBB_OPTION(nursery_bypass)),
      CountEntry("workers", 256, EBB_OPTION(workers)),
      CountEntry("concurrent_workers", 256, EBB_OPTION(concurrent_workers)),
      CountEntry("collector_niceness", 19, EBB_OPTION(collector_niceness)),
      SizeEntry("large_object_bytes", 1 << 10, 32 << 10, false, EBB_OPTION(large_object_bytes)),
      SwitchEntry("page_out", EBB_OPTION(page_out)),
      DurationEntry("page_out_tick", absl::Milliseconds(1), absl::Hours(24),
                    EBB_OPTION(page_out_tick)),
      EnumEntry<ReleaseBackend>("release_backend",
                                {{"auto", ReleaseBackend::kAuto},
                                 {"process_madvise", ReleaseBackend::kProcessMadvise},
                                 {"io_uring", ReleaseBackend::kIoUring},
                                 {"madvise", ReleaseBackend::kMadvise}},
                                EBB_OPTION(release_backend)),
      EnumEntry<HugePages>("huge_pages",
                           {{"never", HugePages::kNever},
                            {"dense", HugePages::kDense},
                            {"always", HugePages::kAlways}},
                           EBB_OPTION(huge_pages)),
      SwitchEntry("field_logging", EBB_OPTION(field_logging)),
      DurationEntry("safepoint_warning", absl::Milliseconds(1), absl::Hours(24),
                    EBB_OPTION(safepoint_warning)),
      CountEntry("stress_collect_every", 1'000'000'000, EBB_OPTION(stress.collect_every)),
      CountEntry("stress_seed", kMostInt, EBB_OPTION(stress.seed)),
      CountEntry("stress_fail_evacuation", kMostInt, EBB_OPTION(stress.fail_evacuation)),
      CountEntry("stress_worklist_capacity", 1 << 20, EBB_OPTION(stress.worklist_capacity)),
      SwitchEntry("stress_protect_from_space", EBB_OPTION(stress.protect_from_space)),
      SwitchEntry("stress_poison", EBB_OPTION(stress.poison)),
      SwitchEntry("stress_verify", EBB_OPTION(stress.verify)),
  };
  return *entries;
}

#undef EBB_OPTION

absl::Status BadValue(const Entry& entry, absl::string_view value) {
  return absl::InvalidArgumentError(
      absl::StrCat("option ", entry.name, ": '", value, "' is not ", entry.accepted));
}

absl::Status UnknownName(absl::string_view name) {
  std::string known;
  for (const Entry& entry : Entries())
    absl::StrAppend(&known, known.empty() ? "" : ", ", entry.name);
  return absl::InvalidArgumentError(
      absl::StrCat("option '", name, "' is unknown; there are ", known));
}

}  // namespace

absl::StatusOr<Options> Options::Parse(absl::string_view text, const Options& base) {
  Options options = base;
  for (absl::string_view part : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    std::pair<absl::string_view, absl::string_view> pair =
        absl::StrSplit(part, absl::MaxSplits('=', 1));
    absl::string_view name = absl::StripAsciiWhitespace(pair.first);
    absl::string_view value = absl::StripAsciiWhitespace(pair.second);
    const Entry* found = nullptr;
    for (const Entry& entry : Entries()) {
      if (entry.name == name) found = &entry;
    }
    if (found == nullptr) return UnknownName(name);
    if (!found->parse(value, options) || !found->in_range(options)) return BadValue(*found, value);
  }
  if (absl::Status status = options.Validate(); !status.ok()) return status;
  return options;
}

absl::Status Options::Validate() const {
  for (const Entry& entry : Entries()) {
    if (!entry.in_range(*this)) return BadValue(entry, entry.show(*this));
  }
  if (max_bytes != 0 && reserve_bytes != 0 && reserve_bytes < max_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("option reserve_bytes: '", reserve_bytes,
                                                   "' is less than max_bytes, which is ", max_bytes,
                                                   "; leave it 0 or raise it"));
  }
  if (max_bytes != 0 && min_bytes > max_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("option min_bytes: '", min_bytes,
                                                   "' is more than max_bytes, which is ", max_bytes,
                                                   "; leave it 0 or lower it"));
  }
  return absl::OkStatus();
}

std::string Options::Describe() const {
  std::string text;
  for (const Entry& entry : Entries()) {
    absl::StrAppend(&text, entry.name, "=", entry.show(*this), "  (", entry.accepted, ")\n");
  }
  return text;
}

}  // namespace ebb
