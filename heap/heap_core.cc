#include "heap/heap_core.h"

#include <algorithm>
#include <utility>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "heap/fork_registry.h"
#include "heap/mutator.h"
#include "platform/clock.h"

namespace ebb::internal {

using platform::Bytes;

namespace {

constexpr int kMostWorkersByDefault = 8;
// A worker's worklists, and the region it copies to, are worth it from here on.
constexpr int64_t kHeapBytesPerWorker = int64_t{4} << 20;
// After so many ticks without a cycle the heap counts as idle: its reserve regions are given back.
constexpr int64_t kTicksUntilIdle = 2;
// Workers that are asked for work share some of it much sooner.
constexpr absl::Duration kUntilNextAssist = absl::Microseconds(200);

Options Resolve(Options options) {
  if (options.system == nullptr) options.system = &platform::System::Real();
  if (options.max_bytes == 0) {
    options.max_bytes = std::max<int64_t>(options.system->MemoryLimit().count() / 4, 1 << 20);
    if (options.reserve_bytes != 0) {
      options.max_bytes = std::min(options.max_bytes, options.reserve_bytes);
    }
  }
  if (options.reserve_bytes == 0) options.reserve_bytes = 4 * options.max_bytes;
  if (options.workers == 0) {
    options.workers = std::min(options.system->ProcessorCount(), kMostWorkersByDefault);
    const int64_t useful = options.max_bytes / kHeapBytesPerWorker;
    options.workers = static_cast<int>(std::clamp<int64_t>(useful, 1, options.workers));
  }
  if (options.concurrent_workers == 0) {
    options.concurrent_workers = std::max(1, options.system->ProcessorCount() / 4);
  }
  options.concurrent_workers = std::min(options.concurrent_workers, options.workers);
  return options;
}

}  // namespace

HeapCore::HeapCore(Options options)
    : options_(std::move(options)),
      system_(*options_.system),
      safepoints_(options_.safepoint_warning),
      roots_(RootTable::New()) {}

absl::StatusOr<std::shared_ptr<HeapCore>> HeapCore::Create(Options options) {
  std::shared_ptr<HeapCore> core(new HeapCore(Resolve(std::move(options))));
  if (absl::Status status = core->Start(); !status.ok()) {
    return status;
  }
  ForkRegistry::Get().Add(core);
  return core;
}

absl::Status HeapCore::Start() {
  absl::StatusOr<std::unique_ptr<Spaces>> spaces = Spaces::Create(system_, options_);
  if (!spaces.ok()) return spaces.status();
  spaces_ = *std::move(spaces);
  pool_ = std::make_unique<background::WorkerPool>(system_, options_.workers - 1, "ebb-gc");
  cycle_ = std::make_unique<Cycle>(*spaces_, *roots_, *pool_, options_);
  {
    absl::MutexLock lock(&stats_mu_);
    totals_.collector_bytes = cycle_->memory().count();
  }
  if (options_.page_out) StartBackground();
  if (options_.collector == Collector::kConcurrent) StartCollector();
  LOG_IF(INFO, options_.stress.collect_every != 0)
      << "stress_collect_every=" << options_.stress.collect_every
      << ",stress_seed=" << options_.stress.seed;
  return absl::OkStatus();
}

// Without a background thread a heap works, and keeps the memory it has.
void HeapCore::StartBackground() {
  auto thread = background::BackgroundThread::Create(system_, {.tick = options_.page_out_tick});
  if (!thread.ok()) {
    LOG(WARNING) << "no page-out: " << thread.status();
    return;
  }
  background_ = *std::move(thread);
  const auto count_failure = [this](const absl::Status& status) {
    // Relaxed: a count, see its declaration.
    if (!status.ok()) page_out_failures_.fetch_add(1, std::memory_order_relaxed);
  };
  background_->AddTask(background::Stage::kStart, "advance page-out ages",
                       [this] { spaces_->copy().AdvancePageOutAges(); });
  background_->AddTask(background::Stage::kEnd, "discard the oldest age", [this, count_failure] {
    count_failure(spaces_->copy().DiscardOldest());
    if (spaces_->copy().ticks_since_flip() == kTicksUntilIdle) {
      count_failure(spaces_->copy().DiscardReserve());
    }
  });
}

// Without a collector thread, the threads that allocate run the cycles, in pauses.
void HeapCore::StartCollector() {
  pacer_ = std::make_unique<Pacer>(spaces_->copy(), Bytes(options_.max_bytes));
  concurrent_cycle_ = std::make_unique<ConcurrentCycle>(*cycle_, safepoints_, *pacer_);
  auto collector = CollectorThread::Create(
      system_, options_.collector_niceness, [this] { RunConcurrentCycle(); },
      [this] { pacer_->NoteRoom(); });
  if (!collector.ok()) {
    LOG(WARNING) << "no concurrent cycles: " << collector.status();
    return;
  }
  collector_ = *std::move(collector);
}

HeapCore::~HeapCore() {
  if (collector_ != nullptr) trace().Abandon();
  collector_ = nullptr;  // which may still be at work
  roots_->Disown();
}

class HeapCore::Turn {
 public:
  explicit Turn(HeapCore& core) : core_(core) {
    if (core_.collector_ == nullptr) return;
    Mutator::ParkThread(/*except=*/nullptr);
    core_.turn_.Lock();
    Mutator::UnparkThread();
  }
  ~Turn() {
    if (core_.collector_ != nullptr) core_.turn_.Unlock();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  HeapCore& core_;
};

std::unique_ptr<MutatorForwarder> HeapCore::NewForwarder() {
  if (collector_ == nullptr) return nullptr;
  return std::make_unique<MutatorForwarder>(*spaces_, trace().greys(), trace().failures());
}

void HeapCore::AddEvacuationCounts(const EvacuationCounts& counts) {
  absl::MutexLock lock(&stats_mu_);
  totals_.evacuated_objects += counts.evacuated_objects;
  totals_.evacuated_bytes += counts.evacuated_bytes;
  totals_.retained_objects += counts.retained_objects;
}

void HeapCore::Pace(Mutator& mutator) {
  if (collector_ == nullptr) return;
  const Pacer::Advice advice = pacer_->Advise(trace().scanned_in_place());
  if (advice.begin_cycle) collector_->Request();
  if (advice.assist > Bytes(0)) Assist(mutator, advice.assist);
}

bool HeapCore::Assist(Mutator& self, Bytes most) {
  if (!trace().SeekWork()) return false;
  self.forwarder_->NoteAssist();
  return trace().Assist(most, platform::MonotonicNanos() + Pacer::kLongestAssistNanos);
}

// Whether the request has an effect or a cycle is under way, there is a NoteRoom to come: that of a
// cycle's end comes when the next can be requested.
void HeapCore::Stall(Mutator& self, int64_t seen) {
  const int64_t begin = platform::MonotonicNanos();
  const bool has_flipped = pacer_->cycle_runs();
  collector_->Request();
  for (bool noted = false; !noted;) {
    const absl::Duration wait =
        Assist(self, Pacer::kMostAssistance) ? absl::ZeroDuration() : kUntilNextAssist;
    // Blocked, also between two turns of assistance: pauses and handshakes are not kept waiting.
    Mutator::ParkThread(/*except=*/nullptr);
    noted = pacer_->AwaitRoom(seen, wait);
    Mutator::UnparkThread();
  }
  const int64_t nanos = platform::MonotonicNanos() - begin;
  LOG_IF(WARNING, absl::Nanoseconds(nanos) > options_.safepoint_warning)
      << "an allocation waited " << absl::Nanoseconds(nanos) << " for a concurrent cycle to "
      << (has_flipped ? "end: the program allocates faster than it evacuates; raise max_bytes, or "
                        "concurrent_workers"
                      : "flip: see time_to_safepoint_ns, and collector_niceness");
  absl::MutexLock lock(&stats_mu_);
  totals_.stall_ns.Record(nanos);
  ++(has_flipped ? totals_.stalls_for_end : totals_.stalls_for_flip);
}

absl::Status HeapCore::RunCycle(const Safepoints::Pause& pause) {
  const int64_t begin = platform::MonotonicNanos();
  const absl::StatusOr<CycleResult> run = cycle_->Run(pause);
  if (!run.ok()) return run.status();
  const int64_t end = platform::MonotonicNanos();
  NoteCycle(*run);
  absl::MutexLock lock(&stats_mu_);
  totals_.pause_ns.Record(end - pause.requested_at());
  totals_.collect_ns += end - begin;
  return absl::OkStatus();
}

void HeapCore::NoteCycle(const CycleResult& result) {
  AddEvacuationCounts(result.trace.evacuation);
  // Relaxed: a count, see its declaration.
  cycles_.fetch_add(1, std::memory_order_relaxed);
  absl::MutexLock lock(&stats_mu_);
  ++totals_.collections;
  totals_.live_bytes = result.live_bytes;
  totals_.worklist_overflows += result.trace.overflows;
  totals_.collector_bytes = cycle_->memory().count();
}

void HeapCore::NotePause(int64_t nanos) {
  {
    absl::MutexLock lock(&stats_mu_);
    totals_.pause_ns.Record(nanos);
    totals_.collect_ns += nanos;
  }
  pacer_->NoteRoom();
}

void HeapCore::RunConcurrentCycle() {
  {
    absl::MutexLock turn(&turn_);
    const int64_t evacuated_before = evacuated_bytes();
    const absl::StatusOr<CycleResult> run =
        concurrent_cycle_->Run([this](int64_t nanos) { NotePause(nanos); });
    if (run.ok()) {
      NoteCycle(*run);
      pacer_->EndCycle(Bytes(evacuated_bytes() - evacuated_before), trace().scanned_in_place());
    }
    absl::MutexLock lock(&stats_mu_);
    last_concurrent_status_ = run.status();
  }
  ReleaseGarbage();
}

bool HeapCore::EnsureCollector() {
  if (collector_ == nullptr) return false;
  const absl::Status status = collector_->EnsureThread();
  LOG_IF(WARNING, !status.ok()) << "this cycle is run in a pause: " << status;
  return status.ok();
}

absl::Status HeapCore::AwaitConcurrentCycle() {
  Mutator::ParkThread(/*except=*/nullptr);
  collector_->RunOne();
  Mutator::UnparkThread();
  absl::MutexLock lock(&stats_mu_);
  return last_concurrent_status_;
}

int64_t HeapCore::evacuated_bytes() const {
  absl::MutexLock lock(&stats_mu_);
  return totals_.evacuated_bytes;
}

void HeapCore::ReleaseGarbage() {
  absl::Status status = spaces_->ReleaseSwept();
  // Only what the cycle has condemned: requests to shrink, and an overdraft that was used.
  status.Update(spaces_->copy().PageOutNow(Bytes(0)));
  // Of use from the first cycle of a forked child on.
  if (background_ != nullptr) status.Update(background_->EnsureThread(system_));
  if (!status.ok()) page_out_failures_.fetch_add(1, std::memory_order_relaxed);
}

absl::Status HeapCore::Collect(Mutator* self) {
  if (EnsureCollector()) return AwaitConcurrentCycle();
  const Turn turn(*this);
  // Relaxed: a count, see its declaration.
  const int64_t begun = cycles_.load(std::memory_order_relaxed);
  absl::Status status;
  {
    const Safepoints::Pause pause(safepoints_, self);
    // Two more than before this call: one of them began after it.
    const bool another_did = cycles_.load(std::memory_order_relaxed) > begun + 1;
    if (!another_did) status = RunCycle(pause);
  }
  ReleaseGarbage();
  return status;
}

absl::Status HeapCore::Verify(Mutator* self) {
  const Turn turn(*this);
  const Safepoints::Pause pause(safepoints_, self);
  return cycle_->Verify(pause);
}

// The attempt is made inside the pause, so that others cannot take what the cycle freed first; then
// once more outside, when large objects' memory has been released. A thread that is attached to
// several heaps may be parked at the pause's end, where fresh memory would be lost: it only tries
// outside, some more times. With concurrent cycles all that is the last resort, after waiting for
// such cycles to free enough.
absl::StatusOr<uintptr_t> HeapCore::CollectAndRetry(Mutator& self, Attempt attempt) {
  constexpr int kTriesOutside = 8;
  // Two cycles: a flip and an end each; and what was under way before.
  constexpr int kConcurrentTries = 6;
  absl::StatusOr<uintptr_t> result;
  for (int tries = 0; EnsureCollector() && tries < kConcurrentTries; ++tries) {
    const int64_t seen = pacer_->room_noted();
    if (result = attempt(); result.ok()) return result;
    Stall(self, seen);
  }
  const Turn turn(*this);
  if (collector_ != nullptr) {
    // Who had the turn before may have freed enough.
    if (result = attempt(); result.ok()) return result;
  }
  for (int tries = 0; tries < kTriesOutside; ++tries) {
    // Relaxed: a count, see its declaration.
    const int64_t begun = cycles_.load(std::memory_order_relaxed);
    bool run_on = false;
    {
      const Safepoints::Pause pause(safepoints_, &self);
      run_on = !pause.parked_others();
      // Another thread may have collected while this one waited for its own pause.
      if (run_on && cycles_.load(std::memory_order_relaxed) != begun) result = attempt();
      if (!result.ok()) {
        if (absl::Status status = RunCycle(pause); !status.ok()) return status;
        if (run_on) result = attempt();
      }
    }
    ReleaseGarbage();
    if (result.ok()) return result;
    if (result = attempt(); result.ok() || run_on) return result;
  }
  return result;
}

absl::StatusOr<uintptr_t> HeapCore::Allocate(Mutator& self, size_t bytes, Attempt attempt) {
  absl::StatusOr<uintptr_t> result = attempt();
  if (result.ok()) return result;
  for (int asked = 0;; ++asked) {
    result = CollectAndRetry(self, attempt);
    if (result.ok()) return result;
    // Relaxed: a count, see its declaration.
    exhaustions_.fetch_add(1, std::memory_order_relaxed);
    if (asked == Options::kMostExhaustionCalls || !AskHandler(self, bytes, asked)) {
      return Exhausted(bytes, result.status());
    }
    result = attempt();
    if (result.ok()) return result;
  }
}

bool HeapCore::AskHandler(Mutator& self, size_t bytes, int times_asked) {
  if (!options_.on_exhaustion) return false;
  const NoSafepoint no_allocation_by_the_handler(self);
  const HeapStats now = stats();
  switch (options_.on_exhaustion({.requested = static_cast<int64_t>(bytes),
                                  .live = now.live_bytes,
                                  .heap_bytes = now.heap_bytes,
                                  .max_bytes = now.max_bytes,
                                  .attempt = times_asked})) {
    case ExhaustionAction::kRetry:
      return true;
    case ExhaustionAction::kGrow: {
      // Room for the object in both halves, or an eighth, whichever is more.
      const int64_t more = std::max<int64_t>(2 * static_cast<int64_t>(bytes), now.max_bytes / 8);
      const int64_t grown =
          std::min(now.max_bytes + RoundUp(Bytes(more), copyspace::kBlockSize).count(),
                   options_.reserve_bytes);
      return grown > now.max_bytes && SetMaxBytes(grown).ok();
    }
    case ExhaustionAction::kFail:
      return false;
  }
  return false;
}

absl::Status HeapCore::Exhausted(size_t bytes, const absl::Status& why) const {
  const HeapStats now = stats();
  return absl::ResourceExhaustedError(absl::StrCat(
      "an object of ", Bytes(static_cast<int64_t>(bytes)), " finds no room: ",
      Bytes(now.live_bytes), " were live after the last cycle, ", Bytes(now.heap_bytes), " of ",
      Bytes(now.max_bytes), " are in use (a copying heap needs about twice what is live); ",
      why.message(), "; raise Options::max_bytes (now ", now.max_bytes,
      "; Heap::SetMaxBytes while it runs, up to Options::reserve_bytes)"));
}

absl::Status HeapCore::SetMaxBytes(int64_t max_bytes) {
  // The overdraft was sized for Options::max_bytes: it must not be most of the heap.
  const int64_t least = std::max<int64_t>(
      1 << 20, std::min<int64_t>(8 * spaces_->overdraft().count(), options_.max_bytes));
  if (max_bytes < least || max_bytes > options_.reserve_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("SetMaxBytes: '", max_bytes, "' is not between ", least,
                     " (what cycles need to move objects) and Options::reserve_bytes, which is ",
                     options_.reserve_bytes));
  }
  copyspace::Ledger& ledger = spaces_->ledger();
  ledger.SetLimit(Bytes(max_bytes));
  // What an earlier call asked for is asked for again below, as far as it is still in excess.
  spaces_->copy().Expand(spaces_->copy().bytes_to_page_out());
  const Bytes excess = ledger.used() - ledger.limit();
  return excess > Bytes(0) ? spaces_->copy().Shrink(RoundUp(excess, copyspace::kBlockSize))
                           : absl::OkStatus();
}

// Around a fork.

void HeapCore::TakeTurnForFork() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (collector_ != nullptr) turn_.Lock();
}

