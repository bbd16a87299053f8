#include "bench/request.h"

#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ebb::bench {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

absl::StatusOr<Request> Parse(std::string_view line) {
  std::vector<std::string_view> args = absl::StrSplit(line, ' ', absl::SkipEmpty());
  return Request::Parse(args);
}

// The titles of one round of the first workload.
std::vector<std::string> PlanOf(std::string_view line) {
  absl::StatusOr<Request> request = Parse(line);
  EXPECT_TRUE(request.ok()) << request.status();
  std::vector<std::string> titles;
  for (const RunSpec& spec : request->Plan(*request->workloads[0])) titles.push_back(spec.Title());
  return titles;
}

TEST(RequestTest, WithoutArgumentsItIsTheMainJob) {
  EXPECT_THAT(PlanOf(""), ElementsAre("W1 ebb/concurrent threads=2 heap=5x"));
  EXPECT_EQ(Parse("")->Rounds(), 1);
}

TEST(RequestTest, AWorkloadBringsItsUsualSettingsAndPeers) {
  EXPECT_THAT(
      PlanOf("W1h"),
      ElementsAre("W1h ebb/parallel threads=1 heap=3x", "W1h ebb/concurrent threads=1 heap=3x",
                  "W1h ebb/generational threads=1 heap=3x", "W1h boehm threads=1 heap=3x",
                  "W1h ebb/parallel threads=2 heap=3x", "W1h ebb/concurrent threads=2 heap=3x",
                  "W1h ebb/generational threads=2 heap=3x", "W1h boehm threads=2 heap=3x",
                  "W1h ebb/parallel threads=1 heap=5x", "W1h ebb/concurrent threads=1 heap=5x",
                  "W1h ebb/generational threads=1 heap=5x", "W1h boehm threads=1 heap=5x",
                  "W1h ebb/parallel threads=2 heap=5x", "W1h ebb/concurrent threads=2 heap=5x",
                  "W1h ebb/generational threads=2 heap=5x", "W1h boehm threads=2 heap=5x"));
  EXPECT_THAT(
      PlanOf("W1 --heap 5 --threads 1"),
      ElementsAre("W1 ebb/parallel threads=1 heap=5x", "W1 ebb/concurrent threads=1 heap=5x",
                  "W1 ebb/generational threads=1 heap=5x", "W1 boehm threads=1 heap=5x",
                  "W1 no-barrier threads=1 heap=5x"));
  EXPECT_EQ(Parse("W1")->Rounds(), 5);
  EXPECT_EQ(Parse("W1 --smoke")->Rounds(), 1);
}

TEST(RequestTest, ValuesComeAfterASpaceOrAnEqualsSign) {
  for (const char* line :
       {"W1 --rounds 7 --heap 2.5 --threads 1 --peers glibc --collector parallel",
        "W1 --rounds=7 --heap=2.5 --threads=1 --peers=glibc --collector=parallel"}) {
    EXPECT_EQ(Parse(line)->Rounds(), 7);
    EXPECT_THAT(PlanOf(line),
                ElementsAre("W1 ebb/parallel threads=1 heap=2.5x", "W1 glibc threads=1"));
  }
}

TEST(RequestTest, APeerWithoutAHeapSizeRunsOnceForAllHeaps) {
  EXPECT_THAT(PlanOf("W1 --heap 3,5 --threads 1 --peers mimalloc --collector parallel"),
              ElementsAre("W1 ebb/parallel threads=1 heap=3x", "W1 mimalloc threads=1",
                          "W1 ebb/parallel threads=1 heap=5x"));
}

