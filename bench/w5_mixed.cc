// W5g, cycles through traced objects: rings of a counted and a traced object, dropped and found,
// beside traced objects that live.

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "bench/meter.h"
#include "bench/subjects.h"
#include "bench/w5_ebb.h"
#include "bench/workload.h"
#include "heap/rc/rc.h"

namespace ebb::bench {
namespace {

struct TracedHalf;

struct CountedHalf {
  Field<TracedHalf> other;
  int64_t value = 0;
};
struct TracedHalf {
  rc::Field<CountedHalf> other;
  int64_t value = 0;
};

// What lives beside them: 1 M of these are 32 MB.
struct Bystander {
  Field<Bystander> next;
  int64_t values[2] = {};
};

absl::StatusOr<Record> RunW5g(const RunSpec& spec) {
  const int64_t rings = spec.smoke ? 5'000 : 500'000;
  const int64_t live = spec.smoke ? 10'000 : 1'000'000;
  const auto heap_bytes = static_cast<int64_t>(spec.heap_multiple * 56.0) * rings + 96 * live;
  const auto body = [&](EbbSubject& subject, EbbSubject::Thread& thread,
                        Record& record) -> absl::Status {
    rc::Domain domain(subject.heap());
    rc::Owner owner(domain, thread);
    Local<Bystander> bystanders(thread);
    for (const int64_t beside : {int64_t{0}, live}) {
      for (int64_t i = 0; i < beside; ++i) bystanders = thread.New<Bystander>(bystanders);
      for (int64_t i = 0; i < rings; ++i) {
        const rc::Ptr<CountedHalf> counted = rc::MakePtr<CountedHalf>();
        counted->other = rc::NewHolder<TracedHalf>(counted);
      }
      const absl::Duration start = MonotonicNow();
      absl::StatusOr<rc::Detection> detection = domain.Collect();
      const absl::Duration took = MonotonicNow() - start;
      if (!detection.ok()) return detection.status();
      if (detection->collected != rings) {
        return absl::InternalError(
            absl::StrCat("found ", detection->collected, " dead rings of ", rings));
      }
      const std::string name = beside == 0 ? "dead" : "dead_beside_live";
      record.Set(name + "_ns", absl::ToDoubleNanoseconds(took) / static_cast<double>(rings));
      record.Set(name + "_pause_ms", absl::ToDoubleMilliseconds(detection->pause));
    }
    return absl::OkStatus();
  };
  return OnEbb(OptionsFor(spec, heap_bytes), body);
}

}  // namespace

Workload W5gMixed() {
  Workload workload;
  workload.name = "W5g";
  workload.about = "cycles through counted and traced objects dropped, and found";
  workload.collectors = {"concurrent"};
  workload.heap_multiples = {5};
  workload.details = {"dead_ns", "dead_pause_ms", "dead_beside_live_ns",
                      "dead_beside_live_pause_ms"};
  workload.run = &RunW5g;
  return workload;
}

}  // namespace ebb::bench
