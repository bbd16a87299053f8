#include "platform/fake_system.h"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/log/check.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "platform/address_range.h"
#include "platform/bytes.h"
#include "platform/range_releaser.h"
#include "platform/system.h"
#include "platform/system_error.h"
#include "platform/thread.h"

namespace ebb::platform {
namespace {

size_t Index(Call call) { return static_cast<size_t>(call); }

}  // namespace

absl::string_view CallName(Call call) {
  switch (call) {
    case Call::kReserve:
      return "kReserve";
    case Call::kCommit:
      return "kCommit";
    case Call::kDiscard:
      return "kDiscard";
    case Call::kProtect:
      return "kProtect";
    case Call::kAdviseHugePages:
      return "kAdviseHugePages";
    case Call::kRelease:
      return "kRelease";
    case Call::kNewRangeReleaser:
      return "kNewRangeReleaser";
    case Call::kDiscardBatch:
      return "kDiscardBatch";
    case Call::kStartThread:
      return "kStartThread";
    case Call::kResidentMemory:
      return "kResidentMemory";
    case Call::kPeakResidentMemory:
      return "kPeakResidentMemory";
    case Call::kCountMappings:
      return "kCountMappings";
  }
  return "not a Call";
}

class FakeSystem::CountingReleaser : public RangeReleaser {
 public:
  CountingReleaser(FakeSystem& system, std::unique_ptr<RangeReleaser> releaser)
      : system_(system), releaser_(std::move(releaser)) {}

  absl::Status Discard(absl::Span<const AddressRange> ranges) override {
    if (system_.CountAndFails(Call::kDiscardBatch) && !ranges.empty()) {
      return MemoryError(ENOMEM, "discard", ranges[0], "a batch (by FakeSystem)");
    }
    return releaser_->Discard(ranges);
  }

  absl::string_view name() const override { return releaser_->name(); }

