#include "heap/rc/coalescer.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/base/const_init.h"
#include "absl/cleanup/cleanup.h"
#include "copyspace/field_log.h"
#include "heap/mutator.h"
#include "heap/rc/cell_table.h"
#include "heap/spaces.h"

namespace ebb::rc::internal {

namespace {

ABSL_CONST_INIT absl::Mutex coalescers_mu(absl::kConstInit);

// Never destroyed: domains may outlive main.
std::vector<std::shared_ptr<Coalescer>>& Coalescers() ABSL_SHARED_LOCKS_REQUIRED(coalescers_mu) {
  static auto& coalescers = *new std::vector<std::shared_ptr<Coalescer>>;
  return coalescers;
}

// All their heaps lie between these: most addresses of other heaps do not. Relaxed, both: as
// coalesced_domains; they only come apart, and are changed under the lock.
std::atomic<uintptr_t> lowest = std::numeric_limits<uintptr_t>::max();
std::atomic<uintptr_t> highest = 0;

}  // namespace

constinit thread_local StoreLog* this_threads_log = nullptr;
constinit std::atomic<int> coalesced_domains = 0;

StoreLog::StoreLog(Coalescer& coalescer)
    : coalescer_(coalescer), table_(&coalescer.table_), copies_(coalescer.spaces_.copy().range()) {}

inline bool StoreLog::TryStoreAgain(Cell** field, Cell* next) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(field);
  if (!copies_.Contains(address) || !copyspace::IsRemembered(address)) return false;
  if (next != nullptr && next->chunk().table != table_) return false;
  if (coalescer_.has_foreign_.load(std::memory_order_relaxed)) return false;  // see there
  // Relaxed: as of any Field; the end of an epoch reads it in a pause.
  std::atomic_ref<Cell*>(*field).store(next, std::memory_order_relaxed);
  return true;
}

inline bool Coalescer::IsForeign(const Cell* cell) const {
  return cell != nullptr && cell->chunk().table != &table_;
}

Coalescer::Coalescer(Heap& heap, CellTable& table)
    : heap_(heap), spaces_(heap.spaces()), table_(table) {}

std::shared_ptr<Coalescer> Coalescer::New(Heap& heap, CellTable& table) {
  if (!heap.options().field_logging) {
    throw MisuseError(
        "ebb::rc::Domain: Stores::kCoalesced needs a heap with Options::field_logging = true: make "
        "such a heap, or let the domain count eagerly");
  }
  std::shared_ptr<Coalescer> coalescer(new Coalescer(heap, table));
  heap.AddPauseHook(*coalescer);
  absl::Cleanup remove = [&] { heap.RemovePauseHook(*coalescer); };
  Register(coalescer);
  std::move(remove).Cancel();
  table.BeginLocals();
  return coalescer;
}

void Coalescer::Register(std::shared_ptr<Coalescer> coalescer) {
  const ebb::internal::Spaces& spaces = coalescer->spaces_;
  absl::MutexLock lock(&coalescers_mu);
  for (const std::shared_ptr<Coalescer>& other : Coalescers()) {
    if (&other->spaces_ != &spaces) continue;
    throw MisuseError(
        "ebb::rc::Domain: a heap can have one domain with Stores::kCoalesced; give the second "
        "one a heap of its own, or let it count eagerly");
  }
  Coalescers().push_back(std::move(coalescer));
  // Relaxed, all: see there.
  lowest.store(std::min(lowest.load(std::memory_order_relaxed), spaces.range().begin),
               std::memory_order_relaxed);
  highest.store(std::max(highest.load(std::memory_order_relaxed), spaces.range().end()),
                std::memory_order_relaxed);
  coalesced_domains.fetch_add(1, std::memory_order_relaxed);  // see there
}

// In a pause, unless this thread must not stop: then other threads must not be storing to Fields
// that have been logged. Before the hook goes: until then the logged addresses are right.
void Coalescer::Close() {
  if (has_left()) heap_.RunInPause("the end of an ebb::rc::Domain", [] {}).IgnoreError();
  AtPause();
  heap_.RemovePauseHook(*this);
  absl::MutexLock lock(&coalescers_mu);
  std::erase_if(Coalescers(), [this](const auto& other) { return other.get() == this; });
  coalesced_domains.fetch_sub(1, std::memory_order_relaxed);  // see there
}

std::shared_ptr<Coalescer> Coalescer::Find(uintptr_t address) {
  // Relaxed, both: see there.
  if (address < lowest.load(std::memory_order_relaxed) ||
      address >= highest.load(std::memory_order_relaxed)) {
    return nullptr;
  }
  absl::ReaderMutexLock lock(&coalescers_mu);
  for (const std::shared_ptr<Coalescer>& coalescer : Coalescers()) {
    if (coalescer->spaces_.Contains(address)) return coalescer;
  }
  return nullptr;
}

bool Coalescer::StoreSomewhere(Cell** field, Cell* next) {
  StoreLog* const log = this_threads_log;
  if (log != nullptr && log->TryStoreAgain(field, next)) [[likely]]
    return true;
  const uintptr_t address = reinterpret_cast<uintptr_t>(field);
  if (Coalescer* own = OfThisThread(address)) return own->StoreSlow(field, next, log);
  // A thread that has a Mutator can store to what another one has logged.
  const std::shared_ptr<Coalescer> coalescer = Find(address);
  return coalescer != nullptr && coalescer->StoreSlow(field, next, /*log=*/nullptr);
}

void Coalescer::DestroySomewhere(Cell** field) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(field);
  if (Coalescer* own = OfThisThread(address)) return own->DestroySlow(field);
  if (const std::shared_ptr<Coalescer> coalescer = Find(address)) coalescer->DestroySlow(field);
}

