#include "heap/rc/domain.h"

#include <algorithm>
#include <exception>
#include <new>
#include <optional>

#include "absl/log/check.h"
#include "absl/log/log.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "heap/mutator.h"
#include "heap/rc/cycle_detector.h"
#include "heap/rc/domain_state.h"
#include "heap/rc/owner.h"
#include "heap/rc/owner_queues.h"

namespace ebb::rc {

namespace internal {

namespace {

void AddTo(DomainStats& stats, const Tally& tally) {
  // Relaxed: see Tally.
  stats.made += tally.made.load(std::memory_order_relaxed);
  stats.destroyed += tally.destroyed.load(std::memory_order_relaxed);
}

}  // namespace

DomainState::DomainState(Heap& heap, const DomainOptions& options)
    : heap_(heap),
      options_(options),
      table_(*CellTable::New(heap)),
      automatic_(options.detect == Detect::kAutomatic) {
  SetNextDetection(/*dead=*/0);
}

DomainState::~DomainState() {
  const int64_t named = table_.Close();
  if (named > 0) {
    LOG(WARNING) << "an ebb::rc::Domain goes while " << named
                 << " of its objects are immortal or referred to: by an rc::Ptr or rc::Weak that "
                    "outlives it, or by each other, in cycles. Their destructors do not run";
  }
}

void DomainState::Add(const Tally& tally) {
  absl::MutexLock lock(&mu_);
  tallies_.push_back(&tally);
}

void DomainState::Remove(const Tally& tally) {
  absl::MutexLock lock(&mu_);
  AddTo(totals_, tally);
  tallies_.erase(std::find(tallies_.begin(), tallies_.end(), &tally));
}

DomainState::DetectionTurn::DetectionTurn(DomainState& domain, absl::Duration timeout)
    : domain_(domain) {
  absl::MutexLock lock(&domain_.mu_);
  const auto is_free = [](bool* detecting) { return !*detecting; };
  has_begun_ =
      domain_.mu_.AwaitWithTimeout(absl::Condition(+is_free, &domain_.detecting_), timeout);
  if (has_begun_) domain_.detecting_ = true;
}

DomainState::DetectionTurn::~DetectionTurn() {
  if (!has_begun_) return;
  absl::MutexLock lock(&domain_.mu_);
  domain_.detecting_ = false;
}

absl::StatusOr<Detection> DomainState::DetectCycles(const DetectionTurn& turn, Mutator& mutator,
                                                    absl::Duration patience, CellList& dead) {
  DCHECK(turn.has_begun());
  CycleDetector detector(table_, mutator);
  if (absl::Status status = detector.Run(patience, dead); !status.ok()) return status;
  SetNextDetection(dead.size());
  const Detection& figures = detector.figures();
  absl::MutexLock lock(&mu_);
  ++totals_.detections;
  totals_.detected.visited += figures.visited;
  totals_.detected.suspects += figures.suspects;
  totals_.detected.collected += figures.collected;
  totals_.detected.time += figures.time;
  return figures;
}

bool DomainState::IsDetectionDue() const {
  // Relaxed: see detect_at_.
  return automatic() && table_.cells_in_use() > detect_at_.load(std::memory_order_relaxed);
}

void DomainState::SetNextDetection(int64_t dead) {
  const int64_t now = table_.cells_in_use() - dead;
  const auto share = static_cast<int64_t>(static_cast<double>(now) * options_.detect_share);
  // Relaxed: see detect_at_.
  detect_at_.store(now + std::max(options_.detect_after, share), std::memory_order_relaxed);
}

DomainStats DomainState::stats() const {
  DomainStats stats;
  {
    absl::MutexLock lock(&mu_);
    stats = totals_;
    for (const Tally* tally : tallies_) AddTo(stats, *tally);
  }
  stats.cells = table_.cells();
  return stats;
}

}  // namespace internal

Domain::Domain(Heap& heap, const DomainOptions& options)
    : state_(std::make_shared<internal::DomainState>(heap, options)) {}

Domain::~Domain() {
  internal::OwnerQueues::Get().Drain(&Owner::Died);  // of this thread's, some may be orphans here
  if (!state_->table().has_orphans()) return;
  // What died on threads without an Owner, and nobody took over since.
  try {
    Mutator mutator(state_->heap());
    Owner owner(*this, mutator);
  } catch (const std::exception& error) {
    LOG(ERROR) << "destructors of an ebb::rc::Domain's objects do not run: " << error.what();
  }
}

DomainStats Domain::stats() const { return state_->stats(); }

absl::StatusOr<Detection> Domain::Collect(absl::Duration patience) {
  Owner* owner = Owner::Find(state_->table());
  std::optional<Mutator> mutator;
  std::optional<Owner> attached;
  if (owner == nullptr) {
    try {
      Mutator* current = Mutator::Current(state_->heap());
      if (current == nullptr) current = &mutator.emplace(state_->heap());
      owner = &attached.emplace(*this, *current);
    } catch (const std::bad_alloc&) {
      return absl::ResourceExhaustedError("ebb::rc::Domain::Collect: no memory to attach a thread");
    } catch (const std::exception& error) {
      return absl::FailedPreconditionError(
          absl::StrCat("ebb::rc::Domain::Collect: this thread cannot attach: ", error.what()));
    }
  }
  return owner->Collect(patience);
}

void Domain::Enable() { state_->set_automatic(true); }
void Domain::Disable() { state_->set_automatic(false); }
bool Domain::IsEnabled() const { return state_->automatic(); }

}  // namespace ebb::rc
