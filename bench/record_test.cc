#include "bench/record.h"

#include <limits>

#include "gtest/gtest.h"

namespace ebb::bench {
namespace {

TEST(RecordTest, KeepsTheOrderAndNestsDottedNames) {
  Record record;
  record.Set("workload", "W1");
  record.Set("wall_s", 1.5);
  record.Set("pause_ns.count", 3);
  record.Set("pause_ns.p50", int64_t{1} << 40);
  record.Set("holds", true);
  EXPECT_EQ(record.ToJson(),
            R"({"workload":"W1","wall_s":1.5,"pause_ns":{"count":3,"p50":1099511627776},)"
            R"("holds":true})");
}

TEST(RecordTest, AnInnerObjectMayComeFirstLastOrBesideAnother) {
  Record record;
  record.Set("a.x", 1);
  record.Set("b.x", 2);
  EXPECT_EQ(record.ToJson(), R"({"a":{"x":1},"b":{"x":2}})");
}

TEST(RecordTest, SettingAgainReplaces) {
  Record record;
  record.Set("a", 1);
  record.Set("b", 2);
  record.Set("a", "x");
  EXPECT_EQ(record.ToJson(), R"({"a":"x","b":2})");
}

TEST(RecordTest, LeavesOutWhatJsonCannotSay) {
  Record record;
  record.Set("a", std::numeric_limits<double>::infinity());
  record.Set("b", std::numeric_limits<double>::quiet_NaN());
  record.Set("c", 1);
  EXPECT_EQ(record.ToJson(), R"({"c":1})");
}

TEST(RecordTest, ReadsWhatItWrites) {
  Record record;
  record.Set("text", "a \"quoted\" back\\slash");
  record.Set("p.q", -1.25e-7);
  record.Set("n", int64_t{-5});
  record.Set("no", false);
  absl::StatusOr<Record> read = Record::FromJson(record.ToJson());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->ToJson(), record.ToJson());
  EXPECT_EQ(read->Text("text"), "a \"quoted\" back\\slash");
  EXPECT_DOUBLE_EQ(read->Number("p.q").value(), -1.25e-7);
  EXPECT_FALSE(read->Number("text").has_value());
  EXPECT_EQ(read->Text("absent"), "");
}

TEST(RecordTest, RejectsOtherText) {
  for (const char* bad : {"", "{", "x", "{\"a\":}", "{\"a\":1} x", "{\"a\":[1]}", "{\"a\":\"b"}) {
    EXPECT_FALSE(Record::FromJson(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace ebb::bench