inline Coalescer* Coalescer::OfThisThread(uintptr_t address) {
  StoreLog* const log = this_threads_log;
  if (log == nullptr || !log->coalescer_.spaces_.Contains(address)) return nullptr;
  return &log->coalescer_;
}

void Coalescer::DestroySlow(Cell** field) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(field);
  if (spaces_.InNursery(address) || !spaces_.IsRemembered(address)) return;
  spaces_.Forget(address);
  // Relaxed: as of any Field.
  const std::atomic_ref<Cell*> slot(*field);
  if (!IsForeign(slot.load(std::memory_order_relaxed))) {
    slot.store(nullptr, std::memory_order_relaxed);
  }
}

bool Coalescer::StoreSlow(Cell** field, Cell* next, StoreLog* log) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(field);
  if (spaces_.InNursery(address)) return false;  // there are no bits
  const std::atomic_ref<Cell*> slot(*field);
  // Relaxed, as all of the Field: one thread at a time uses it.
  Cell* const before = slot.load(std::memory_order_relaxed);
  if (spaces_.IsRemembered(address)) {
    // inv.logged: what is another domain's is counted all the same.
    if (IsForeign(next)) {
      has_foreign_.store(true, std::memory_order_relaxed);  // see there
      next->RetainNamed();
    }
    slot.store(next, std::memory_order_relaxed);
    if (IsForeign(before)) before->Release();
    return true;
  }
  if (log == nullptr || !active_.load(std::memory_order_relaxed) ||  // see there
      IsForeign(before) || IsForeign(next) || log->size_ == StoreLog::kEntries) {
    return false;
  }
  log->entries_[log->size_++] = {field, before};
  spaces_.Remember(address);
  slot.store(next, std::memory_order_relaxed);  // as the load of `before`
  return true;
}

StoreLog& Coalescer::TakeLog() {
  absl::MutexLock lock(&mu_);
  const auto free = std::ranges::find(logs_, std::thread::id(), &StoreLog::thread_);
  StoreLog& log =
      free != logs_.end() ? **free : *logs_.emplace_back(std::make_unique<StoreLog>(*this));
  log.thread_ = std::this_thread::get_id();
  return log;
}

void Coalescer::GiveLog(StoreLog& log) {
  absl::MutexLock lock(&mu_);
  log.thread_ = {};
  if (!log.empty()) has_left_.store(true, std::memory_order_relaxed);  // a hint
}

absl::Status Coalescer::BeginEager(StoreLog& log) {
  {
    absl::MutexLock lock(&mu_);
    if (eager_phases_ > 0) {
      AddEager(log, 1);
      return absl::OkStatus();
    }
  }
  return heap_.RunInPause("the end of an epoch of ebb::rc::Stores::kCoalesced", [this, &log] {
    absl::MutexLock lock(&mu_);
    AddEager(log, 1);
  });
}

void Coalescer::EndEager(StoreLog& log) {
  absl::MutexLock lock(&mu_);
  AddEager(log, -1);
}

void Coalescer::AddEager(StoreLog& log, int phases) {
  log.eager_phases_ += phases;
  eager_phases_ += phases;
  active_.store(eager_phases_ == 0, std::memory_order_relaxed);  // see there
}

void Coalescer::AtPause() {
  absl::MutexLock lock(&mu_);
  CountLogged();
}

// All that is referred to is counted before anything is counted down: so that less seems to die.
// Nothing is destroyed here: what has no count waits, as Locals might name it.
void Coalescer::CountLogged() {
  for (const std::unique_ptr<StoreLog>& log : logs_) {
    for (size_t i = 0; i < log->size_; ++i) {
      StoreLog::Entry& entry = log->entries_[i];
      const uintptr_t address = reinterpret_cast<uintptr_t>(entry.field);
      if (!spaces_.Forget(address)) continue;  // it has been destroyed
      // Relaxed: in a pause.
      Cell* const now = std::atomic_ref<Cell*>(*entry.field).load(std::memory_order_relaxed);
      if (now == entry.before) {
        entry.before = nullptr;
      } else if (now != nullptr && !IsForeign(now)) {
        now->RetainNamed();
      }
    }
  }
  for (const std::unique_ptr<StoreLog>& log : logs_) {
    for (size_t i = 0; i < log->size_; ++i) {
      if (Cell* const before = log->entries_[i].before; before != nullptr) before->Release();
    }
    log->size_ = 0;
  }
  // Relaxed, both: in a pause, where no Field is logged any more; a hint.
  has_foreign_.store(false, std::memory_order_relaxed);
  has_left_.store(false, std::memory_order_relaxed);
}

// In the child, the logs of threads that are not there are for whoever ends the epoch; their phases
// have ended.
void Coalescer::AtFork(platform::ForkStep step) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (step == platform::ForkStep::kInChild) {
    has_left_.store(true, std::memory_order_relaxed);  // a hint
    for (const std::unique_ptr<StoreLog>& log : logs_) {
      if (log->thread_ != std::this_thread::get_id()) AddEager(*log, -log->eager_phases_);
    }
  }
  platform::LockAcrossFork(mu_, step);
}

void Coalescer::AllAtFork(platform::ForkStep step) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (step == platform::ForkStep::kBefore) platform::LockAcrossFork(coalescers_mu, step);
  for (const auto& coalescer : Coalescers()) coalescer->AtFork(step);
  if (step != platform::ForkStep::kBefore) platform::LockAcrossFork(coalescers_mu, step);
}

}  // namespace ebb::rc::internal
