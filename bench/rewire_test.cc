#include "bench/rewire.h"

#include <cstdint>
#include <optional>
#include <string>

#include "bench/subjects.h"
#include "gtest/gtest.h"

namespace ebb::bench {
namespace {

constexpr RewireJob kJob = {.nodes = 10'000, .steps = 300'000, .batch = 100, .garbage = true};

Record RunOn(const std::string& subject, const RewireJob& job, uint64_t seed = 1) {
  RunSpec spec;
  spec.workload = "W7";
  spec.subject = subject;
  spec.collector = subject == "ebb" ? "parallel" : "";
  spec.heap_multiple = 10;
  spec.seed = seed;
  absl::StatusOr<Record> record = RunRewire(spec, job);
  EXPECT_TRUE(record.ok()) << subject << ": " << record.status();
  return record.ok() ? *record : Record();
}

TEST(RewireTest, EverySubjectEndsWithTheSameGraph) {
  const std::optional<double> checksum = RunOn("ebb", kJob).Number("checksum");
  ASSERT_TRUE(checksum.has_value());
  for (const char* subject : {"glibc", "glibc-shared"}) {
    EXPECT_EQ(RunOn(subject, kJob).Number("checksum"), checksum) << subject;
  }
  EXPECT_NE(RunOn("ebb", kJob, 2).Number("checksum"), checksum);
}

// The Java program is another one, and has to be the same.
TEST(RewireTest, AJvmEndsWithTheSameGraph) {
  if (absl::Status status = CheckPeer("g1"); !status.ok()) GTEST_SKIP() << status.message();
  const Record ebb = RunOn("ebb", kJob, 7);
  const Record jvm = RunOn("g1", kJob, 7);
  EXPECT_EQ(jvm.Number("checksum"), ebb.Number("checksum"));
  EXPECT_EQ(jvm.Number("latency_ns.count"), ebb.Number("latency_ns.count"));
  EXPECT_GT(jvm.Number("timed_collections"), 0);
  EXPECT_GE(jvm.Number("pause_ns.count"), jvm.Number("timed_collections"));
}

TEST(RewireTest, EveryBatchIsTimedAndTheHeapIsCollectedMeanwhile) {
  const Record record = RunOn("ebb", kJob);
  EXPECT_EQ(record.Number("latency_ns.count"), kJob.steps / kJob.batch);
  EXPECT_LE(record.Number("latency_ns.p50"), record.Number("latency_ns.max"));
  EXPECT_GT(record.Number("timed_collections"), 0);
}

// After 30 steps for each node, as many live on as ever will; kJob's last collection is shortly
// before its end. In so small a graph, chance adds or takes a percent.
TEST(RewireTest, LiveBytesIsWhatTheCollectorFinds) {
  const double live = RunOn("ebb", kJob).Number("live_bytes").value_or(0);
  const auto bound = static_cast<double>(kJob.LiveBytes());
  EXPECT_LE(live, 1.02 * bound);
  EXPECT_GE(live, 0.97 * bound);
}

TEST(RewireTest, NodesForFillsTheLiveSize) {
  for (int64_t live : {int64_t{1} << 20, int64_t{64} << 20, int64_t{4} << 30}) {
    for (int64_t steps : {int64_t{100'000}, int64_t{20'000'000}}) {
      RewireJob job = {.nodes = RewireJob::NodesFor(live, steps), .steps = steps, .batch = 100};
      EXPECT_LE(job.LiveBytes(), live);
      ++job.nodes;
      EXPECT_GT(job.LiveBytes(), live);
    }
  }
}

TEST(RewireTest, WithoutALiveSizeThereIsNothingToRun) {
  RunSpec spec;
  spec.subject = "glibc";
  const RewireJob job = {.nodes = RewireJob::NodesFor(0, 20), .steps = 20, .batch = 20};
  EXPECT_EQ(RunRewire(spec, job).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ebb::bench
