#include "heap/trace.h"

#include <algorithm>

#include "heap/region_walk.h"
#include "heap/tracer.h"

namespace ebb::internal {

using copyspace::Reference;

Trace::Trace(Spaces& spaces, background::WorkerPool& pool, const Options& options)
    : spaces_(spaces),
      pool_(pool),
      options_(options),
      owners_(spaces.copy().range()),
      rules_(options.fail_evacuation),
      freezer_(spaces),
      stock_(spaces.ledger(), /*enabled=*/options.worklist_capacity == 0) {
  for (int i = 0; i < options.workers + options.assistants; ++i) {
    tracers_.push_back(std::make_unique<Tracer>(*this, i));
  }
  absl::MutexLock lock(&assistants_mu_);
  for (int i = 0; i < options.assistants; ++i) {
    idle_assistants_.push_back(tracers_[static_cast<size_t>(options.workers + i)].get());
  }
}

Trace::~Trace() = default;

platform::Bytes Trace::memory() const {
  platform::Bytes sum = owners_.memory() + platform::Bytes(int64_t{sizeof(Trace)});
  for (const auto& tracer : tracers_) sum += tracer->memory();
  return sum;
}

bool Trace::MayRecruit() const {
  return options_.workers > 1 && job_ != nullptr && !job_->recruited() && !rules_.in_part();
}

void Trace::Recruit() {
  owners_.Reset(spaces_.copy().committed());
  job_->Recruit();
}

bool Trace::AnyWorkToShare() const {
  return !stock_.empty_hint() ||
         std::any_of(tracers_.begin(), tracers_.end(),
                     [](const auto& tracer) { return !tracer->deque().EmptyHint(); });
}

void Trace::ForwardRoots(Tracer& tracer, VisitRoots visit_roots) {
  const auto forward = [&tracer](std::atomic<uintptr_t>& slot) { tracer.ForwardRoot(slot); };
  for (;;) {
    // Relaxed: see next_root_share_.
    const size_t share = next_root_share_.fetch_add(1, std::memory_order_relaxed);
    if (share >= root_shares_) break;
    visit_roots(share, forward);
  }
}

TraceCounts Trace::Run(size_t root_shares, VisitRoots visit_roots) {
  root_shares_ = root_shares;
  next_root_share_.store(0, std::memory_order_relaxed);  // before any helper starts
  rescan_.store(false, std::memory_order_relaxed);
  termination_.Reset(1);
  Tracer& leader = *tracers_[0];
  background::WorkerPool::Job job(pool_, options_.workers - 1, [&](int worker) {
    if (!termination_.Enter()) return;
    Tracer& tracer = *tracers_[static_cast<size_t>(worker)];
    ForwardRoots(tracer, visit_roots);
    tracer.DrainOwned();
  });
  job_ = &job;
  // A share is a mutator, or some hundred slots: many of them are worth help at once.
  constexpr size_t kSharesAlone = 16;
  if (root_shares > kSharesAlone && MayRecruit()) Recruit();
  ForwardRoots(leader, visit_roots);
  while (!job.recruited() && !leader.DrainAlone()) {
    if (MayRecruit()) Recruit();
  }
  if (job.recruited()) leader.DrainOwned();
  job.Join();
  RescanInPlace(leader);
  job_ = nullptr;
  return Finish();
}

TraceCounts Trace::Finish() {
  {
    absl::MutexLock lock(&assistants_mu_);
    assistants_welcome_ = false;
    const auto all_idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(assistants_mu_) {
      return idle_assistants_.size() == static_cast<size_t>(options_.assistants);
    };
    assistants_mu_.Await(absl::Condition(&all_idle));
  }
  assistant_idle_.store(false, std::memory_order_relaxed);  // a hint
  TraceCounts counts;
  for (const auto& tracer : tracers_) counts += tracer->Finish();
  stock_.Clear();
  return counts;
}

void Trace::BeginBesideMutators() {
  rescan_.store(false, std::memory_order_relaxed);  // before any helper starts
  greys_.ClearOverflow();
  scanned_in_place_.store(0, std::memory_order_relaxed);
  absl::MutexLock lock(&assistants_mu_);
  assistants_welcome_ = true;
}

bool Trace::SeekWork() {
  if (options_.assistants == 0) return false;
  if (!idle()) return true;
  WantWorkToShare();
  return false;
}

// What it leaves behind is in its deque, from which others steal, or with greys_. The caller counts
// as having found grey before it begins (MutatorForwarder::NoteAssist), so the trace does not end
// while it holds anything.
bool Trace::Assist(platform::Bytes most, int64_t deadline) {
  Tracer* tracer = nullptr;
  {
    absl::MutexLock lock(&assistants_mu_);
    if (!assistants_welcome_ || idle_assistants_.empty()) return false;
    tracer = idle_assistants_.back();
    idle_assistants_.pop_back();
  }
  assisting_.fetch_add(1, std::memory_order_relaxed);  // here and below: a hint, see assisted
  tracer->Assist(most, deadline);
  assisting_.fetch_sub(1, std::memory_order_relaxed);
  absl::MutexLock lock(&assistants_mu_);
  idle_assistants_.push_back(tracer);
  return true;
}

void Trace::ForwardRoot(std::atomic<uintptr_t>& slot) { tracers_[0]->ForwardRootShared(slot); }

void Trace::Drain() {
  assistant_idle_.store(false, std::memory_order_relaxed);  // a hint
  termination_.Reset(1);
  background::WorkerPool::Job job(pool_, options_.concurrent_workers - 1, [this](int worker) {
    if (termination_.Enter()) tracers_[static_cast<size_t>(worker)]->DrainShared();
  });
  if (options_.concurrent_workers > 1) job.Recruit();
  tracers_[0]->DrainShared();
  job.Join();
}

bool Trace::must_rescan() const {
  // Relaxed: the helpers have been joined.
  return rescan_.load(std::memory_order_relaxed) || greys_.overflowed();
}

void Trace::DrainInPause() {
  Tracer& leader = *tracers_[0];
  // What is in the deques, assistants may have left there.
  while (leader.TakeShared() || leader.StealSome()) {
    while (!leader.DrainAlone()) {
    }
  }
  // Relaxed: mutators are stopped.
  if (greys_.overflowed()) rescan_.store(true, std::memory_order_relaxed);
  greys_.ClearOverflow();
  RescanInPlace(leader);
}

// Objects that were marked or retained where they are, and found no room on a worklist, are known
// only by their marks: scan all such objects again until no overflow happens. Each round that
// overflows has marked or retained an object for the first time, so the rounds end.
void Trace::RescanInPlace(Tracer& tracer) {
  // Relaxed: the helpers have been joined.
  while (rescan_.exchange(false, std::memory_order_relaxed)) {
    // To visit what is marked takes the locks that allocating there does.
    freezer_.Stop();
    const auto rescan = [&](Reference object) {
      tracer.Rescan(object);
      while (!tracer.DrainAlone()) {  // helpers cannot be recruited any more
      }
    };
    spaces_.ForEachMarkedInPlace(rescan);
    ForEachRetained(spaces_.copy(), rescan);
  }
}

}  // namespace ebb::internal
