#include "heap/heap_core.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "background/worker_pools.h"
#include "heap/fork_registry.h"
#include "heap/load_barrier.h"
#include "heap/mutator.h"
#include "platform/clock.h"

namespace ebb::internal {

using platform::Bytes;

namespace {

constexpr int kMostWorkersByDefault = 8;
constexpr int64_t kLeastNurseryByDefault = int64_t{384} << 10;
constexpr int64_t kMostNurseryByDefault = int64_t{16} << 20;
constexpr int64_t kMinBytesByDefault = int64_t{16} << 20;
// A worker's worklists, and the region it copies to, are worth it from here on.
constexpr int64_t kHeapBytesPerWorker = int64_t{4} << 20;
// After so many ticks since its last cycle a space counts as idle: its reserve regions are given
// back.
constexpr int64_t kTicksUntilIdle = 2;

// The last of a tick's tasks, for one space. `owed`: its reserve could not be given back.
absl::Status DiscardAtTick(copyspace::CopySpace& space, bool& owed) {
  absl::Status status = space.DiscardOldest();
  const int64_t ticks = space.ticks_since_cycle();
  if (ticks == kTicksUntilIdle || (owed && ticks > kTicksUntilIdle)) {
    const absl::Status reserve = space.DiscardReserve();
    owed = !reserve.ok();
    status.Update(reserve);
  }
  return status;
}

absl::Status TrimSpace(copyspace::CopySpace& space) {
  absl::Status status = space.PageOutNow(space.range().size);
  status.Update(space.DiscardReserve());
  return status;
}

Options Resolve(Options options) {
  if (options.system == nullptr) options.system = &platform::System::Real();
  if (options.max_bytes == 0) {
    options.max_bytes = std::max<int64_t>(options.system->MemoryLimit().count() / 4, 1 << 20);
    if (options.reserve_bytes != 0) {
      options.max_bytes = std::min(options.max_bytes, options.reserve_bytes);
    }
  }
  if (options.reserve_bytes == 0) options.reserve_bytes = 4 * options.max_bytes;
  options.field_logging |= options.collector == Collector::kGenerational;
  if (options.min_bytes == 0) options.min_bytes = std::min(kMinBytesByDefault, options.max_bytes);
  if (options.nursery_bytes == 0) {
    const int64_t heap =
        options.sizing == Sizing::kFixed ? options.max_bytes : options.min_bytes;
    options.nursery_bytes = std::clamp(heap / 8, kLeastNurseryByDefault, kMostNurseryByDefault);
  }
  options.nursery_bytes =
      RoundUp(Bytes(options.nursery_bytes), copyspace::kBlockSize).count();
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
      roots_(RootTable::New()),
      weak_roots_(RootTable::New()),
      cleanups_(*weak_roots_) {}

absl::StatusOr<std::shared_ptr<HeapCore>> HeapCore::Create(Options options) {
  std::shared_ptr<HeapCore> core(new HeapCore(Resolve(std::move(options))));
  if (absl::Status status = core->Start(); !status.ok()) {
    return status;
  }
  ForkRegistry::Get().Add(core);
  return core;
}

absl::Status HeapCore::Start() {
  if (IsConcurrent(options_.collector) && !kHasLoadBarrier) {
    return absl::FailedPreconditionError(
        "option collector: all but 'parallel' need load barriers, and this program is compiled "
        "with EBB_LOAD_BARRIER=0; choose parallel, or compile without that");
  }
  if (options_.collector == Collector::kGenerational && !kHasStoreBarrier) {
    return absl::FailedPreconditionError(
        "option collector: 'generational' needs store barriers, and this program is compiled with "
        "EBB_STORE_BARRIER=0; choose another, or compile without that");
  }
  // As resolved: max_bytes may come from the system.
  if (options_.collector == Collector::kGenerational &&
      options_.nursery_bytes > options_.max_bytes / 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        "option nursery_bytes: '", options_.nursery_bytes,
        "' is more than half of max_bytes, which is ", options_.max_bytes,
        "; leave it 0, or lower it"));
  }
  absl::StatusOr<std::unique_ptr<Spaces>> spaces = Spaces::Create(system_, options_);
  if (!spaces.ok()) return spaces.status();
  spaces_ = *std::move(spaces);
  balance_ = std::make_unique<Balance>(*spaces_);
  limit_ = std::make_unique<HeapLimit>(*spaces_, external_, system_, options_);
  // Only a collector thread is made nicer; helpers are as nice as who starts them, mostly that one.
  const int niceness =
      IsConcurrent(options_.collector) ? options_.collector_niceness : 0;
  pool_ = background::WorkerPools::Get().Share(system_, niceness, options_.workers - 1, "ebb-gc");
  if (spaces_->has_generations()) {
    generations_ = std::make_unique<Generations>(*spaces_, *roots_, *weak_roots_, watches_,
                                                 *balance_, options_);
  }
  cycle_ = std::make_unique<Cycle>(*spaces_, *roots_, *weak_roots_, watches_, *balance_,
                                   generations_.get(), *pool_, options_);
  if (2 * cycle_->memory() > Bytes(options_.max_bytes)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "option workers: '", options_.workers, "' need ", cycle_->memory(),
        " for their worklists, more than half of max_bytes, which is ", options_.max_bytes,
        "; fewer workers, or a larger heap"));
  }
  {
    absl::MutexLock lock(&stats_mu_);
    totals_.collector_bytes = cycle_->memory().count();
  }
  if (options_.page_out) StartBackground();
  if (IsConcurrent(options_.collector)) StartCollector();
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
  background_->AddTask(background::Stage::kStart, "advance page-out ages", [this] {
    spaces_->copy().AdvancePageOutAges();
    if (spaces_->has_generations()) spaces_->nursery().AdvancePageOutAges();
  });
  background_->AddTask(
      background::Stage::kEnd, "discard the oldest age",
      [this, count_failure, owes_copy = false, owes_nursery = false]() mutable {
        count_failure(DiscardAtTick(spaces_->copy(), owes_copy));
        if (!spaces_->has_generations()) return;
        count_failure(DiscardAtTick(spaces_->nursery(), owes_nursery));
      });
  background_->AddTask(background::Stage::kMiddle, "size the heap",
                       [this, count_failure] {
                         count_failure(
                             limit_->ResizeAtTick(allocated_bytes() + external_.reported()));
                       });
}

