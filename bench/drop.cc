// drop: giving memory back. A program keeps some objects, drops 2 GiB of others, collects once, and
// waits; its resident memory 3 seconds later is what counts.

#include <cstdint>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "bench/forest.h"
#include "bench/meter.h"
#include "bench/subjects.h"
#include "bench/threads.h"
#include "bench/workload.h"

namespace ebb::bench {
namespace {

// What issue 2 allows above the live size.
constexpr int64_t kAllowedBytes = 64 << 20;

struct Sizes {
  int64_t kept_bytes;
  int64_t dropped_bytes;
  int wait_ms;

  // Both, a quarter more, and the reserve of a copying heap.
  int64_t HeapBytes() const { return (kept_bytes + dropped_bytes) / 4 * 5 * 2; }
};
constexpr Sizes kFull = {
    .kept_bytes = 100 << 20, .dropped_bytes = int64_t{2} << 30, .wait_ms = 3000};
constexpr Sizes kSmoke = {.kept_bytes = 1 << 20, .dropped_bytes = 20 << 20, .wait_ms = 100};

struct Resident {
  int64_t before_drop = 0;
  int64_t after_wait = 0;
};

template <typename S>
absl::Status KeepAndDrop(typename S::Thread& thread, S& subject, const Sizes& sizes,
                         Resident& resident) {
  Forest<S> kept(thread, sizes.kept_bytes);
  {
    Forest<S> dropped(thread, sizes.dropped_bytes);
    resident.before_drop = ResidentBytes();
  }
  absl::Status status = subject.Collect();
  // The wait is what the workload is about: nothing here tells when memory has been given back.
  thread.Blocked([&] { std::this_thread::sleep_for(std::chrono::milliseconds(sizes.wait_ms)); });
  resident.after_wait = ResidentBytes();
  return status;
}

absl::StatusOr<Record> Run(const RunSpec& spec) {
  const Sizes& sizes = spec.smoke ? kSmoke : kFull;
  const SubjectOptions options = OptionsFor(spec, sizes.HeapBytes());
  return WithSubject(options, [&]<typename S>(S& subject) -> absl::StatusOr<Record> {
    Meter meter;
    Resident resident;
    meter.Start();
    absl::Status status = RunThreads(subject, 1, [&](typename S::Thread& thread) {
      return KeepAndDrop<S>(thread, subject, sizes, resident);
    });
    meter.Stop();
    if (!status.ok()) return status;
    Record record;
    meter.Write(record);
    record.Set("resident_before_drop_bytes", resident.before_drop);
    record.Set("resident_after_drop_bytes", resident.after_wait);
    record.Set("allowed_resident_bytes", sizes.kept_bytes + kAllowedBytes);
    record.Set("largest_live_bytes", sizes.kept_bytes + sizes.dropped_bytes);
    subject.Describe(record);
    return record;
  });
}

}  // namespace

Workload DropWorkload() {
  Workload workload;
  workload.name = "drop";
  workload.about = "resident memory 3 s after 2 GiB of objects were dropped and collected";
  workload.peers = LibraryPeers();
  workload.bars = {{.of = "resident_after_drop_bytes", .at_most = 1,
                    .reference = "allowed_resident_bytes"}};
  workload.details = {"resident_before_drop_bytes", "resident_after_drop_bytes",
                      "allowed_resident_bytes"};
  workload.run = &Run;
  return workload;
}

}  // namespace ebb::bench