TEST(RequestTest, LiveSizesAreThoseOfTheWorkloadOrAsAskedFor) {
  EXPECT_THAT(PlanOf("W7 --live 64m"),
              ElementsAre("W7 ebb/parallel threads=1 heap=3x live=64m",
                          "W7 ebb/concurrent threads=1 heap=3x live=64m",
                          "W7 ebb/generational threads=1 heap=3x live=64m",
                          "W7 mimalloc threads=1 live=64m", "W7 zgc threads=1 heap=3x live=64m",
                          "W7 shenandoah threads=1 heap=3x live=64m"));
  EXPECT_THAT(
      PlanOf("W7 --peers mimalloc --collector parallel"),
      ElementsAre("W7 ebb/parallel threads=1 heap=3x live=64m", "W7 mimalloc threads=1 live=64m",
                  "W7 ebb/parallel threads=1 heap=3x live=256m", "W7 mimalloc threads=1 live=256m",
                  "W7 ebb/parallel threads=1 heap=3x live=1g", "W7 mimalloc threads=1 live=1g",
                  "W7 ebb/parallel threads=1 heap=3x live=4g", "W7 mimalloc threads=1 live=4g"));
  EXPECT_THAT(PlanOf("W7 --live 2g,1536m --peers none"),
              ElementsAre("W7 ebb/parallel threads=1 heap=3x live=2g",
                          "W7 ebb/concurrent threads=1 heap=3x live=2g",
                          "W7 ebb/generational threads=1 heap=3x live=2g",
                          "W7 ebb/parallel threads=1 heap=3x live=1536m",
                          "W7 ebb/concurrent threads=1 heap=3x live=1536m",
                          "W7 ebb/generational threads=1 heap=3x live=1536m"));
}

TEST(RequestTest, SizingsAreOfEbbAlone) {
  EXPECT_THAT(PlanOf("W1 --heap 6 --threads 1 --collector concurrent --peers boehm "
                     "--sizing growable:2.5,adaptive"),
              ElementsAre("W1 ebb/concurrent/growable:2.5 threads=1 heap=6x",
                          "W1 ebb/concurrent/adaptive threads=1 heap=6x",
                          "W1 boehm threads=1 heap=6x"));
  EXPECT_EQ(Parse("W1 --sizing fixed")->Plan(*FindWorkload("W1"))[0].sizing, "fixed");
}

TEST(RequestTest, BackendsAreOfEbbAlone) {
  EXPECT_THAT(PlanOf("W10 --collector concurrent --backend madvise,io_uring"),
              ElementsAre("W10 ebb/concurrent/adaptive/madvise threads=1 heap=3x",
                          "W10 ebb/concurrent/adaptive/io_uring threads=1 heap=3x",
                          "W10 mimalloc threads=1"));
}

TEST(RequestTest, AWorkloadWithALiveSizeOfItsOwnMayTakeOthers) {
  EXPECT_THAT(PlanOf("W3 --peers none --heap 3 --collector parallel"),
              ElementsAre("W3 ebb/parallel threads=1 heap=3x"));
  EXPECT_THAT(PlanOf("W3 --peers none --heap 3 --collector parallel --live 150m"),
              ElementsAre("W3 ebb/parallel threads=1 heap=3x live=150m"));
}

TEST(RequestTest, TheTideIsSizedAdaptively) {
  EXPECT_THAT(PlanOf("W10"),
              ElementsAre("W10 ebb/concurrent/adaptive threads=1 heap=3x",
                          "W10 ebb/generational/adaptive threads=1 heap=3x",
                          "W10 mimalloc threads=1"));
}

TEST(RequestTest, SettingsThatDoNotApplyAreLeftOut) {
  EXPECT_THAT(PlanOf("pause --heap 3 --live 64m --threads 2 --peers boehm"),
              ElementsAre("pause ebb/parallel threads=1 workers=1",
                          "pause ebb/parallel threads=1 workers=2"));
}

TEST(RequestTest, APeerIsLeftOutOfWorkloadsThatItCannotRun) {
  EXPECT_THAT(
      PlanOf("W6b --peers mimalloc,zgc"),
      ElementsAre("W6b ebb/parallel threads=1 heap=5x", "W6b ebb/concurrent threads=1 heap=5x",
                  "W6b ebb/generational threads=1 heap=5x", "W6b mimalloc threads=1"));
  EXPECT_THAT(PlanOf("W4 --peers g1 --collector parallel"),
              ElementsAre("W4 ebb/parallel threads=1 heap=3x", "W4 g1 threads=1 heap=3x"));
}

