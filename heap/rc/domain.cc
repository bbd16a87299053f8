#include "heap/rc/domain.h"

#include <algorithm>
#include <exception>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/base/const_init.h"
#include "absl/base/thread_annotations.h"
#include "absl/cleanup/cleanup.h"
#include "absl/log/check.h"
#include "absl/log/log.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "heap/fork_registry.h"
#include "heap/job_thread.h"
#include "heap/mutator.h"
#include "heap/rc/any_ptr.h"
#include "heap/rc/attached.h"
#include "heap/rc/domain_state.h"
#include "heap/rc/owner.h"
#include "heap/rc/owner_queues.h"
#include "heap/rc/survivors.h"
#include "platform/fork.h"

namespace ebb::rc {

namespace {

// How long a domain's thread waits for threads that own suspects.
constexpr absl::Duration kPatience = absl::Milliseconds(10);
// More cells than there can be, and twice as many are a number still.
constexpr int64_t kNeverSoMany = int64_t{1} << 61;

std::string_view NameOf(Called called) {
  switch (called) {
    case Called::kDestructor:
      return "the destructor";
    case Called::kFinalizer:
      return "the finalizer";
    case Called::kWeakCallback:
      return "a WeakCallback";
  }
  return "";
}

std::string WhatIsThrown() {
  try {
    throw;
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "something that is no std::exception";
  }
}

// f(), which calls the user's code.
template <typename F>
void Tell(F f) {
  try {
    f();
  } catch (...) {
    LOG(ERROR) << "an ebb::rc::Listener has thrown " << WhatIsThrown();
  }
}

std::string Describe(const Detection& detection) {
  return absl::StrCat(detection.visited, " objects visited, ", detection.suspects, " suspects, ",
                      detection.collected, " collected, ", detection.finalized, " finalized, ",
                      detection.kept, " kept as garbage, ", detection.holders,
                      " holders of any, in ", absl::FormatDuration(detection.time), ", of it ",
                      absl::FormatDuration(detection.pause), " in a pause");
}

void AddTo(DomainStats& stats, const internal::Tally& tally) {
  // Relaxed: see Tally.
  stats.made += tally.made.load(std::memory_order_relaxed);
  stats.destroyed += tally.destroyed.load(std::memory_order_relaxed);
  stats.finalized += tally.finalized.load(std::memory_order_relaxed);
}

absl::Status Check(const DetectionThresholds& thresholds) {
  if (thresholds.detect_after >= 0 && thresholds.detect_share >= 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "ebb::rc::Domain: detect_after '", thresholds.detect_after, "' and detect_share '",
      thresholds.detect_share,
      "': neither may be negative, nor the share no number; an infinite share means never"));
}

const DomainOptions& Checked(const DomainOptions& options) {
  absl::Status status = Check({options.detect_after, options.detect_share});
  if (!status.ok()) throw MisuseError(std::string(status.message()));
  return options;
}

}  // namespace

void Listener::OnException(Called called, std::string_view type) {
  LOG(ERROR) << NameOf(called) << " of a counted object" << (type.empty() ? "" : " ") << type
             << " has thrown: " << WhatIsThrown();
}

