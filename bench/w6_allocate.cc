// W6, allocation: (a) objects of 32 bytes, each dropped at once; (b) sizes from 16 to 512 bytes in
// a window of slots that are replaced at random.

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "bench/meter.h"
#include "bench/random.h"
#include "bench/subjects.h"
#include "bench/threads.h"
#include "bench/workload.h"

namespace ebb::bench {
namespace {

// 32 bytes, as the program sees them; a header comes on top where the subject has one.
struct Small {
  int64_t a = 0;
  int64_t b = 0;
  int64_t c = 0;
  int64_t d = 0;
};

// Nothing survives in W6a, so its heap is a constant that stands in the row, not a multiple.
constexpr int64_t kSmallHeapBytes = 4 << 20;

// The compiler must assume that somebody reads the object, but nothing about other memory.
template <typename T>
inline void Escape(T* object) {
  asm volatile("" : : "r"(object), "m"(*object));
}

template <typename S>
absl::Status AllocateAndDrop(typename S::Thread& thread, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    typename S::template Temp<Small> small = thread.template New<Small>(i, i, i, i);
    Escape(&*small);
    if constexpr (S::kManual) thread.Free(small);
  }
  return absl::OkStatus();
}

absl::StatusOr<Record> RunW6a(const RunSpec& spec) {
  const int64_t count = spec.smoke ? 2'000'000 : 500'000'000;
  const SubjectOptions options = OptionsFor(spec, kSmallHeapBytes);
  return WithSubject(options, [&]<typename S>(S& subject) -> absl::StatusOr<Record> {
    Meter meter;
    absl::Status status =
        RunThreads(subject, 1, [&](typename S::Thread& thread) -> absl::Status {
          meter.Start();
          absl::Status result = AllocateAndDrop<S>(thread, count);
          meter.Stop();
          return result;
        });
    if (!status.ok()) return status;
    Record record;
    meter.Write(record);
    record.Set("operations", count);
    subject.Describe(record);
    return record;
  });
}

struct Window {
  int64_t slots;
  int64_t steps;

  // 24 bytes beside the payload (header, length, the slot); payloads of 264 bytes on average.
  int64_t LiveBytes() const { return slots * (264 + 24); }
};
constexpr Window kFullWindow = {.slots = 100'000, .steps = 200'000'000};
constexpr Window kSmokeWindow = {.slots = 10'000, .steps = 500'000};

struct Step {
  uint32_t slot;
  uint32_t bytes;
};

// The steps go round this sequence, which is made before the timed part.
std::vector<Step> MakeSteps(const Window& window, uint64_t seed) {
  Random random(seed);
  std::vector<Step> steps(size_t{1} << 20);
  for (Step& step : steps) {
    step.slot = static_cast<uint32_t>(random.Below(static_cast<uint64_t>(window.slots)));
    step.bytes = static_cast<uint32_t>(16 + random.Below(512 - 16 + 1));
  }
  return steps;
}

template <typename S>
absl::Status ReplaceInWindow(typename S::Thread& thread, const Window& window,
                             const std::vector<Step>& steps) {
  using Payload = typename S::template Array<char>;
  typename S::template Root<typename S::template RefArray<Payload>> slots(
      thread, thread.template NewRefArray<Payload>(window.slots));
  const size_t mask = steps.size() - 1;
  for (int64_t i = 0; i < window.steps; ++i) {
    const Step step = steps[static_cast<size_t>(i) & mask];
    typename S::template Temp<Payload> payload = thread.template NewArray<char>(step.bytes);
    (*payload)[0] = (*payload)[step.bytes - 1] = static_cast<char>(i);
    if constexpr (S::kManual) {
      if ((*slots)[step.slot] != nullptr) thread.Free((*slots)[step.slot]);
    }
    (*slots)[step.slot] = payload;
  }
  if constexpr (S::kManual) {
    for (int64_t i = 0; i < window.slots; ++i) {
      if ((*slots)[i] != nullptr) thread.Free((*slots)[i]);
    }
    thread.Free(slots);
  }
  return absl::OkStatus();
}

absl::StatusOr<Record> RunW6b(const RunSpec& spec) {
  const Window& window = spec.smoke ? kSmokeWindow : kFullWindow;
  const std::vector<Step> steps = MakeSteps(window, spec.seed);
  const auto heap_bytes =
      static_cast<int64_t>(spec.heap_multiple * static_cast<double>(window.LiveBytes()));
  const SubjectOptions options = OptionsFor(spec, heap_bytes);
  return WithSubject(options, [&]<typename S>(S& subject) -> absl::StatusOr<Record> {
    Meter meter;
    absl::Status status =
        RunThreads(subject, 1, [&](typename S::Thread& thread) -> absl::Status {
          meter.Start();
          absl::Status result = ReplaceInWindow<S>(thread, window, steps);
          meter.Stop();
          return result;
        });
    if (!status.ok()) return status;
    Record record;
    meter.Write(record);
    record.Set("operations", window.steps);
    record.Set("largest_live_bytes", window.LiveBytes());
    subject.Describe(record);
    return record;
  });
}

}  // namespace

Workload W6aAllocateAndDrop() {
  Workload workload;
  workload.name = "W6a";
  workload.about = "allocate 32 bytes and drop them at once";
  workload.peers = LibraryPeers();
  workload.default_peers = {"mimalloc", "boehm"};
  workload.bars = {{.of = "wall_s", .at_most = 0.30, .peer = "mimalloc"},
                   {.of = "wall_s", .at_most = 0.08, .peer = "boehm"}};
  workload.run = &RunW6a;
  return workload;
}

Workload W6bAllocateInWindow() {
  Workload workload;
  workload.name = "W6b";
  workload.about = "sizes 16 to 512 in a window of slots replaced at random";
  workload.peers = LibraryPeers();
  workload.default_peers = {"mimalloc", "boehm"};
  workload.collectors = Collectors();
  workload.heap_multiples = {5};
  workload.bars = {{.of = "wall_s",
                    .at_most = 1.5,
                    .collector = "generational",
                    .heap_multiple = 5,
                    .peer = "mimalloc"}};
  workload.run = &RunW6b;
  return workload;
}

}  // namespace ebb::bench
