#include "bench/request.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "bench/subjects.h"

namespace ebb::bench {
namespace {

constexpr int kDefaultRounds = 5;
constexpr double kMainHeapMultiple = 5;
constexpr int kMainThreads = 2;
constexpr char kMainCollector[] = "concurrent";

constexpr int64_t kLeastLive = 16 << 10;
// (W7 draws an edge as a 32-bit number.)
constexpr int64_t kMostLive = int64_t{32} << 30;

std::string WorkloadNames() {
  return absl::StrJoin(AllWorkloads(), ", ", [](std::string* out, const Workload& workload) {
    absl::StrAppend(out, workload.name);
  });
}

absl::Status Unknown(std::string_view what, std::string_view value, std::string_view accepted) {
  return absl::InvalidArgumentError(
      absl::StrCat("unknown ", what, " '", value, "' (accepted: ", accepted, ")"));
}

// Numbers in [least, most], separated by commas; messages show the bounds as `show` writes them.
template <typename Number, typename Convert, typename Show = std::identity>
absl::Status ReadNumbers(std::string_view flag, std::string_view text, Number least, Number most,
                         Convert convert, std::vector<Number>& out, Show show = {}) {
  out.clear();
  for (std::string_view part : absl::StrSplit(text, ',')) {
    Number number = {};
    if (!convert(part, &number) || !(number >= least && number <= most)) {
      return absl::InvalidArgumentError(
          absl::StrCat(flag, ": bad value '", part, "' (accepted: numbers from ", show(least),
                       " to ", show(most), ", separated by commas)"));
    }
    out.push_back(number);
  }
  return absl::OkStatus();
}

absl::Status ReadIntegers(std::string_view flag, std::string_view text, int most,
                          std::vector<int>& out) {
  return ReadNumbers<int>(flag, text, 1, most, &absl::SimpleAtoi<int>, out);
}

absl::Status ReadNames(std::string_view what, std::string_view text,
                       const std::vector<std::string>& accepted, std::vector<std::string>& out) {
  out.clear();
  for (std::string_view part : absl::StrSplit(text, ',')) {
    if (!absl::c_linear_search(accepted, part)) {
      return Unknown(what, part, absl::StrJoin(accepted, ", "));
    }
    out.emplace_back(part);
  }
  return absl::OkStatus();
}

// What `with` makes Options of.
absl::Status ReadOptions(absl::StatusOr<Options> (*with)(std::string_view, const Options&),
                         std::string_view text, std::vector<std::string>& out) {
  out.clear();
  for (std::string_view part : absl::StrSplit(text, ',')) {
    absl::Status status = with(part, Options()).status();
    if (!status.ok()) return status;
    out.emplace_back(part);
  }
  return absl::OkStatus();
}

constexpr std::string_view kFlags =
    "--all, --smoke, --check, --list, --help, --rounds N, --peers [LIST], --heap LIST, "
    "--live LIST, --threads LIST, --collector LIST, --sizing LIST, --backend LIST, --seed N, "
    "--json FILE";

class Parser {
 public:
  explicit Parser(absl::Span<const std::string_view> args) : args_(args) {}

  absl::StatusOr<Request> Parse() {
    while (next_ < args_.size()) {
      std::string_view arg = args_[next_++];
      absl::Status status = absl::StartsWith(arg, "-") ? Flag(arg) : Name(arg);
      if (!status.ok()) return status;
    }
    if (request_.check && request_.smoke) {
      return absl::InvalidArgumentError(
          "--check and --smoke exclude each other: bars are about the full sizes");
    }
    return std::move(request_);
  }

 private:
  absl::Status Name(std::string_view name) {
    const Workload* workload = FindWorkload(name);
    if (workload == nullptr) return Unknown("workload", name, WorkloadNames());
    if (!absl::c_linear_search(request_.workloads, workload)) {
      request_.workloads.push_back(workload);
    }
    return absl::OkStatus();
  }

