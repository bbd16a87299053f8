// FakeSystem: a System for tests that passes calls on to another one, counts them, makes chosen
// ones fail with errors like the real ones, and can pretend to be a smaller machine.
// Design: docs/design/platform.md#faking

#ifndef EBB_PLATFORM_FAKE_SYSTEM_H_
#define EBB_PLATFORM_FAKE_SYSTEM_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "platform/address_range.h"
#include "platform/bytes.h"
#include "platform/range_releaser.h"
#include "platform/system.h"
#include "platform/thread.h"

namespace ebb::platform {

enum class Call {
  kReserve,
  kCommit,
  kDiscard,
  kProtect,
  kAdviseHugePages,
  kRelease,
  kNewRangeReleaser,  // "fails" as the real one does: falls back to plain madvise
  kDiscardBatch,      // RangeReleaser::Discard of a releaser that this system made
  kStartThread,
  kResidentMemory,
  kPeakResidentMemory,
  kCountMappings,
};

inline constexpr std::array kAllCalls = {
    Call::kReserve,            Call::kCommit,
    Call::kDiscard,            Call::kProtect,
    Call::kAdviseHugePages,    Call::kRelease,
    Call::kNewRangeReleaser,   Call::kDiscardBatch,
    Call::kStartThread,        Call::kResidentMemory,
    Call::kPeakResidentMemory, Call::kCountMappings,
};

// "kReserve" and so on.
absl::string_view CallName(Call call);
template <typename Sink>
void AbslStringify(Sink& sink, Call call) {
  sink.Append(CallName(call));
}

// Thread-safe. Outlives the releasers it makes. A call that is made to fail has no effect.
class FakeSystem : public System {
 public:
  explicit FakeSystem(System& base = System::Real()) : base_(base) {}

  // Makes the `nth` use of `call` from now (1: the next one) fail, and the `count - 1` after it.
  // Replaces what was asked for this call before.
  void FailOn(Call call, int nth, int count = 1);
  // Makes every `n`th use of `call` from now fail (1: all of them). Replaces as FailOn does.
  void FailEvery(Call call, int n);
  // No further failures by FailOn or FailEvery.
  void StopFailing();

  // Uses so far, those that failed included.
  int64_t uses(Call call) const;
  // The advice that AdviseHugePages has given without failing, in order.
  struct Advised {
    AddressRange range;
    HugePageAdvice advice;
    friend bool operator==(const Advised&, const Advised&) = default;
  };
  std::vector<Advised> advised() const;
  // Reserved through this system and not released.
  Bytes reserved() const;

  void SetMemoryLimit(Bytes limit);
  void SetMemoryPressure(double share);
  void SetProcessorCount(int count);
  // Reservations that would bring reserved() over `limit` fail.
  void LimitReservations(Bytes limit);

  absl::StatusOr<AddressRange> Reserve(Bytes size, Bytes alignment,
                                       absl::string_view purpose) override;
  absl::Status Commit(AddressRange range, absl::string_view purpose) override;
  absl::Status Discard(AddressRange range, absl::string_view purpose) override;
  absl::Status Protect(AddressRange range, Access access, absl::string_view purpose) override;
  absl::Status AdviseHugePages(AddressRange range, HugePageAdvice advice,
                               absl::string_view purpose) override;
  absl::Status Release(AddressRange range, absl::string_view purpose) override;
  std::unique_ptr<RangeReleaser> NewRangeReleaser(ReleaseBackend backend) override;
  absl::StatusOr<std::unique_ptr<Thread>> StartThread(absl::string_view name,
                                                      absl::AnyInvocable<void() &&> body) override;
  absl::StatusOr<Bytes> ResidentMemory() override;
  absl::StatusOr<Bytes> PeakResidentMemory() override;
  absl::StatusOr<int64_t> CountMappings(AddressRange range) override;
  int ProcessorCount() override;
  Bytes MemoryLimit() override;
  double MemoryPressure() override;

 private:
  class CountingReleaser;

  struct CallState {
    int64_t uses = 0;
    // Uses (by their number) that fail: every `period`th (0: none) from `base` on, or those in
    // [fail_begin, fail_end).
    int64_t base = 0;
    int64_t period = 0;
    int64_t fail_begin = 0;
    int64_t fail_end = 0;
  };

  // Counts a use of `call`; true if it is to fail.
  bool CountAndFails(Call call);
  bool CountAndFailsLocked(Call call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  System& base_;
  mutable absl::Mutex mutex_;
  std::array<CallState, kAllCalls.size()> calls_ ABSL_GUARDED_BY(mutex_);
  std::vector<Advised> advised_ ABSL_GUARDED_BY(mutex_);
  Bytes reserved_ ABSL_GUARDED_BY(mutex_);
  std::optional<Bytes> reservation_limit_ ABSL_GUARDED_BY(mutex_);
  std::optional<Bytes> memory_limit_ ABSL_GUARDED_BY(mutex_);
  std::optional<double> memory_pressure_ ABSL_GUARDED_BY(mutex_);
  std::optional<int> processor_count_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ebb::platform

#endif  // EBB_PLATFORM_FAKE_SYSTEM_H_