void HeapCore::ReturnTurnAfterFork(platform::ForkStep step) {
  if (collector_ != nullptr) platform::LockAcrossFork(turn_, step);
}

// background_ first: its tasks, which it waits for, take locks of the others. The spaces wait for a
// release, which takes none of these.
void HeapCore::AtFork(platform::ForkStep step) {
  if (background_ != nullptr) background_->AtFork(step);
  if (collector_ != nullptr) collector_->AtFork(step);
  safepoints_.AtFork(step);
  if (pacer_ != nullptr) pacer_->AtFork(step);
  platform::LockAcrossFork(stats_mu_, step);
  pool_->AtFork(step);
  spaces_->AtFork(step);
}

void HeapCore::AbandonMutatorsInChild() {
  safepoints_.RemoveOthersInChild([this](Mutator& mutator) {
    mutator.AbandonInChild([this](uintptr_t bits) { roots_->Acquire()->Store(bits); });
  });
}

HeapStats HeapCore::stats() const {
  HeapStats stats;
  {
    absl::MutexLock lock(&stats_mu_);
    stats = totals_;
  }
  stats.time_to_safepoint_ns = safepoints_.time_to_safepoint();
  stats.max_bytes = spaces_->ledger().limit().count();
  stats.heap_bytes = spaces_->ledger().used().count();
  stats.peak_heap_bytes = spaces_->ledger().peak().count();
  stats.large_bytes = spaces_->large().object_bytes().count();
  stats.pinned_bytes = spaces_->pinned().object_bytes().count();
  // Relaxed: a count, see its declaration.
  stats.allocated_bytes = allocated_bytes_.load(std::memory_order_relaxed) +
                          spaces_->pinned().allocated_bytes().count() +
                          spaces_->large().allocated_bytes().count();
  // Relaxed: a count, see its declaration.
  stats.exhaustions = exhaustions_.load(std::memory_order_relaxed);
  stats.page_out_failures = page_out_failures_.load(std::memory_order_relaxed);
  stats.mutators = safepoints_.mutator_count();
  stats.persistents = roots_->slots_in_use();
  stats.workers = 1 + pool_->helpers_started();
  stats.worker_start_failures = pool_->start_failures();
  return stats;
}

}  // namespace ebb::internal
