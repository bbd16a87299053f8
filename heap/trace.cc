#include "heap/trace.h"

#include <algorithm>

#include "heap/region_walk.h"
#include "heap/tracer.h"

namespace ebb::internal {

using copyspace::Reference;

Trace::Trace(Spaces& spaces, background::WorkerPool& pool, const Options& options)
    : spaces_(spaces), pool_(pool), options_(options), owners_(spaces.copy().range()) {
  for (int i = 0; i < options.workers; ++i) tracers_.push_back(std::make_unique<Tracer>(*this, i));
}

Trace::~Trace() = default;

platform::Bytes Trace::memory() const {
  platform::Bytes sum = owners_.memory();
  for (const auto& tracer : tracers_) sum += tracer->memory();
  return sum;
}

bool Trace::MayRecruit() const { return options_.workers > 1 && !job_->recruited(); }

void Trace::Recruit() {
  owners_.Reset(spaces_.copy().committed());
  job_->Recruit();
}

bool Trace::AnyDequeHasWork() const {
  return std::any_of(tracers_.begin(), tracers_.end(),
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
    tracer.DrainShared();
  });
  job_ = &job;
  // A share is a mutator, or some hundred slots: many of them are worth help at once.
  constexpr size_t kSharesAlone = 16;
  if (root_shares > kSharesAlone && MayRecruit()) Recruit();
  ForwardRoots(leader, visit_roots);
  if (!job.recruited() && !leader.DrainAlone()) Recruit();
  if (job.recruited()) leader.DrainShared();
  job.Join();
  RescanInPlace(leader);
  job_ = nullptr;
  TraceCounts counts;
  for (const auto& tracer : tracers_) counts += tracer->Finish();
  return counts;
}

// Objects that were marked or retained where they are, and found no room on a worklist, are known
// only by their marks: scan all such objects again until no overflow happens. Each round that
// overflows has marked or retained an object for the first time, so the rounds end.
void Trace::RescanInPlace(Tracer& tracer) {
  // Relaxed: the helpers have been joined.
  while (rescan_.exchange(false, std::memory_order_relaxed)) {
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