// Without a collector thread, the threads that allocate run the cycles, in pauses.
void HeapCore::StartCollector() {
  pacer_ = std::make_unique<Pacer>(spaces_->copy(), spaces_->ledger());
  concurrent_cycle_ = std::make_unique<ConcurrentCycle>(*cycle_, safepoints_, *pacer_);
  auto collector = JobThread::Create(
      system_, "ebb-collector", options_.collector_niceness, [this] { RunConcurrentCycle(); },
      [this] { pacer_->NoteEnd(); });
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
  weak_roots_->Disown();
}

HeapCore::Turn::Turn(HeapCore& core) : core_(core) {
  if (core_.collector_ == nullptr) return;
  Mutator::ParkThread(/*except=*/nullptr);
  core_.turn_.Lock();
  Mutator::UnparkThread();
}

HeapCore::Turn::~Turn() {
  if (core_.collector_ != nullptr) core_.turn_.Unlock();
}

std::unique_ptr<MutatorForwarder> HeapCore::NewForwarder() {
  if (collector_ == nullptr) return nullptr;
  return std::make_unique<MutatorForwarder>(*spaces_, trace().greys(), trace().rules(),
                                            trace().weak_reads());
}

void HeapCore::AddEvacuationCounts(const EvacuationCounts& counts) {
  balance_->AddEvacuated(Bytes(counts.filled_bytes));
  AddToTotals(counts);
}

void HeapCore::AddToTotals(const EvacuationCounts& counts) {
  absl::MutexLock lock(&stats_mu_);
  totals_.evacuated_objects += counts.evacuated_objects;
  totals_.evacuated_bytes += counts.evacuated_bytes;
  totals_.retained_objects += counts.retained_objects;
}

absl::Status HeapCore::RunCycle(const Safepoints::Pause& pause, HowToRun how) {
  external_.BeginCycle();
  const int64_t begin = platform::MonotonicNanos();
  const absl::StatusOr<CycleResult> run = (*cycle_.*how)(pause);
  if (!run.ok()) return run.status();
  const int64_t end = platform::MonotonicNanos();
  AddToTotals(run->trace.evacuation);
  NoteCycle(*run, spaces_->copy().allocated_bytes().count(), end - begin);
  absl::MutexLock lock(&stats_mu_);
  totals_.pause_ns.Record(end - pause.requested_at());
  totals_.collect_ns += end - begin;
  return absl::OkStatus();
}