namespace internal {

namespace {

ABSL_CONST_INIT absl::Mutex domains_mu(absl::kConstInit);

// Never destroyed: domains may outlive main.
std::vector<DomainState*>& Domains() ABSL_EXCLUSIVE_LOCKS_REQUIRED(domains_mu) {
  static std::vector<DomainState*>& domains = *new std::vector<DomainState*>;
  return domains;
}

// All locks of counting, in this order.
void AtFork(platform::ForkStep step) {
  if (step == platform::ForkStep::kBefore) {
    DomainState::AllAtFork(step);
    Coalescer::AllAtFork(step);
    CellTable::AllAtFork(step);
    OwnerQueues::Get().AtFork(step);
  } else {
    OwnerQueues::Get().AtFork(step);
    CellTable::AllAtFork(step);
    Coalescer::AllAtFork(step);
    DomainState::AllAtFork(step);
  }
}

}  // namespace

DomainState::DomainState(Heap& heap, const DomainOptions& options)
    : heap_(heap),
      options_(options),
      table_(*CellTable::New(heap)),
      listener_(options.listener != nullptr ? *options.listener : default_listener_),
      thresholds_{options.detect_after, options.detect_share},
      automatic_(options.detect != Detect::kOnDemand) {
  SetNextDetection(/*dead=*/0, /*mixed=*/true);
  absl::Cleanup close = [this] {
    if (coalescer_ != nullptr) coalescer_->Close();
    holders_ = nullptr;
    table_.Close();
  };
  holders_ = std::make_unique<HolderTable>(heap, table_);
  if (options.stores == Stores::kCoalesced) {
    coalescer_ = Coalescer::New(heap, table_);
  }
  [[maybe_unused]] static const bool once = [] {
    ebb::internal::ForkRegistry::Get().AddHook(&internal::AtFork);
    return true;
  }();
  absl::MutexLock lock(&domains_mu);
  Domains().push_back(this);
  std::move(close).Cancel();
}

DomainState::~DomainState() {
  {
    absl::MutexLock lock(&domains_mu);
    std::erase(Domains(), this);
  }
  if (coalescer_ != nullptr) coalescer_->Close();  // which counts what is logged
  holders_ = nullptr;                              // and this what the dead have held
  const bool stats_wanted = debug().stats;
  const std::string report = stats_wanted || table_.cells_in_use() > 0 ? Report() : "";
  const int64_t named = table_.Close();
  if (named > 0) {
    LOG(WARNING) << "an ebb::rc::Domain goes while " << named
                 << " of its cells are in use: of objects that are immortal, referred to by what "
                    "outlives it, or by each other, in cycles, whose destructors do not run; or of "
                    "what only an rc::Weak names"
                 << report;
  } else if (stats_wanted) {
    LOG(INFO) << "an ebb::rc::Domain goes" << report;
  }
}

// Lines that follow a first one; none if there is no memory.
std::string DomainState::Report() {
  try {
    const DomainStats figures = stats();
    std::string report = absl::StrCat("\n  objects: ", figures.made, " made, ", figures.destroyed,
                                      " destroyed, ", figures.finalized, " finalized");
    if (figures.detections > 0) {
      absl::StrAppend(&report, "\n  ", figures.detections,
                      " detections of cycles: ", Describe(figures.detected));
    }
    const std::string survivors = DescribeSurvivors(heap_, table_);
    if (!survivors.empty()) absl::StrAppend(&report, "\n  still there: ", survivors);
    return report;
  } catch (const std::bad_alloc&) {
    return "";
  }
}

void DomainState::Add(const Tally& tally) {
  absl::MutexLock lock(&mu_);
  members_.push_back({&tally, std::this_thread::get_id()});
}

void DomainState::Remove(const Tally& tally) {
  absl::MutexLock lock(&mu_);
  AddTo(totals_, tally);
  std::erase_if(members_, [&](const Member& member) { return member.tally == &tally; });
}

constinit thread_local const DomainState* DomainState::DetectionTurn::of_this_thread = nullptr;

DomainState::DetectionTurn::DetectionTurn(DomainState& domain, absl::Duration timeout)
    : domain_(domain) {
  absl::MutexLock lock(&domain_.mu_);
  const auto is_free = [](bool* detecting) { return !*detecting; };
  has_begun_ =
      domain_.mu_.AwaitWithTimeout(absl::Condition(+is_free, &domain_.detecting_), timeout);
  if (!has_begun_) return;
  domain_.detecting_ = true;
  of_this_thread = &domain_;
}

DomainState::DetectionTurn::~DetectionTurn() {
  if (!has_begun_) return;
  of_this_thread = nullptr;
  absl::MutexLock lock(&domain_.mu_);
  domain_.detecting_ = false;
}

void DomainState::BeginDetection() {
  Tell([this] { listener_.OnDetectionStart(); });
}

void DomainState::EndDetection(const absl::StatusOr<Detection>& detection, int64_t dead,
                               bool mixed) {
  if (detection.ok()) {
    SetNextDetection(dead, mixed);
    absl::MutexLock lock(&mu_);
    ++totals_.detections;
    totals_.detected.visited += detection->visited;
    totals_.detected.suspects += detection->suspects;
    totals_.detected.collected += detection->collected;
    totals_.detected.finalized += detection->finalized;
    totals_.detected.kept += detection->kept;
    totals_.detected.holders += detection->holders;
    totals_.detected.time += detection->time;
    totals_.detected.pause += detection->pause;
  }
  if (debug().stats) {
    LOG(INFO) << "detection of cycles: "
              << (detection.ok() ? Describe(*detection) : detection.status().ToString());
  }
  Tell([&] { listener_.OnDetectionEnd(detection); });
}

void DomainState::set_detecting_thread(ebb::internal::JobThread* thread) {
  absl::MutexLock lock(&mu_);
  job_thread_ = thread;
}

bool DomainState::WakeDetectingThread() {
  absl::MutexLock lock(&mu_);
  if (job_thread_ == nullptr) return false;
  job_thread_->Request();
  return true;
}

void DomainState::AllAtFork(platform::ForkStep step) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (step == platform::ForkStep::kBefore) platform::LockAcrossFork(domains_mu, step);
  for (DomainState* domain : Domains()) domain->AtFork(step);
  if (step != platform::ForkStep::kBefore) platform::LockAcrossFork(domains_mu, step);
}

