// FakeClock: a Clock that a test moves by hand.

#ifndef EBB_PLATFORM_FAKE_CLOCK_H_
#define EBB_PLATFORM_FAKE_CLOCK_H_

#include "absl/base/thread_annotations.h"
#include "absl/log/check.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "platform/clock.h"

namespace ebb::platform {

// Thread-safe. Starts at zero.
class FakeClock : public Clock {
 public:
  absl::Duration Now() const override {
    absl::MutexLock lock(&mutex_);
    return now_;
  }

  void Advance(absl::Duration by) {
    CHECK_GE(by, absl::ZeroDuration()) << "a monotonic clock does not run backwards";
    absl::MutexLock lock(&mutex_);
    now_ += by;
  }

 private:
  mutable absl::Mutex mutex_;
  absl::Duration now_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();
};

}  // namespace ebb::platform

#endif  // EBB_PLATFORM_FAKE_CLOCK_H_
