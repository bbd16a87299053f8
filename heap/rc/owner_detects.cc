// Owner: detections of cycles, and what takes turns with them.

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/functional/function_ref.h"
#include "absl/log/log.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "heap/rc/cycle_detector.h"
#include "heap/rc/owner.h"

namespace ebb::rc {

using internal::Cell;
using internal::CycleDetector;

namespace {

// How long an automatic detection waits for threads that own suspects.
constexpr absl::Duration kPatienceOfAutomatic = absl::Milliseconds(1);
// How long Collect waits for its turn before it looks whether somebody waits for it.
constexpr absl::Duration kWaitForTurn = absl::Microseconds(200);
// So many are destroyed between two safepoints, where there may be safepoints.
constexpr int64_t kDestroyedBetweenSafepoints = 256;

}  // namespace

// Whoever is at it already does it for all.
void Owner::DetectIfFree() {
  if (domain_->WakeDetectingThread() || !CheckMayDetect().ok()) return;
  const internal::DomainState::DetectionTurn turn(*domain_, absl::ZeroDuration());
  if (!turn.has_begun() || !domain_->IsDetectionDue()) return;
  const absl::Status status = DetectInTurn(kPatienceOfAutomatic, domain_->IsMixedDue()).status();
  if (!status.ok()) LOG_FIRST_N(WARNING, 10) << status;
}

absl::StatusOr<Detection> Owner::Collect(absl::Duration patience) {
  if (absl::Status status = CheckMayDetect(); !status.ok()) return status;
  const EagerPhase phase(*this);
  if (!phase.status().ok()) return phase.status();
  Step();  // what waits to be destroyed may refer to something
  absl::StatusOr<Detection> detection;
  AwaitTurn([&] { detection = DetectInTurn(patience, /*mixed=*/true); });
  CallWhatIsDue(INT64_MAX, [] { return false; });
  return detection;
}

void Owner::AwaitTurn(absl::FunctionRef<void()> f) {
  std::optional<internal::DomainState::DetectionTurn> turn;
  for (;;) {
    {
      const Blocking blocking(mutator_);
      turn.emplace(*domain_, kWaitForTurn);
    }
    if (turn->has_begun()) return f();
    // The one that is at it may wait for this thread; so may a pause of another heap.
    Step(/*objects=*/0);
    Mutator::SafepointOfThread();
  }
}

absl::Status Owner::Ask(const char* what, absl::FunctionRef<absl::Status()> question) {
  if (absl::Status status = mutator_.CheckMayStop(what); !status.ok()) return status;
  const internal::DomainState* turn = internal::DomainState::DetectionTurn::OfThisThread();
  if (turn == domain_.get()) return WithExactCounts(question);
  if (turn != nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        what, " by what another domain's detection or question calls: call it outside"));
  }
  absl::Status status;
  AwaitTurn([&] { status = WithExactCounts(question); });
  return status;
}

absl::Status Owner::WithExactCounts(absl::FunctionRef<absl::Status()> act) {
  const EagerPhase phase(*this);
  return phase.status().ok() ? act() : phase.status();
}

absl::StatusOr<int64_t> Owner::TrimCells() {
  constexpr char kWhat[] = "ebb::rc::Domain::TrimCells";
  if (absl::Status status = CheckMayDetect(kWhat); !status.ok()) return status;
  int64_t trimmed = 0;
  AwaitTurn([&] {
    table_.Give(free_.Take());
    GiveFreed();
    trimmed = table_.Trim(/*keep=*/0);
  });
  return trimmed;
}

absl::Status Owner::CheckMayDetect(const char* what) const {
  if (destroying_ || internal::DomainState::DetectionTurn::OfThisThread() != nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat(what,
                     " in the destructor of a counted object, or by what a detection, a "
                     "domain's thread or a question of Domain's calls: call it outside"));
  }
  return mutator_.CheckMayStop(what);
}

absl::StatusOr<Detection> Owner::DetectInTurn(absl::Duration patience, bool mixed) {
  const EagerPhase phase(*this);  // counts and Fields are to agree
  if (!phase.status().ok()) return phase.status();
  detecting_ = true;
  const absl::Cleanup end = [this] { detecting_ = false; };
  domain_->BeginDetection();
  CycleDetector detector(domain_->heap(), table_, domain_->holders(), mutator_, domain_->debug());
  absl::Status status = detector.Look(patience, mixed);
  int64_t waiting = 0;
  if (status.ok()) {
    const bool calls = detector.has_finalizable();
    // What is not destroyed yet could refer to what is set aside.
    waiting = DestroyFound(detector, /*lazily=*/lazy_ && !calls);
    if (calls) {
      for (Cell* cell : detector.TakeFinalizable()) CallFinalizer(*cell);
      // What there is no memory for is found the next time.
      detector.LookAgain(patience).IgnoreError();
      waiting = DestroyFound(detector, lazy_);
      for (Cell* cell : detector.TakeFinalizable()) CallFinalizer(*cell);
      AddCalls(detector.TakeCallbacks());
    }
    const std::vector<Cell*> kept = detector.TakeKept();
    if (!domain_->AddGarbage(kept)) {
      for (Cell* cell : kept) cell->Release();  // to be found again
    }
  }
  absl::StatusOr<Detection> detection = detector.figures();
  if (!status.ok()) detection = status;
  GiveFreed();
  domain_->EndDetection(detection, waiting, mixed);
  table_.Trim(domain_->CellsUntilDetection());
  return detection;
}

int64_t Owner::DestroyFound(CycleDetector& detector, bool lazily) {
  const int64_t others = dead_.size();
  AddDead(detector.TakeDead());
  if (lazily) return dead_.size() - others;
  while (dead_.size() > others) {
    DestroyDead(others, kDestroyedBetweenSafepoints, /*judges=*/true);
    Mutator::SafepointOfThread();
  }
  return 0;
}

}  // namespace ebb::rc