// In the child: of threads that are not there nothing is left but what they have done, and their
// turn is over.
void DomainState::AtFork(platform::ForkStep step) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (step == platform::ForkStep::kBefore) platform::LockAcrossFork(mu_, step);
  if (job_thread_ != nullptr) job_thread_->AtFork(step);
  holders_->AtFork(step);
  if (step == platform::ForkStep::kInChild) {
    const std::thread::id self = std::this_thread::get_id();
    for (const Member& member : members_) {
      if (member.thread != self) AddTo(totals_, *member.tally);
    }
    std::erase_if(members_, [self](const Member& member) { return member.thread != self; });
    detecting_ = DetectionTurn::OfThisThread() == this;
  }
  if (step != platform::ForkStep::kBefore) platform::LockAcrossFork(mu_, step);
}

DetectionDebug DomainState::debug() const {
  absl::MutexLock lock(&mu_);
  return debug_;
}

void DomainState::set_debug(const DetectionDebug& debug) {
  absl::MutexLock lock(&mu_);
  debug_ = debug;
}

bool DomainState::AddGarbage(const std::vector<Cell*>& cells) {
  absl::MutexLock lock(&mu_);
  try {
    garbage_.insert(garbage_.end(), cells.begin(), cells.end());
  } catch (const std::bad_alloc&) {
    return false;
  }
  return true;
}

std::vector<Cell*> DomainState::TakeGarbage() {
  absl::MutexLock lock(&mu_);
  return std::move(garbage_);
}

void DomainState::ReportException(Called called, std::string_view type) {
  Tell([&] { listener_.OnException(called, type); });
}

bool DomainState::IsDetectionDue() const {
  // Relaxed: see detect_at_.
  return automatic() && table_.cells_in_use() > detect_at_.load(std::memory_order_relaxed);
}

int64_t DomainState::CellsUntilDetection() const {
  // Relaxed: see detect_at_.
  return std::max<int64_t>(detect_at_.load(std::memory_order_relaxed) - table_.cells_in_use(), 0);
}

void DomainState::SetNextDetection(int64_t dead, bool mixed) {
  const int64_t now = table_.cells_in_use() - dead;
  absl::MutexLock lock(&mu_);
  in_use_after_last_ = std::max<int64_t>(now, 0);  // others take and give cells meanwhile
  if (mixed || in_use_after_last_ < in_use_after_mixed_) in_use_after_mixed_ = in_use_after_last_;
  UpdateDetectAt();
}

int64_t DomainState::MoreThan(int64_t in_use) const {
  const double share = static_cast<double>(in_use) * thresholds_.detect_share;
  // No number: an infinite share of nothing.
  const int64_t by_share =
      share < static_cast<double>(kNeverSoMany) ? static_cast<int64_t>(share) : kNeverSoMany;
  return std::max(std::min(thresholds_.detect_after, kNeverSoMany), by_share);
}

void DomainState::UpdateDetectAt() {
  // Relaxed: see detect_at_.
  detect_at_.store(in_use_after_last_ + MoreThan(in_use_after_last_), std::memory_order_relaxed);
}

bool DomainState::IsMixedDue() const {
  absl::MutexLock lock(&mu_);
  return in_use_after_last_ > in_use_after_mixed_ + MoreThan(in_use_after_mixed_);
}