void HeapCore::NoteCycle(const CycleResult& result, int64_t evacuated, int64_t nanos) {
  const Bytes in_place = spaces_->pinned().object_bytes() + spaces_->large().object_bytes();
  limit_->NoteCycle({.live_in_copies = Bytes(evacuated),
                     .beside = in_place + cycle_->memory() + spaces_->debited_for_nursery(),
                     .traced = Bytes(evacuated) + in_place,
                     .nanos = nanos,
                     .allocated = allocated_bytes() + external_.reported(),
                     .now = platform::MonotonicNanos()});
  // Relaxed: a count, see its declaration.
  cycles_.fetch_add(1, std::memory_order_relaxed);
  absl::MutexLock lock(&stats_mu_);
  ++totals_.collections;
  totals_.live_bytes = result.live_bytes;
  totals_.worklist_overflows += result.trace.overflows;
  totals_.collector_bytes = cycle_->memory().count();
}

void HeapCore::RunMinor(const Safepoints::Pause& pause) {
  const bool beside_cycle = pacer_->cycle_runs();
  const int64_t begin = platform::MonotonicNanos();
  const MinorCounts counts = cycle_->RunMinor(pause, beside_cycle);
  const int64_t end = platform::MonotonicNanos();
  absl::MutexLock lock(&stats_mu_);
  totals_.nursery_allowance = generations_->allowance().count();
  ++totals_.minor_collections;
  totals_.minor_pause_ns.Record(end - pause.requested_at());
  totals_.pause_ns.Record(end - pause.requested_at());
  totals_.collect_ns += end - begin;
  totals_.minor_evacuated_bytes += counts.evacuated_bytes;
  totals_.promoted_bytes += counts.promoted_bytes;
  totals_.retained_objects += counts.retained_objects;
}

absl::Status HeapCore::CollectMinor(Mutator* self) {
  if (generations_ == nullptr) {
    return absl::FailedPreconditionError(
        "Heap::Collect: a minor cycle needs a nursery; create the heap with "
        "Options::collector = Collector::kGenerational");
  }
  const Safepoints::Pause pause(safepoints_, self);
  RunMinor(pause);
  return absl::OkStatus();
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
    const int64_t begin = platform::MonotonicNanos();
    const int64_t evacuated_before = evacuated_bytes();
    external_.BeginCycle();
    const absl::StatusOr<CycleResult> run =
        concurrent_cycle_->Run([this](int64_t nanos) { NotePause(nanos); });
    if (run.ok()) {
      AddToTotals(run->trace.evacuation);
      const int64_t evacuated =
          evacuated_bytes() - evacuated_before - trace().freezer().frozen().count();
      NoteCycle(*run, evacuated, platform::MonotonicNanos() - begin);
      pacer_->EndCycle(Bytes(evacuated), trace().scanned_in_place());
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
  spaces_->copy().AdviseDenseSlabs();
  if (spaces_->has_generations()) spaces_->nursery().AdviseDenseSlabs();
  absl::Status status = spaces_->ReleaseSwept();
  // What the cycle has condemned for an overdraft that was used, and what is not to be used again.
  status.Update(spaces_->copy().PageOutNow(Bytes(0)));
  status.Update(limit_->ResizeAfterCycle());
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
    if (!another_did) status = RunCycle(pause, &Cycle::Run);
  }
  ReleaseGarbage();
  return status;
}

// By cycles that freeze, its own or those of another thread's Freeze that began after this.
absl::Status HeapCore::Freeze(Mutator* self) {
  constexpr int kMostCycles = 16;
  Freezer& freezer = trace().freezer();
  Bytes left = Bytes(std::numeric_limits<int64_t>::max());
  for (int i = 0; i < kMostCycles; ++i) {
    const int64_t cycles = freezer.cycles();
    freezer.Request();
    if (absl::Status status = Collect(self); !status.ok()) {
      freezer.Withdraw();
      return status;
    }
    // Another thread has withdrawn the request, or the cycle was one in part.
    if (freezer.cycles() == cycles) continue;
    const Bytes before = std::exchange(left, freezer.left());
    if (left == Bytes(0)) return absl::OkStatus();
    if (left >= before) break;
    // What has been frozen has left empty blocks, of both halves.
    // Where the system refuses to take them, there is less room.
    spaces_->copy().PageOutNow(spaces_->copy().range().size).IgnoreError();
    limit_->Raise(left, spaces_->ledger().limit());
  }
  return absl::ResourceExhaustedError(absl::StrCat(
      "Heap::Freeze: ", left, " of objects could not be frozen: ",
      spaces_->ledger().limit() - spaces_->ledger().used(), " of ", spaces_->ledger().limit(),
      " are left, of which cycles need ", spaces_->overdraft(),
      "; the rest is frozen; raise Options::max_bytes (Heap::SetMaxBytes), and freeze again"));
}

