// What the workloads of counted references share that have no peer.

#ifndef EBB_BENCH_W5_EBB_H_
#define EBB_BENCH_W5_EBB_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bench/meter.h"
#include "bench/subjects.h"
#include "bench/threads.h"
#include "bench/workload.h"

namespace ebb::bench {

// body(subject, thread, record), which returns a Status, on a thread of an Ebb heap: all of it is
// timed.
template <typename Body>
absl::StatusOr<Record> OnEbb(const SubjectOptions& options, Body body) {
  Record record;
  const auto run = [&](EbbSubject& subject) -> absl::StatusOr<Record> {
    Meter meter;
    meter.Start();
    absl::Status status = RunThreads(subject, 1, [&](EbbSubject::Thread& thread) -> absl::Status {
      return body(subject, thread, record);
    });
    if (!status.ok()) return status;
    meter.Stop();
    meter.Write(record);
    subject.Describe(record);
    return record;
  };
  return OnSubject<EbbSubject>(options, run);
}

}  // namespace ebb::bench

#endif  // EBB_BENCH_W5_EBB_H_