absl::Status DomainState::SetThresholds(const DetectionThresholds& thresholds) {
  if (absl::Status status = Check(thresholds); !status.ok()) return status;
  absl::MutexLock lock(&mu_);
  thresholds_ = thresholds;
  UpdateDetectAt();
  return absl::OkStatus();
}

DetectionThresholds DomainState::thresholds() const {
  absl::MutexLock lock(&mu_);
  return thresholds_;
}

DomainStats DomainState::stats() const {
  DomainStats stats;
  {
    absl::MutexLock lock(&mu_);
    stats = totals_;
    for (const Member& member : members_) AddTo(stats, *member.tally);
  }
  stats.cells = table_.cells();
  return stats;
}

}  // namespace internal

Domain::Domain(Heap& heap, const DomainOptions& options)
    : state_(std::make_shared<internal::DomainState>(heap, Checked(options))) {
  if (options.detect != Detect::kBackground) return;
  auto thread = ebb::internal::JobThread::Create(heap.system(), "ebb-cycles", /*niceness=*/0,
                                                 [this] { DetectIfDue(); });
  if (!thread.ok()) {
    LOG(WARNING) << "an ebb::rc::Domain detects cycles as with Detect::kAutomatic: "
                 << thread.status();
    return;
  }
  detecting_thread_ = *std::move(thread);
  state_->set_detecting_thread(detecting_thread_.get());
}

// All in one turn: others' questions do not come between what it destroys and calls.
void Domain::DetectIfDue() {
  if (!state_->IsDetectionDue()) return;
  const internal::DomainState::DetectionTurn turn(*state_, absl::InfiniteDuration());
  internal::Attached attached(*this, "a domain's thread");
  absl::Status status = attached.status();
  if (status.ok()) {
    attached.owner().Step();  // as in Owner::Collect
    status = attached.owner().DetectInTurn(kPatience, state_->IsMixedDue()).status();
  }
  if (!status.ok()) LOG_FIRST_N(WARNING, 10) << status;
}

Domain::~Domain() {
  if (detecting_thread_ != nullptr) {
    CHECK(internal::DomainState::DetectionTurn::OfThisThread() != state_.get())
        << "an ebb::rc::Domain with Detect::kBackground is destroyed by what a detection of it "
           "calls: destroy it outside";
    state_->set_detecting_thread(nullptr);
    Mutator::ParkThread(/*except=*/nullptr);  // a detection passes safepoints
    detecting_thread_ = nullptr;
    Mutator::UnparkThread();
  }
  const std::vector<internal::Cell*> garbage = state_->TakeGarbage();
  LOG_IF(WARNING, !garbage.empty())
      << "an ebb::rc::Domain goes with " << garbage.size() << " objects in its list of garbage";
  for (internal::Cell* cell : garbage) cell->Release();
  internal::OwnerQueues::Get().Drain(&Owner::Died);  // of this thread's, some may be orphans here
  internal::Coalescer* const coalescer = state_->coalescer();
  if (!state_->table().has_orphans() && (coalescer == nullptr || !coalescer->has_left())) return;
  // What died on threads without an Owner, or by what was logged, and nobody took over since.
  try {
    Mutator mutator(state_->heap());
    Owner owner(*this, mutator);
  } catch (const std::exception& error) {
    LOG(ERROR) << "destructors of an ebb::rc::Domain's objects do not run: " << error.what();
  }
}

DomainStats Domain::stats() const { return state_->stats(); }

absl::StatusOr<Detection> Domain::Collect(absl::Duration patience) {
  internal::Attached attached(*this, "ebb::rc::Domain::Collect");
  if (!attached.status().ok()) return attached.status();
  return attached.owner().Collect(patience);
}

absl::StatusOr<int64_t> Domain::TrimCells() {
  internal::Attached attached(*this, "ebb::rc::Domain::TrimCells");
  if (!attached.status().ok()) return attached.status();
  return attached.owner().TrimCells();
}

void Domain::Enable() { state_->set_automatic(true); }
void Domain::Disable() { state_->set_automatic(false); }
bool Domain::IsEnabled() const { return state_->automatic(); }

absl::Status Domain::SetThresholds(int64_t detect_after, double detect_share) {
  return state_->SetThresholds({detect_after, detect_share});
}
DetectionThresholds Domain::Thresholds() const { return state_->thresholds(); }

}  // namespace ebb::rc