  absl::Status Flag(std::string_view arg) {
    std::pair<std::string_view, std::string_view> split =
        absl::StrSplit(arg, absl::MaxSplits('=', 1));
    std::string_view name = split.first;
    inline_value_ = absl::StrContains(arg, '=') ? std::optional(split.second) : std::nullopt;
    for (auto& [flag, target] : {std::pair<std::string_view, bool*>{"--smoke", &request_.smoke},
                                 {"--check", &request_.check},
                                 {"--list", &request_.list},
                                 {"--help", &request_.help}}) {
      if (name == flag) return Switch(name, *target);
    }
    if (name == "--all") return All(name);
    if (name == "--peers") return ReadPeers();
    if (name == "--rounds") return Single(name, 1000, request_.rounds);
    if (name == "--heap") {
      return WithValue(name, [&](std::string_view value) {
        return ReadNumbers<double>(name, value, 1, 1000, &absl::SimpleAtod,
                                   request_.heap_multiples);
      });
    }
    if (name == "--live") {
      return WithValue(name, [&](std::string_view value) {
        return ReadNumbers<int64_t>(name, value, kLeastLive, kMostLive, &ParseSize,
                                    request_.live_sizes, &SizeName);
      });
    }
    if (name == "--threads") {
      return WithValue(name, [&](std::string_view value) {
        return ReadIntegers(name, value, 256, request_.threads);
      });
    }
    if (name == "--collector") {
      return WithValue(name, [&](std::string_view value) {
        return ReadNames("collector", value, Collectors(), request_.collectors);
      });
    }
    if (name == "--sizing") {
      return WithValue(name, [&](std::string_view value) {
        return ReadOptions(&WithSizing, value, request_.sizings);
      });
    }
    if (name == "--backend") {
      return WithValue(name, [&](std::string_view value) {
        return ReadOptions(&WithBackend, value, request_.backends);
      });
    }
    if (name == "--seed") {
      int seed = 0;
      absl::Status status = Single(name, 1 << 30, seed);
      request_.seed = static_cast<uint64_t>(seed);
      return status;
    }
    if (name == "--json") {
      return WithValue(name, [&](std::string_view value) {
        request_.json_file = value;
        return absl::OkStatus();
      });
    }
    return Unknown("option", arg, kFlags);
  }

  absl::Status Switch(std::string_view name, bool& target) {
    if (inline_value_.has_value()) {
      return absl::InvalidArgumentError(absl::StrCat(name, " takes no value"));
    }
    target = true;
    return absl::OkStatus();
  }

  absl::Status All(std::string_view name) {
    bool all = false;
    absl::Status status = Switch(name, all);
    request_.workloads.clear();
    for (const Workload& workload : AllWorkloads()) request_.workloads.push_back(&workload);
    return status;
  }

  template <typename Read>
  absl::Status WithValue(std::string_view name, const Read& read) {
    if (!inline_value_.has_value() && next_ < args_.size() &&
        !absl::StartsWith(args_[next_], "--")) {
      inline_value_ = args_[next_++];
    }
    if (!inline_value_.has_value() || inline_value_->empty()) {
      return absl::InvalidArgumentError(absl::StrCat(name, " needs a value"));
    }
    return read(*inline_value_);
  }

  absl::Status Single(std::string_view name, int most, int& out) {
    return WithValue(name, [&](std::string_view value) {
      std::vector<int> numbers;
      absl::Status status = ReadIntegers(name, value, most, numbers);
      if (status.ok() && numbers.size() != 1) {
        return absl::InvalidArgumentError(absl::StrCat(name, " takes one number"));
      }
      if (status.ok()) out = numbers[0];
      return status;
    });
  }

  // Without a value (the next argument is a flag, a workload, or missing): every peer.
  absl::Status ReadPeers() {
    const bool next_is_list = next_ < args_.size() && !absl::StartsWith(args_[next_], "--") &&
                              FindWorkload(args_[next_]) == nullptr;
    if (!inline_value_.has_value() && next_is_list) inline_value_ = args_[next_++];
    if (!inline_value_.has_value()) {
      request_.peers = Peers();
      return absl::OkStatus();
    }
    request_.peers.emplace();
    if (*inline_value_ == "none") return absl::OkStatus();
    std::vector<std::string> accepted = Peers();
    accepted.push_back("none");
    return ReadNames("peer", *inline_value_, accepted, *request_.peers);
  }

