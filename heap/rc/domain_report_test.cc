// What a domain logs when it goes.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/log_severity.h"
#include "absl/log/scoped_mock_log.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"

namespace ebb::rc {
namespace {

using ::testing::_;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// So many types, each with a name of its own.
template <int kNumber>
struct Numbered {
  int64_t value = 0;
};

// One of each type, and one more of each than of the one after.
template <int kNumber>
void MakeOneMoreEach(std::vector<AnyPtr>& made) {
  for (int i = 0; i < kNumber; ++i) made.push_back(MakePtr<Numbered<kNumber>>());
  if constexpr (kNumber > 1) MakeOneMoreEach<kNumber - 1>(made);
}

class ReportTest : public testing::Test {
 protected:
  // Before anything is made that may log.
  template <typename Matcher>
  void Expect(absl::LogSeverity severity, const Matcher& message) {
    EXPECT_CALL(log_, Log(severity, _, message));
    log_.StartCapturingLogs();
  }

  absl::ScopedMockLog log_{absl::MockLogDefault::kDisallowUnexpected};
};

TEST_F(ReportTest, NoneWhenNothingIsLeft) {
  log_.StartCapturingLogs();
  Counting c;
  MakePtr<Link>();
}

TEST_F(ReportTest, SaysWhatIsStillThere) {
  Expect(absl::LogSeverity::kWarning,
         AllOf(StartsWith("an ebb::rc::Domain goes while 4 of its cells are in use: "),
               HasSubstr("\n  objects: 5 made, 1 destroyed, 0 finalized\n"),
               EndsWith("\n  still there: 3 ebb::rc::Link, 1 ebb::rc::Witness"),
               Not(HasSubstr("detections"))));
  Ptr<Link> left;
  Counting c;
  left = MakePtr<Link>(MakePtr<Link>(), MakePtr<Link>(), 0);
  Ptr<Witness> ring = MakePtr<Witness>();
  ring->left = ring;
  MakePtr<Link>();
}

TEST_F(ReportTest, NamesTheMostFrequentTypes) {
  // 12 + 11 + ... + 3, and two types more.
  Expect(absl::LogSeverity::kWarning,
         AllOf(HasSubstr("while 78 of its cells"), HasSubstr("still there: 12 "),
               HasSubstr("Numbered<12>, 11 "), HasSubstr(", 3 "), Not(HasSubstr(", 2 ")),
               EndsWith(", and 3 of 2 more types")));
  std::vector<AnyPtr> left;
  Counting c;
  MakeOneMoreEach<12>(left);
}

TEST_F(ReportTest, SaysSoOfASingleTypeMore) {
  Expect(absl::LogSeverity::kWarning, EndsWith(", and 1 of 1 more type"));
  std::vector<AnyPtr> left;
  Counting c;
  MakeOneMoreEach<11>(left);
}

TEST_F(ReportTest, SaysOnRequestWhatWasDone) {
  Expect(absl::LogSeverity::kInfo,
         AllOf(StartsWith("an ebb::rc::Domain goes\n  objects: 3 made, 3 destroyed, 0 finalized\n"),
               HasSubstr("\n  2 detections of cycles: 3 objects visited, "),
               HasSubstr(" 1 collected, "), Not(HasSubstr("still there"))));
  Counting c;
  Ptr<Link> link = MakePtr<Link>(), other = MakePtr<Link>();
  Collect(c);
  link = other = nullptr;
  Ptr<Link> ring = MakePtr<Link>();
  ring->next = ring;
  ring = nullptr;
  Collect(c);
  c.domain.SetDebug({.stats = true});
}

// A cell that a weak reference names is no object.
TEST_F(ReportTest, OfWeakReferencesThatAreLeft) {
  Expect(absl::LogSeverity::kWarning, AllOf(HasSubstr("while 1 of its cells"),
                                            HasSubstr("1 destroyed"), Not(HasSubstr("still"))));
  Weak<Link> left;
  Counting c;
  left = MakePtr<Link>();
}

// The last to go may be a thread's Owner, or a Domain on a thread that is not attached, or one that
// may not stop.
TEST_F(ReportTest, WhereverTheDomainGoes) {
  const auto still_there = HasSubstr("still there: 1 ebb::rc::Link");
  EXPECT_CALL(log_, Log(absl::LogSeverity::kWarning, _, still_there)).Times(4);
  log_.StartCapturingLogs();
  const auto heap = NewHeap(Options{.max_bytes = 16 << 20, .collector = CollectorUnderTest()});
  std::vector<Ptr<Link>> left;
  const auto new_domain = [&](Mutator& mutator) {
    auto domain = std::make_unique<Domain>(*heap);
    const Owner owner(*domain, mutator);
    left.push_back(MakePtr<Link>());
    return domain;
  };
  std::unique_ptr<Domain> domain;
  {
    Mutator mutator(*heap);
    domain = new_domain(mutator);
    const Owner owner(*domain, mutator);
    domain = nullptr;
  }
  {
    Mutator mutator(*heap);
    domain = new_domain(mutator);
  }
  domain = nullptr;
  Mutator mutator(*heap);
  domain = new_domain(mutator);
  {
    const NoSafepoint scope(mutator);
    domain = nullptr;
  }
  domain = new_domain(mutator);
  const Blocking blocking(mutator);
  std::thread([&] { domain = nullptr; }).join();
}

TEST_F(ReportTest, WhereTheThreadCannotAttach) {
  Expect(absl::LogSeverity::kWarning,
         AllOf(HasSubstr("while 1 of its cells"), HasSubstr("still there: of unknown types: "),
               HasSubstr("NoSafepoint")));
  const auto heap = NewHeap(Options{.max_bytes = 16 << 20, .collector = CollectorUnderTest()});
  const auto other_heap = NewHeap(Options{.max_bytes = 16 << 20});
  Ptr<Link> left;
  std::optional<Domain> domain(std::in_place, *heap);
  {
    Mutator mutator(*heap);
    const Owner owner(*domain, mutator);
    left = MakePtr<Link>();
  }
  Mutator elsewhere(*other_heap);
  const NoSafepoint scope(elsewhere);
  domain.reset();
}

// Cycles of the heap move what is counted.
TEST_F(ReportTest, BesideCycles) {
  Expect(absl::LogSeverity::kWarning, EndsWith("still there: 100000 ebb::rc::Link"));
  const auto heap = NewHeap(Options{.max_bytes = 64 << 20, .collector = CollectorUnderTest()});
  std::vector<Ptr<Link>> left;
  std::optional<Domain> domain(std::in_place, *heap);
  {
    Mutator mutator(*heap);
    const Owner owner(*domain, mutator);
    for (int i = 0; i < 100'000; ++i) left.push_back(MakePtr<Link>());
  }
  std::thread collector([&] {
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(heap->Collect().ok());
  });
  domain.reset();
  collector.join();
}

}  // namespace
}  // namespace ebb::rc
