#include "platform/clock.h"

#include "absl/base/no_destructor.h"
#include "absl/time/time.h"

namespace ebb::platform {
namespace {

class MonotonicClock : public Clock {
 public:
  absl::Duration Now() const override { return absl::Nanoseconds(MonotonicNanos()); }
};

}  // namespace

const Clock& Clock::Monotonic() {
  static const absl::NoDestructor<MonotonicClock> clock;
  return *clock;
}

}  // namespace ebb::platform
