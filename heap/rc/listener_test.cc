// What a domain tells its Listener, and what it logs of detections.

#include <stdexcept>
#include <string_view>
#include <utility>

#include "absl/base/log_severity.h"
#include "absl/log/scoped_mock_log.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "heap/rc/counted_for_test.h"
#include "heap/rc/finalized_for_test.h"

namespace ebb::rc {
namespace {

using ::testing::_;
using ::testing::AllOf;
using ::testing::HasSubstr;

// Notes what a domain says.
class Notes : public Listener {
 public:
  void OnDetectionStart() override { lines.push_back("start"); }
  void OnDetectionEnd(const absl::StatusOr<Detection>& detection) override {
    lines.push_back(absl::StrCat("end ", detection->collected));
  }
  void OnException(Called called, std::string_view type) override {
    try {
      throw;
    } catch (const std::runtime_error& error) {
      lines.push_back(absl::StrCat(static_cast<int>(called), " ", error.what(), " ",
                                   type.substr(type.rfind(':') + 1)));
    }
  }

  Lines lines;
};

TEST(ListenerTest, WhatIsThrownIsReported) {
  Notes notes;
  Counting c({.listener = &notes});
  Book book;
  book.finalize = [](Ptr<Mourned>) { throw std::runtime_error("no"); };
  New(book, 1);
  c.owner.Step();
  Ring(book, 2, 2);
  Collect(c);
  Ptr<Link> link = MakePtr<Link>();
  const WeakCallback callback(link, [] { throw std::runtime_error("never"); });
  link = nullptr;
  c.owner.Step();
  EXPECT_EQ(notes.lines,
            Lines({"1 no Mourned", "start", "1 no Mourned", "1 no Mourned", "end 2", "2 never "}));
  EXPECT_EQ(c.alive(), 0);
}

// Says what may be thrown, and by whom.
struct Thrower {
  bool armed = false;
  ~Thrower() noexcept(false) {
    if (armed) throw std::runtime_error("at last");
  }
};

// Throws itself, and tries what is an error.
class Faulty : public Listener {
 public:
  void OnDetectionStart() override {
    code = domain->Collect().status().code();
    throw 1;
  }
  void OnDetectionEnd(const absl::StatusOr<Detection>&) override { throw std::logic_error("end"); }

  Domain* domain = nullptr;
  absl::StatusCode code = absl::StatusCode::kOk;
};

TEST(ListenerTest, ItsOwnExceptionsAreLogged) {
  Faulty faulty;
  Counting c({.listener = &faulty});
  faulty.domain = &c.domain;
  absl::ScopedMockLog log;
  EXPECT_CALL(log, Log(absl::LogSeverity::kError, _, HasSubstr("no std::exception")));
  EXPECT_CALL(log, Log(absl::LogSeverity::kError, _, HasSubstr("has thrown end")));
  // Not overridden: logs.
  EXPECT_CALL(log,
              Log(absl::LogSeverity::kError, _,
                  AllOf(HasSubstr("the destructor"), HasSubstr("Thrower"), HasSubstr("at last"))));
  log.StartCapturingLogs();
  Collect(c);
  EXPECT_EQ(faulty.code, absl::StatusCode::kFailedPrecondition);
  Ptr<Thrower> thrower = MakePtr<Thrower>();
  thrower->armed = true;
  thrower = nullptr;
  EXPECT_EQ(c.alive(), 0);
}

TEST(ListenerTest, DetectionsSayWhatTheyFindOnRequest) {
  Book book;
  absl::ScopedMockLog log;
  Counting c;
  Ring(book, 1, 1);
  c.domain.SetDebug({.stats = true, .collectable = true});
  EXPECT_CALL(log, Log(absl::LogSeverity::kInfo, _, HasSubstr("1 collected, 1 finalized")));
  EXPECT_CALL(log, Log(absl::LogSeverity::kInfo, _, HasSubstr("is finalized: ")));
  EXPECT_CALL(log, Log(absl::LogSeverity::kInfo, _, HasSubstr("is destroyed: ")));
  log.StartCapturingLogs();
  Collect(c);
  EXPECT_CALL(log, Log(absl::LogSeverity::kInfo, _, HasSubstr("is kept: ")));
  c.domain.SetDebug({.uncollectable = true, .save_all = true});
  Ring(book, 2, 1);
  Collect(c);
  EXPECT_CALL(log, Log(absl::LogSeverity::kWarning, _, HasSubstr("1 objects in its list")));
  EXPECT_CALL(log, Log(absl::LogSeverity::kWarning, _, HasSubstr("in cycles")));
}

}  // namespace
}  // namespace ebb::rc
