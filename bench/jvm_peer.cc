#include "bench/jvm_peer.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "bench/meter.h"
#include "bench/safepoint_log.h"
#include "bench/subprocess.h"

namespace ebb::bench {
namespace {

constexpr char kSource[] =
#include "bench/jvm/rewire_java.inc"
    ;

struct JvmCollector {
  std::string_view name;
  std::string_view flag;
  std::string_view operations;  // how the names of its safepoint operations begin
};
constexpr JvmCollector kCollectors[] = {
    {.name = "zgc", .flag = "-XX:+UseZGC", .operations = "Z"},
    {.name = "shenandoah", .flag = "-XX:+UseShenandoahGC", .operations = "Shenandoah"},
    {.name = "g1", .flag = "-XX:+UseG1GC", .operations = "G1"},
};

// Null if there is none of that name.
const JvmCollector* FindCollector(std::string_view name) {
  for (const JvmCollector& collector : kCollectors) {
    if (collector.name == name) return &collector;
  }
  return nullptr;
}

// Small graphs that the program works on before the timed part: until nothing is left to compile;
// in smoke runs, whose times mean nothing, one.
constexpr int kWarmUpGraphs = 10;
constexpr int kWarmUpGraphsOfSmokeRuns = 1;

std::vector<std::string> JavaCommand(const JvmCollector& collector, int64_t heap_bytes) {
  const std::string kib = absl::StrCat(heap_bytes / 1024, "k");  // (of bytes, only such multiples)
  return {"java", std::string(collector.flag), absl::StrCat("-Xms", kib), absl::StrCat("-Xmx", kib),
          // One collector thread beside the one mutator.
          "-XX:ParallelGCThreads=1", "-XX:ConcGCThreads=1",
          // System.gc() is then a cycle as the others are, of G1 too, and no pause of its own kind.
          "-XX:+ExplicitGCInvokesConcurrent",
          // Otherwise pauses end with stores to a file that is mapped, and may wait for the disk.
          "-XX:-UsePerfData"};
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file) return absl::InternalError(absl::StrCat("cannot read ", path));
  return text;
}

// The numbers that the program left, one on each line.
absl::StatusOr<std::vector<int64_t>> ReadNumbers(const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return text.status();
  std::vector<int64_t> numbers;
  for (std::string_view line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
    if (!absl::SimpleAtoi(line, &numbers.emplace_back())) {
      return absl::InternalError(absl::StrCat(path, ": not a number: ", line));
    }
  }
  return numbers;
}

// Makes the program in `directory`.
absl::Status Compile(const std::string& directory) {
  const std::string source = absl::StrCat(directory, "/Rewire.java");
  std::ofstream file(source);
  file << kSource;
  file.close();
  if (!file) return absl::InternalError(absl::StrCat("cannot write ", source));
  return RunSubprocess({"javac", "-d", directory, source}, absl::StrCat(directory, "/output"));
}

// What the program, which has ended, left in `directory`.
absl::StatusOr<Record> ReadResult(const JvmCollector& collector, const std::string& directory) {
  absl::StatusOr<std::string> line = ReadFile(absl::StrCat(directory, "/result.json"));
  if (!line.ok()) return line.status();
  absl::StatusOr<Record> record = Record::FromJson(*line);
  if (!record.ok()) return record.status();
  absl::StatusOr<std::vector<int64_t>> times = ReadNumbers(absl::StrCat(directory, "/times.txt"));
  if (!times.ok()) return times.status();
  if (times->empty()) return absl::InternalError("the Java program left no times");
  const int64_t warm_ns = times->front();
  times->erase(times->begin());
  absl::StatusOr<std::string> text = ReadFile(absl::StrCat(directory, "/safepoints.log"));
  if (!text.ok()) return text.status();
  absl::StatusOr<SafepointLog> log = SafepointLog::Parse(*text, collector.operations, warm_ns);
  if (!log.ok()) return log.status();
  WriteDistribution(*std::move(times), "latency_ns", *record);
  WriteDistribution(std::move(log->pause_ns), "pause_ns", *record);
  WriteDistribution(std::move(log->time_to_safepoint_ns), "time_to_safepoint_ns", *record);
  return record;
}

}  // namespace

const std::vector<std::string>& JvmPeers() {
  static const auto* const names = [] {
    auto* const made = new std::vector<std::string>;
    for (const JvmCollector& collector : kCollectors) made->emplace_back(collector.name);
    return made;
  }();
  return *names;
}

bool IsJvmPeer(std::string_view name) { return FindCollector(name) != nullptr; }

absl::Status CheckJvmPeer(std::string_view name) {
  const JvmCollector* const collector = FindCollector(name);
  if (collector == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("no JVM peer is called '", name, "'"));
  }
  absl::StatusOr<TemporaryDirectory> directory = TemporaryDirectory::Make();
  if (!directory.ok()) return directory.status();
  const std::string output = absl::StrCat(directory->path(), "/output");
  std::vector<std::string> java = JavaCommand(*collector, kLeastJvmHeapBytes);
  java.emplace_back("-version");
  absl::Status status = RunSubprocess({"javac", "-version"}, output);
  if (status.ok()) status = RunSubprocess(java, output);
  if (status.ok()) return status;
  return absl::UnavailableError(
      absl::StrCat(status.message(), " (bench/run --peers installs openjdk-17-jdk-headless)"));
}

absl::StatusOr<Record> RunRewireOnJvm(const JvmRewireOptions& options) {
  const JvmCollector* const collector = FindCollector(options.peer);
  if (collector == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("no JVM peer is called '", options.peer, "'"));
  }
  absl::StatusOr<TemporaryDirectory> directory = TemporaryDirectory::Make();
  if (!directory.ok()) return directory.status();
  const std::string& path = directory->path();
  absl::Status status = Compile(path);
  if (!status.ok()) return status;
  std::vector<std::string> java =
      JavaCommand(*collector, std::max(options.heap_bytes, kLeastJvmHeapBytes));
  java.insert(
      java.end(),
      {// One file, however long.
       absl::StrCat("-Xlog:safepoint:file=\"", path, "/safepoints.log\":timenanos:filecount=0"),
       "-cp", path, "Rewire",
       absl::StrCat(options.smoke ? kWarmUpGraphsOfSmokeRuns : kWarmUpGraphs),
       absl::StrCat(options.nodes), absl::StrCat(options.steps), absl::StrCat(options.batch),
       absl::StrCat(options.garbage_bytes), absl::StrCat(options.seed), path});
  status = RunSubprocess(java, absl::StrCat(path, "/output"));
  if (!status.ok()) return status;
  return ReadResult(*collector, path);
}

}  // namespace ebb::bench