TEST(RequestTest, PeersWithoutAValueAreAllOfThem) {
  EXPECT_GT(Parse("W6a --peers")->peers->size(), 5u);
  EXPECT_GT(Parse("--peers W6a")->peers->size(), 5u);
  EXPECT_EQ(Parse("--peers W6a")->workloads.size(), 1u);
  EXPECT_GT(Parse("--peers --smoke W6a")->peers->size(), 5u);
  EXPECT_THAT(*Parse("W6a --peers none")->peers, IsEmpty());
}

TEST(RequestTest, AllMeansEachOnce) {
  EXPECT_EQ(Parse("W1 --all")->workloads.size(), AllWorkloads().size());
  EXPECT_EQ(Parse("W1 W1 W6a")->workloads.size(), 2u);
}

TEST(RequestTest, WhatItDoesNotKnowIsAnErrorThatNamesWhatItDoes) {
  EXPECT_THAT(Parse("W99").status().message(), HasSubstr("accepted: W1,"));
  EXPECT_THAT(Parse("W7 --live 64x").status().message(), HasSubstr("bad value '64x'"));
  EXPECT_THAT(Parse("W7 --live 1k").status().message(), HasSubstr("numbers from 16k to 32g"));
  EXPECT_THAT(Parse("--round 3").status().message(), HasSubstr("--rounds N"));
  EXPECT_THAT(Parse("W1 --peers java").status().message(), HasSubstr("accepted: boehm,"));
  EXPECT_THAT(Parse("W1 --sizing huge").status().message(), HasSubstr("growable"));
  EXPECT_THAT(Parse("W1 --sizing fixed:2").status().message(), HasSubstr("growable:GROWTH"));
  EXPECT_THAT(Parse("W1 --sizing growable:1").status().message(), HasSubstr("growth: '1'"));
  EXPECT_THAT(Parse("W1 --sizing adaptive:").status().message(), HasSubstr("processors_per_gib"));
  EXPECT_THAT(Parse("W10 --backend free").status().message(), HasSubstr("process_madvise"));
  EXPECT_THAT(Parse("W1 --heap").status().message(), HasSubstr("needs a value"));
  EXPECT_THAT(Parse("W1 --heap 3,nan").status().message(), HasSubstr("bad value 'nan'"));
  EXPECT_THAT(Parse("W1 --smoke=yes").status().message(), HasSubstr("takes no value"));
}

TEST(RequestTest, ASpecSurvivesTheWayToItsProcess) {
  for (const Workload& workload : AllWorkloads()) {
    for (const RunSpec& spec :
         Parse("--all --heap 2.7 --peers --seed 3 --sizing adaptive:0.5 --backend io_uring")
             ->Plan(workload)) {
      absl::StatusOr<RunSpec> read = RunSpec::Parse(spec.ToString());
      ASSERT_TRUE(read.ok()) << read.status();
      EXPECT_EQ(*read, spec) << spec.ToString();
    }
  }
  EXPECT_FALSE(RunSpec::Parse("workload=W1,color=red").ok());
  EXPECT_FALSE(RunSpec::Parse("threads=many").ok());
  EXPECT_EQ(RunSpec::Parse("live=64m")->live_bytes, 64 << 20);
  RunSpec capped;
  capped.capped = true;
  EXPECT_EQ(*RunSpec::Parse(capped.ToString()), capped);
}

TEST(RequestTest, TheListingNamesEveryWorkload) {
  for (const Workload& workload : AllWorkloads()) {
    EXPECT_THAT(Listing(), HasSubstr(workload.about));
    EXPECT_THAT(Usage(), HasSubstr(workload.name));
  }
}

}  // namespace
}  // namespace ebb::bench