absl::Status HeapCore::Verify(Mutator* self) {
  const Turn turn(*this);
  const Safepoints::Pause pause(safepoints_, self);
  return cycle_->Verify(pause);
}

absl::Status HeapCore::RunBetweenCycles(Mutator* self,
                                        absl::FunctionRef<absl::Status(StoppedHeap&)> act) {
  const Turn turn(*this);
  const Safepoints::Pause pause(safepoints_, self);
  StoppedHeap heap(pause.mutators(), *roots_, *weak_roots_);
  return act(heap);
}

absl::Status HeapCore::SetMaxBytes(int64_t max_bytes) {
  const int64_t nursery = generations_ != nullptr ? options_.nursery_bytes : 0;
  const int64_t least = std::max(HeapLimit::kLeast.count(), 2 * nursery);
  if (max_bytes < least || max_bytes > options_.reserve_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "SetMaxBytes: '", max_bytes, "' is not between ", least,
        " and Options::reserve_bytes, which is ", options_.reserve_bytes));
  }
  return limit_->SetMaxBytes(Bytes(max_bytes));
}

absl::Status HeapCore::Trim() {
  if (generations_ != nullptr) generations_->remembered().Trim();
  absl::Status status = spaces_->ReleaseSwept();
  status.Update(TrimSpace(spaces_->copy()));
  if (spaces_->has_generations()) status.Update(TrimSpace(spaces_->nursery()));
  if (!status.ok()) page_out_failures_.fetch_add(1, std::memory_order_relaxed);  // a count
  return status;
}

// Around a fork.

void HeapCore::TakeTurnForFork() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (collector_ != nullptr) turn_.Lock();
}

void HeapCore::ReturnTurnAfterFork(platform::ForkStep step) {
  if (collector_ != nullptr) platform::LockAcrossFork(turn_, step);
}

void HeapCore::WatchersAtFork(platform::ForkStep step) {
  safepoints_.HooksAtFork(step);
  watches_.AtFork(step);
}

// background_ first: its tasks, which it waits for, take locks of the others. The spaces wait for a
// release, which takes none of these.
void HeapCore::AtFork(platform::ForkStep step) {
  if (background_ != nullptr) background_->AtFork(step);
  if (collector_ != nullptr) collector_->AtFork(step);
  safepoints_.AtFork(step);
  if (pacer_ != nullptr) pacer_->AtFork(step);
  cleanups_.AtFork(step);
  if (generations_ != nullptr) generations_->AtFork(step);
  limit_->AtFork(step);
  if (step == platform::ForkStep::kInChild) trace().freezer().Withdraw();
  platform::LockAcrossFork(stats_mu_, step);
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
  stats.max_bytes = max_bytes();
  stats.limit_raises = limit_->raises();
  stats.limit_bytes = spaces_->ledger().limit().count();
  stats.heap_bytes = spaces_->ledger().used().count();
  stats.peak_heap_bytes = spaces_->ledger().peak().count();
  stats.large_bytes = spaces_->large().object_bytes().count();
  stats.pinned_bytes = spaces_->pinned().object_bytes().count();
  stats.allocated_bytes = allocated_bytes().count();
  stats.freed_bytes = balance_->freed_bytes().count();
  stats.counter_faults = balance_->faults();
  stats.external_bytes = external_.bytes().count();
  // Relaxed: a count, see its declaration.
  stats.exhaustions = exhaustions_.load(std::memory_order_relaxed);
  stats.page_out_failures = page_out_failures_.load(std::memory_order_relaxed);
  stats.mutators = safepoints_.mutator_count();
  stats.persistents = roots_->slots_in_use();
  stats.cleanups = cleanups_.waiting();
  stats.workers = std::min(options_.workers, 1 + pool_->helpers_started());
  stats.worker_start_failures = pool_->start_failures();
  return stats;
}

}  // namespace ebb::internal