 private:
  FakeSystem& system_;
  const std::unique_ptr<RangeReleaser> releaser_;
};

bool FakeSystem::CountAndFails(Call call) {
  absl::MutexLock lock(&mutex_);
  return CountAndFailsLocked(call);
}

bool FakeSystem::CountAndFailsLocked(Call call) {
  CallState& state = calls_[Index(call)];
  const int64_t use = ++state.uses;
  if (state.period > 0) return (use - state.base) % state.period == 0;
  return use >= state.fail_begin && use < state.fail_end;
}

void FakeSystem::FailOn(Call call, int nth, int count) {
  CHECK_GE(nth, 1);
  CHECK_GE(count, 1);
  absl::MutexLock lock(&mutex_);
  CallState& state = calls_[Index(call)];
  state.period = 0;
  state.fail_begin = state.uses + nth;
  state.fail_end = state.fail_begin + count;
}

void FakeSystem::FailEvery(Call call, int n) {
  CHECK_GE(n, 1);
  absl::MutexLock lock(&mutex_);
  CallState& state = calls_[Index(call)];
  state.base = state.uses;
  state.period = n;
}

void FakeSystem::StopFailing() {
  absl::MutexLock lock(&mutex_);
  for (CallState& state : calls_) state = {.uses = state.uses};
}

int64_t FakeSystem::uses(Call call) const {
  absl::MutexLock lock(&mutex_);
  return calls_[Index(call)].uses;
}

std::vector<FakeSystem::Advised> FakeSystem::advised() const {
  absl::MutexLock lock(&mutex_);
  return advised_;
}

Bytes FakeSystem::reserved() const {
  absl::MutexLock lock(&mutex_);
  return reserved_;
}

void FakeSystem::SetMemoryLimit(Bytes limit) {
  absl::MutexLock lock(&mutex_);
  memory_limit_ = limit;
}

void FakeSystem::SetMemoryPressure(double share) {
  absl::MutexLock lock(&mutex_);
  memory_pressure_ = share;
}

void FakeSystem::SetProcessorCount(int count) {
  CHECK_GE(count, 1);
  absl::MutexLock lock(&mutex_);
  processor_count_ = count;
}

void FakeSystem::LimitReservations(Bytes limit) {
  absl::MutexLock lock(&mutex_);
  reservation_limit_ = limit;
}

absl::StatusOr<AddressRange> FakeSystem::Reserve(Bytes size, Bytes alignment,
                                                 absl::string_view purpose) {
  // Held across the real call, so that racing reservations cannot pass the limit together.
  absl::MutexLock lock(&mutex_);
  const bool over = reservation_limit_.has_value() && reserved_ + size > *reservation_limit_;
  if (CountAndFailsLocked(Call::kReserve) || over) {
    return MemoryError(ENOMEM, "reserve", {.begin = 0, .size = size},
                       absl::StrCat(purpose, " (by FakeSystem)"));
  }
  absl::StatusOr<AddressRange> range = base_.Reserve(size, alignment, purpose);
  if (range.ok()) reserved_ += size;
  return range;
}

absl::Status FakeSystem::Commit(AddressRange range, absl::string_view purpose) {
  if (!CountAndFails(Call::kCommit)) return base_.Commit(range, purpose);
  return MemoryError(ENOMEM, "commit", range, absl::StrCat(purpose, " (by FakeSystem)"));
}

absl::Status FakeSystem::Discard(AddressRange range, absl::string_view purpose) {
  if (!CountAndFails(Call::kDiscard)) return base_.Discard(range, purpose);
  return MemoryError(ENOMEM, "discard", range, absl::StrCat(purpose, " (by FakeSystem)"));
}

absl::Status FakeSystem::Protect(AddressRange range, Access access, absl::string_view purpose) {
  if (!CountAndFails(Call::kProtect)) return base_.Protect(range, access, purpose);
  return MemoryError(ENOMEM, "change the protection of", range,
                     absl::StrCat(purpose, " (by FakeSystem)"));
}

absl::Status FakeSystem::AdviseHugePages(AddressRange range, HugePageAdvice advice,
                                         absl::string_view purpose) {
  if (CountAndFails(Call::kAdviseHugePages)) {
    return MemoryError(ENOMEM, "advise huge or small pages for", range,
                       absl::StrCat(purpose, " (by FakeSystem)"));
  }
  absl::Status status = base_.AdviseHugePages(range, advice, purpose);
  if (status.ok()) {
    absl::MutexLock lock(&mutex_);
    advised_.push_back({range, advice});
  }
  return status;
}

absl::Status FakeSystem::Release(AddressRange range, absl::string_view purpose) {
  if (CountAndFails(Call::kRelease)) {
    return MemoryError(ENOMEM, "release", range, absl::StrCat(purpose, " (by FakeSystem)"));
  }
  absl::Status status = base_.Release(range, purpose);
  if (status.ok()) {
    absl::MutexLock lock(&mutex_);
    reserved_ -= range.size;
  }
  return status;
}

std::unique_ptr<RangeReleaser> FakeSystem::NewRangeReleaser(ReleaseBackend backend) {
  const bool fails = CountAndFails(Call::kNewRangeReleaser);
  return std::make_unique<CountingReleaser>(
      *this, base_.NewRangeReleaser(fails ? ReleaseBackend::kMadvise : backend));
}

absl::StatusOr<std::unique_ptr<Thread>> FakeSystem::StartThread(
    absl::string_view name, absl::AnyInvocable<void() &&> body) {
  if (!CountAndFails(Call::kStartThread)) return base_.StartThread(name, std::move(body));
  return SystemError(EAGAIN, absl::StrCat("start thread ", name, " (by FakeSystem)"));
}

absl::StatusOr<Bytes> FakeSystem::ResidentMemory() {
  if (!CountAndFails(Call::kResidentMemory)) return base_.ResidentMemory();
  return SystemError(EMFILE, "open /proc/self/statm (by FakeSystem)");
}

absl::StatusOr<Bytes> FakeSystem::PeakResidentMemory() {
  if (!CountAndFails(Call::kPeakResidentMemory)) return base_.PeakResidentMemory();
  return SystemError(EMFILE, "open /proc/self/status (by FakeSystem)");
}

absl::StatusOr<int64_t> FakeSystem::CountMappings(AddressRange range) {
  if (!CountAndFails(Call::kCountMappings)) return base_.CountMappings(range);
  return SystemError(EMFILE, "open /proc/self/maps (by FakeSystem)");
}

int FakeSystem::ProcessorCount() {
  {
    absl::MutexLock lock(&mutex_);
    if (processor_count_.has_value()) return *processor_count_;
  }
  return base_.ProcessorCount();
}

Bytes FakeSystem::MemoryLimit() {
  {
    absl::MutexLock lock(&mutex_);
    if (memory_limit_.has_value()) return *memory_limit_;
  }
  return base_.MemoryLimit();
}

double FakeSystem::MemoryPressure() {
  {
    absl::MutexLock lock(&mutex_);
    if (memory_pressure_.has_value()) return *memory_pressure_;
  }
  return base_.MemoryPressure();
}

}  // namespace ebb::platform
