#include "heap/rc/domain.h"

#include <algorithm>
#include <exception>

#include "absl/log/log.h"
#include "heap/mutator.h"
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

}  // namespace ebb::rc