  absl::Span<const std::string_view> args_;
  size_t next_ = 0;
  std::optional<std::string_view> inline_value_;
  Request request_;
};

// `wanted`, or `usual` if nothing is wanted; one `fallback` where the setting does not apply.
template <typename T>
std::vector<T> Settings(const std::vector<T>& wanted, const std::vector<T>& usual, T fallback) {
  if (usual.empty()) return {fallback};
  return wanted.empty() ? usual : wanted;
}

std::string BarLine(const Bar& bar) {
  std::string line =
      absl::StrFormat("         bar: %s at most %.3g of ", bar.of, bar.at_most);
  absl::StrAppend(&line, bar.peer, bar.reference);
  if (!bar.peer_collector.empty()) absl::StrAppend(&line, "ebb/", bar.peer_collector);
  if (bar.peer_threads > 0) absl::StrAppendFormat(&line, "ebb on %d thread", bar.peer_threads);
  if (bar.peer_heap_multiple > 0) {
    absl::StrAppendFormat(&line, "ebb's with heap %gx", bar.peer_heap_multiple);
  }
  if (bar.peer_live_bytes > 0) absl::StrAppend(&line, "ebb's at ", SizeName(bar.peer_live_bytes));
  if (bar.peer_workers > 0) absl::StrAppendFormat(&line, "ebb by %d worker", bar.peer_workers);
  if (bar.limit > 0) absl::StrAppendFormat(&line, "%.6g", bar.limit);
  absl::StrAppendFormat(&line, ", %s, %d thread(s)", bar.collector, bar.threads);
  if (!bar.sizing.empty()) absl::StrAppend(&line, ", ", bar.sizing);
  if (bar.heap_multiple > 0) absl::StrAppendFormat(&line, ", heap %gx", bar.heap_multiple);
  if (bar.live_bytes > 0) absl::StrAppend(&line, ", live ", SizeName(bar.live_bytes));
  if (bar.workers > 0) absl::StrAppendFormat(&line, ", %d worker(s)", bar.workers);
  if (bar.least_counts) absl::StrAppend(&line, ", by the least round");
  return line;
}

}  // namespace

absl::StatusOr<Request> Request::Parse(absl::Span<const std::string_view> args) {
  absl::StatusOr<Request> request = Parser(args).Parse();
  if (!request.ok() || !request->workloads.empty()) return request;
  request->workloads = {FindWorkload("W1")};
  if (!request->peers.has_value()) request->peers.emplace();
  if (request->heap_multiples.empty()) request->heap_multiples = {kMainHeapMultiple};
  if (request->threads.empty()) request->threads = {kMainThreads};
  if (request->collectors.empty()) request->collectors = {kMainCollector};
  if (request->rounds == 0 && request->peers->empty()) request->rounds = 1;
  return request;
}

int Request::Rounds() const {
  if (rounds > 0) return rounds;
  return smoke ? 1 : kDefaultRounds;
}

std::vector<RunSpec> Request::Plan(const Workload& workload) const {
  std::vector<RunSpec> plan;
  auto add = [&](const RunSpec& spec) {
    if (!absl::c_linear_search(plan, spec)) plan.push_back(spec);
  };
  RunSpec spec;
  spec.workload = workload.name;
  spec.seed = seed;
  spec.smoke = smoke;
  auto add_ebb = [&](RunSpec own) {
    for (const std::string& sizing : Settings(sizings, workload.sizings, {})) {
      own.sizing = sizing;
      for (const std::string& backend : Settings(backends, workload.backends, {})) {
        own.backend = backend;
        add(own);
      }
    }
  };
  auto add_subjects = [&] {
    for (int worker_count : Settings<int>({}, workload.workers, 0)) {
      for (const std::string& collector : Settings(collectors, workload.collectors, {})) {
        RunSpec own = spec;
        own.collector = collector;
        own.workers = worker_count;
        add_ebb(own);
      }
    }
    for (const std::string& peer : peers.value_or(workload.default_peers)) {
      if (!absl::c_linear_search(workload.peers, peer)) continue;
      RunSpec other = spec;
      other.subject = peer;
      if (!HasHeapSize(peer)) other.heap_multiple = 0;
      add(other);
    }
  };
  for (int64_t live : Settings(live_sizes, workload.live_sizes, int64_t{0})) {
    spec.live_bytes = live;
    for (double heap : Settings(heap_multiples, workload.heap_multiples, 0.0)) {
      spec.heap_multiple = heap;
      for (int thread_count : Settings(threads, workload.threads, 1)) {
        spec.threads = thread_count;
        add_subjects();
      }
    }
  }
  return plan;
}

std::string Usage() {
  return absl::StrCat(
      "usage: bench/run [WORKLOAD...] [OPTION...]\n"
      "       bench/run --least-heap [--help]\n"
      "  Without a workload: W1 on two mutators. Each run is a process of its own; the rounds of\n"
      "  subject and peers are interleaved. See bench/README.md.\n"
      "  WORKLOAD         ", WorkloadNames(), "\n"
      "  --all            every workload\n"
      "  --smoke          small sizes, seconds in all; bars do not apply\n"
      "  --rounds N       default 5; 1 for the main job and with --smoke\n"
      "  --peers [LIST]   ", absl::StrJoin(Peers(), ", "), ";\n"
      "                   none; without LIST all of them. Default: what the bars name\n"
      "  --heap LIST      heap sizes as multiples of the largest live size, e.g. 2.5,5\n"
      "  --live LIST      live sizes, where a workload has several, e.g. 64m,1g\n"
      "  --threads LIST   mutator threads, e.g. 1,2\n"
      "  --collector LIST ", absl::StrJoin(Collectors(), ", "), "\n"
      "  --sizing LIST    fixed, growable, growable:GROWTH, adaptive, adaptive:PROCESSORS_PER_GIB\n"
      "  --backend LIST   how pages are given back: auto, process_madvise, io_uring, madvise\n"
      "  --seed N         of the random sequences; default 1\n"
      "  --json FILE      one JSON object a line, beside the table\n"
      "  --check          exit 1 if a bar does not hold or could not be measured\n"
      "  --list           workloads, peers and bars\n");
}

std::string Listing() {
  std::string out;
  for (const Workload& workload : AllWorkloads()) {
    absl::StrAppendFormat(&out, "%-6s %s\n", workload.name, workload.about);
    for (const Bar& bar : workload.bars) {
      absl::StrAppend(&out, BarLine(bar), "\n");
    }
  }
  absl::StrAppend(&out, "peers: ", absl::StrJoin(Peers(), ", "), "\n");
  return out;
}

}  // namespace ebb::bench
