#include "heap/histogram.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace ebb {
namespace {

TEST(HistogramTest, Empty) {
  Histogram histogram;
  EXPECT_EQ(histogram.Count(), 0);
  EXPECT_EQ(histogram.Percentile(50), 0);
  EXPECT_EQ(histogram.Max(), 0);
}

TEST(HistogramTest, AgreesWithSorting) {
  std::mt19937_64 random(20261120);
  Histogram histogram;
  std::vector<int64_t> values;
  for (int i = 0; i < 20'000; ++i) {
    values.push_back(static_cast<int64_t>(random() >> (random() % 64)) & INT64_MAX);
    histogram.Record(values.back());
  }
  std::sort(values.begin(), values.end());
  EXPECT_EQ(histogram.Max(), values.back());
  for (double percent : {0.0, 1.0, 10.0, 50.0, 90.0, 99.0, 99.9, 100.0}) {
    const double rank = std::ceil(percent / 100 * static_cast<double>(values.size()));
    const int64_t exact = values[static_cast<size_t>(std::max(rank, 1.0)) - 1];
    const int64_t got = histogram.Percentile(percent);
    EXPECT_GE(got, exact) << percent;
    EXPECT_LE(static_cast<double>(got), static_cast<double>(exact) * 1.0325) << percent;
  }
}

TEST(HistogramTest, MergeIsRecordingBoth) {
  Histogram a, b, both;
  for (int64_t value : {0, 5, 63, 64, 65, 1000}) a.Record(value), both.Record(value);
  for (int64_t value : {7, 1 << 20}) b.Record(value), both.Record(value);
  a.Merge(b);
  EXPECT_EQ(a.Count(), both.Count());
  EXPECT_EQ(a.Sum(), both.Sum());
  EXPECT_EQ(a.Max(), both.Max());
  for (double percent = 0; percent <= 100; percent += 5) {
    EXPECT_EQ(a.Percentile(percent), both.Percentile(percent));
  }
}

TEST(HistogramTest, ExtremesFit) {
  Histogram histogram;
  histogram.Record(INT64_MAX);
  histogram.Record(-5);
  EXPECT_EQ(histogram.Percentile(100), INT64_MAX);
  EXPECT_EQ(histogram.Percentile(0), 0);
}

}  // namespace
}  // namespace ebb
