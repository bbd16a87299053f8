#include "heap/rc/domain.h"

#include <algorithm>
#include <exception>
#include <optional>

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
  SetNextDetection();
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
  AddTo(of_departed_, tally);
  tallies_.erase(std::find(tallies_.begin(), tallies_.end(), &tally));
}

absl::StatusOr<Collection> DomainState::Detect(Mutator& mutator, absl::Duration patience,
                                               CellList& dead) {
  {
    // Another thread's detection passes safepoints.
    const Blocking blocking(mutator);
    detection_mu_.Lock();
  }
  CycleDetector detector(table_, mutator);
  const absl::Status status = detector.Run(patience, dead);
  SetNextDetection();
  detection_mu_.Unlock();
  if (!status.ok()) return status;
  const Collection& figures = detector.figures();
  absl::MutexLock lock(&mu_);
  ++of_departed_.collections;
  of_departed_.collected.visited += figures.visited;
  of_departed_.collected.suspects += figures.suspects;
  of_departed_.collected.collected += figures.collected;
  of_departed_.collected.time += figures.time;
  return figures;
}

bool DomainState::IsDetectionDue() const {
  return automatic() && table_.cells_in_use() > detect_at_.load(std::memory_order_relaxed);
}

void DomainState::SetNextDetection() {
  const int64_t now = table_.cells_in_use();
  const auto share = static_cast<int64_t>(static_cast<double>(now) * options_.detect_share);
  detect_at_.store(now + std::max(options_.detect_after, share), std::memory_order_relaxed);
}

DomainStats DomainState::stats() const {
  DomainStats stats;
  {
    absl::MutexLock lock(&mu_);
    stats = of_departed_;
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

absl::StatusOr<Collection> Domain::Collect(absl::Duration patience) {
  if (Owner* owner = Owner::Find(state_->table()); owner != nullptr) {
    return owner->Collect(patience);
  }
  try {
    std::optional<Mutator> attached;
    Mutator* mutator = Mutator::Current(state_->heap());
    if (mutator == nullptr) mutator = &attached.emplace(state_->heap());
    return Owner(*this, *mutator).Collect(patience);
  } catch (const std::exception& error) {
    return absl::FailedPreconditionError(
        absl::StrCat("ebb::rc::Domain::Collect: this thread cannot attach: ", error.what()));
  }
}

void Domain::Enable() { state_->set_automatic(true); }
void Domain::Disable() { state_->set_automatic(false); }
bool Domain::IsEnabled() const { return state_->automatic(); }

}  // namespace ebb::rc
