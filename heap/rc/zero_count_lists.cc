#include "heap/rc/zero_count_lists.h"

#include <algorithm>
#include <utility>

#include "absl/types/span.h"
#include "heap/rc/owner_queues.h"

namespace ebb::rc::internal {

bool ZeroCountLists::empty() const {
  return std::ranges::all_of(lists_, [](const CellList& list) { return list.empty(); });
}

CellList ZeroCountLists::Round(int64_t cells, bool all) {
  CellList dead;
  ++rounds_;
  // The oldest first: what is named again goes to a list that has been looked at.
  for (size_t age = kAges; age-- > 0;) {
    const uint64_t period = uint64_t{1} << (kRoundsShift * age);
    if (all || rounds_ % period == 0) Judge(age, cells, dead);
  }
  return dead;
}

CellList ZeroCountLists::RoundOfNew(int64_t cells) {
  CellList dead;
  Judge(0, cells, dead);
  return dead;
}

void ZeroCountLists::Judge(size_t age, int64_t& cells, CellList& dead) {
  CellList& list = lists_[age];
  CellList& next = lists_[std::min(age + 1, kAges - 1)];
  int64_t left = std::min(cells, list.size());
  cells -= left;
  std::array<Candidate, kAtOnce> room;
  while (left > 0) {
    size_t count = 0;
    for (; left > 0 && count < kAtOnce; --left) {
      Cell& cell = list.Pop();
      if (cell.BeginJudgement() == Cell::Verdict::kWaits) room[count++] = {&cell, false};
    }
    const absl::Span<Candidate> candidates = absl::MakeSpan(room).first(count);
    std::ranges::sort(candidates, {}, &Candidate::cell);
    OwnerQueues::Get().ForEachNamed([&](Cell* cell) {
      const auto found = std::ranges::lower_bound(candidates, cell, {}, &Candidate::cell);
      if (found != candidates.end() && found->cell == cell) found->named = true;
    });
    for (const Candidate& candidate : candidates) {
      Cell& cell = *candidate.cell;
      const Cell::Verdict verdict = candidate.named ? Cell::Verdict::kWaits : cell.EndJudgement();
      if (verdict == Cell::Verdict::kWaits) next.Append(cell);
      if (verdict == Cell::Verdict::kDead) dead.Append(cell);
    }
  }
}

CellList ZeroCountLists::TakeAll() {
  CellList all;
  for (CellList& list : lists_) all.PushAll(list);
  return all;
}

}  // namespace ebb::rc::internal
