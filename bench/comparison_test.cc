#include "bench/comparison.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace ebb::bench {
namespace {

constexpr double kBar = 0.8;

class ComparisonTest : public ::testing::Test {
 protected:
  ComparisonTest() {
    ebb_.workload = "W";
    ebb_.collector = "parallel";
    ebb_.heap_multiple = 3;
    boehm_.workload = "W";
    boehm_.subject = "boehm";
    boehm_.heap_multiple = 3;
    workload_.name = "W";
    workload_.bars = {{.of = "wall_s", .at_most = kBar, .heap_multiple = 3, .peer = "boehm"}};
  }

  static Results::Row Row(const RunSpec& spec, const std::vector<double>& walls) {
    Results::Row row = {.spec = spec, .rounds = {}};
    for (double wall : walls) {
      row.rounds.emplace_back();
      if (wall == 0) continue;  // a run that failed
      row.rounds.back().emplace();
      row.rounds.back()->Set("wall_s", wall);
    }
    return row;
  }

  RunSpec ebb_;
  RunSpec boehm_;
  Workload workload_;
};

TEST_F(ComparisonTest, TheMedianOfTheRoundsDecides) {
  const std::vector<Comparison> comparisons = Comparisons(workload_, {{ebb_, boehm_}}, {});
  ASSERT_EQ(comparisons.size(), 3u);  // wall (with the bar), cpu, memory
  const Results results = {.rows = {Row(ebb_, {7, 7, 9}), Row(boehm_, {10, 10, 10})}};
  const Ratio ratio = comparisons[0].Compute(results);
  EXPECT_DOUBLE_EQ(ratio.median(), 0.7);
  EXPECT_DOUBLE_EQ(ratio.min(), 0.7);
  EXPECT_DOUBLE_EQ(ratio.max(), 0.9);
  EXPECT_TRUE(Holds(comparisons[0], ratio));
  EXPECT_TRUE(SpreadCrossesBar(comparisons[0], ratio));
  EXPECT_EQ(RatioLine(comparisons[0], ratio).ToJson(),
            R"({"kind":"ratio","workload":"W","of":"wall_s","subject":"ebb/parallel",)"
            R"("peer":"boehm","threads":1,"heap_multiple":3,"rounds":3,"median":0.7,"min":0.7,)"
            R"("max":0.9,"bar":0.8,"holds":true})");
}

TEST_F(ComparisonTest, AnEvenNumberOfRoundsHasAMedianBetweenTwo) {
  const Results results = {.rows = {Row(ebb_, {1, 2, 3, 4}), Row(boehm_, {1, 1, 1, 1})}};
  const Comparison comparison = Comparisons(workload_, {{ebb_, boehm_}}, {})[0];
  EXPECT_DOUBLE_EQ(comparison.Compute(results).median(), 2.5);
  EXPECT_FALSE(Holds(comparison, comparison.Compute(results)));
  EXPECT_FALSE(SpreadCrossesBar(comparison, comparison.Compute(results)));
}

TEST_F(ComparisonTest, RoundsInWhichASideFailedDoNotCount) {
  const Results results = {.rows = {Row(ebb_, {1, 0, 3}), Row(boehm_, {2, 2, 0})}};
  const Ratio ratio = Comparisons(workload_, {{ebb_, boehm_}}, {})[0].Compute(results);
  ASSERT_EQ(ratio.values.size(), 1u);
  EXPECT_DOUBLE_EQ(ratio.median(), 0.5);
}

TEST_F(ComparisonTest, ABarWhosePeerIsSkippedDoesNotHold) {
  const std::vector<Comparison> comparisons = Comparisons(workload_, {{ebb_}}, {{"boehm"}});
  ASSERT_EQ(comparisons.size(), 1u);
  const Ratio ratio = comparisons[0].Compute({.rows = {Row(ebb_, {1})}});
  EXPECT_TRUE(ratio.values.empty());
  EXPECT_FALSE(Holds(comparisons[0], ratio));
  EXPECT_EQ(RatioLine(comparisons[0], ratio).Text("peer"), "boehm");
}

TEST_F(ComparisonTest, ABarAboutSettingsThatWereNotAskedForIsLeftOut) {
  ebb_.heap_multiple = boehm_.heap_multiple = 4;
  for (const Comparison& comparison : Comparisons(workload_, {{ebb_, boehm_}}, {})) {
    EXPECT_FALSE(comparison.bar.has_value());
  }
  EXPECT_TRUE(Comparisons(workload_, {{ebb_}}, {}).empty());
}

TEST_F(ComparisonTest, SmokeRunsHaveNoBars) {
  ebb_.smoke = boehm_.smoke = true;
  for (const Comparison& comparison : Comparisons(workload_, {{ebb_, boehm_}}, {})) {
    EXPECT_FALSE(comparison.bar.has_value());
  }
}

TEST_F(ComparisonTest, AFieldOfTheSameResultCanBeThePeer) {
  workload_.bars = {{.of = "wall_s", .at_most = 1, .heap_multiple = 3, .reference = "allowed_s"}};
  Results results = {.rows = {Row(ebb_, {3})}};
  results.rows[0].rounds[0]->Set("allowed_s", 4);
  const Comparison comparison = Comparisons(workload_, {{ebb_}}, {})[0];
  EXPECT_DOUBLE_EQ(comparison.Compute(results).median(), 0.75);
  EXPECT_EQ(comparison.PeerLabel(), "allowed_s");
}

TEST_F(ComparisonTest, EbbCanBeItsOwnPeerWithOneThread) {
  workload_.bars = {{.of = "wall_s", .at_most = 1.3, .threads = 2, .heap_multiple = 3,
                     .peer_threads = 1}};
  RunSpec two = ebb_;
  two.threads = 2;
  const Comparison comparison = Comparisons(workload_, {{ebb_, two}}, {})[0];
  EXPECT_EQ(comparison.subject, two);
  EXPECT_EQ(*comparison.peer, ebb_);
  const Record line =
      RatioLine(comparison, comparison.Compute({.rows = {Row(ebb_, {2}), Row(two, {2.4})}}));
  EXPECT_EQ(line.Number("threads"), 2);
  EXPECT_EQ(line.Number("peer_threads"), 1);
  EXPECT_DOUBLE_EQ(line.Number("median").value(), 1.2);
}

TEST_F(ComparisonTest, ABarIsAboutOneCollectorAndOneLiveSize) {
  workload_.bars = {{.of = "wall_s", .at_most = 2, .collector = "other", .heap_multiple = 3,
                     .live_bytes = 1 << 20, .peer_collector = "parallel"},
                    {.of = "wall_s", .at_most = 1.3, .collector = "other", .heap_multiple = 3,
                     .live_bytes = 1 << 20, .peer_live_bytes = 1 << 10}};
  RunSpec parallel = ebb_;
  parallel.live_bytes = 1 << 20;
  RunSpec other = parallel;
  other.collector = "other";
  RunSpec smaller = other;
  smaller.live_bytes = 1 << 10;
  EXPECT_TRUE(Comparisons(workload_, {{parallel, ebb_}}, {}).empty());
  const std::vector<Comparison> comparisons =
      Comparisons(workload_, {{smaller, parallel, other}}, {});
  ASSERT_EQ(comparisons.size(), 2u);
  EXPECT_EQ(comparisons[0].subject, other);
  EXPECT_EQ(comparisons[0].peer, parallel);
  EXPECT_EQ(comparisons[1].subject, other);
  EXPECT_EQ(comparisons[1].peer, smaller);
  const Record line = RatioLine(comparisons[1], comparisons[1].Compute({}));
  EXPECT_EQ(line.Number("live_size_bytes"), 1 << 20);
  EXPECT_EQ(line.Number("peer_live_size_bytes"), 1 << 10);
}

TEST_F(ComparisonTest, ABarIsAboutOneSizing) {
  workload_.bars = {{.of = "wall_s", .at_most = 2, .sizing = "adaptive", .heap_multiple = 3,
                     .limit = 4}};
  EXPECT_TRUE(Comparisons(workload_, {{ebb_}}, {}).empty());
  RunSpec adaptive = ebb_;
  adaptive.sizing = "adaptive";
  const std::vector<Comparison> comparisons = Comparisons(workload_, {{adaptive}}, {});
  ASSERT_EQ(comparisons.size(), 1u);
  EXPECT_EQ(comparisons[0].subject, adaptive);
  EXPECT_EQ(RatioLine(comparisons[0], {}).Text("subject"), "ebb/parallel/adaptive");
}

TEST_F(ComparisonTest, SizingsAreComparedWithTheFirstOfThem) {
  workload_.bars.clear();
  RunSpec growable = ebb_;
  growable.sizing = "growable";
  RunSpec adaptive = ebb_;
  adaptive.sizing = "adaptive:0.5";
  RunSpec other = adaptive;
  other.threads = 2;
  const std::vector<Comparison> comparisons =
      Comparisons(workload_, {{growable, adaptive, other}}, {});
  std::vector<std::string> fields;
  for (const Comparison& comparison : comparisons) {
    EXPECT_EQ(comparison.subject, adaptive);
    EXPECT_EQ(comparison.peer, growable);
    fields.push_back(comparison.of);
  }
  EXPECT_EQ(fields, std::vector<std::string>(
                        {"wall_s", "cpu_s", "collection_cpu_s", "average_heap_bytes"}));
}

TEST_F(ComparisonTest, BackendsAreComparedWithTheFirstOfThemAndHaveNoBars) {
  RunSpec first = ebb_;
  first.backend = "madvise";
  RunSpec second = ebb_;
  second.backend = "io_uring";
  const std::vector<Comparison> comparisons =
      Comparisons(workload_, {{first, second}}, {{"boehm"}});
  ASSERT_EQ(comparisons.size(), 4u);
  for (const Comparison& comparison : comparisons) {
    EXPECT_FALSE(comparison.bar.has_value());
    EXPECT_EQ(comparison.subject, second);
    EXPECT_EQ(comparison.peer, first);
  }
}

TEST_F(ComparisonTest, ABarCanBeAboutALargerHeap) {
  workload_.bars = {
      {.of = "wall_s", .at_most = 2, .heap_multiple = 3, .peer_heap_multiple = 16}};
  RunSpec larger = ebb_;
  larger.heap_multiple = 16;
  EXPECT_TRUE(Comparisons(workload_, {{ebb_}}, {}).empty());
  const std::vector<Comparison> comparisons = Comparisons(workload_, {{ebb_, larger}}, {});
  ASSERT_EQ(comparisons.size(), 1u);
  EXPECT_EQ(comparisons[0].subject, ebb_);
  EXPECT_EQ(comparisons[0].peer, larger);
  const Record line = RatioLine(comparisons[0], comparisons[0].Compute({}));
  EXPECT_EQ(line.Number("heap_multiple"), 3);
  EXPECT_EQ(line.Number("peer_heap_multiple"), 16);
}

TEST_F(ComparisonTest, ABarCanBeANumberAndBeDecidedByTheLeastRound) {
  workload_.bars = {{.of = "wall_s", .at_most = 1, .heap_multiple = 3, .limit = 4}};
  const Results results = {.rows = {Row(ebb_, {3, 8, 9})}};
  Comparison comparison = Comparisons(workload_, {{ebb_}}, {})[0];
  const Ratio ratio = comparison.Compute(results);
  EXPECT_DOUBLE_EQ(ratio.median(), 2);
  EXPECT_FALSE(Holds(comparison, ratio));
  EXPECT_TRUE(SpreadCrossesBar(comparison, ratio));
  workload_.bars[0].least_counts = true;
  comparison = Comparisons(workload_, {{ebb_}}, {})[0];
  EXPECT_TRUE(Holds(comparison, ratio));
  EXPECT_FALSE(SpreadCrossesBar(comparison, ratio));
  EXPECT_EQ(RatioLine(comparison, ratio).ToJson(),
            R"({"kind":"ratio","workload":"W","of":"wall_s","subject":"ebb/parallel",)"
            R"("peer":"limit","limit":4,"threads":1,"heap_multiple":3,"rounds":3,"median":2,)"
            R"("min":0.75,"max":2.25,"bar":1,"least_counts":true,"holds":true})");
}

}  // namespace
}  // namespace ebb::bench
