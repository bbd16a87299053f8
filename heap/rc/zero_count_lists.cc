#include "heap/rc/zero_count_lists.h"

#include <algorithm>
#include <numeric>

#include "absl/types/span.h"
#include "heap/rc/owner_queues.h"

namespace ebb::rc::internal {

CellList ZeroCountLists::JudgeNew(int64_t cells) {
  CellList dead;
  Judge(0, std::min(cells, lists_[0].size()), dead);
  return dead;
}

void ZeroCountLists::BeginRound() {
  ++rounds_;
  for (size_t age = 1; age < kAges; ++age) {
    if (rounds_ % (uint64_t{1} << (kRoundsShift * age)) == 0) MakeDue(age);
  }
}

void ZeroCountLists::MakeAllDue() {
  for (size_t age = 1; age < kAges; ++age) MakeDue(age);
}

void ZeroCountLists::MakeNewDue() {
  due_[1] += lists_[0].size();
  lists_[1].PushAll(lists_[0]);
}

void ZeroCountLists::MakeDue(size_t age) {
  ready_ += lists_[age].size() - due_[age];
  due_[age] = lists_[age].size();
}

// The oldest first: what is named again goes to a list of which less is due than there is.
CellList ZeroCountLists::JudgeDue(int64_t cells) {
  CellList dead;
  for (size_t age = kAges - 1; age > 0 && cells > 0; --age) {
    const int64_t some = std::min(cells, due_[age]);
    due_[age] -= some;
    cells -= some;
    Judge(age, some, dead);
  }
  return dead;
}

void ZeroCountLists::Judge(size_t age, int64_t cells, CellList& dead) {
  struct Candidate {
    Cell* cell;
    bool named;
  };
  std::array<Candidate, kAtOnce> room;  // undefined from the count on, as is the order
  std::array<uint16_t, kAtOnce> order;  // of their addresses
  while (cells > 0) {
    size_t count = 0;
    for (; cells > 0 && count < kAtOnce; --cells) {
      Cell& cell = lists_[age].Pop();
      --size_;
      --ready_;
      // A new one has been quiet since it died, or shows that it was not.
      if (age == 0) {
        cell.LeaveList();
      } else if (cell.BeginJudgement() == Cell::Verdict::kAlive) {
        continue;
      }
      room[count++] = {&cell, false};
    }
    const absl::Span<Candidate> candidates = absl::MakeSpan(room).first(count);
    const absl::Span<uint16_t> by_address = absl::MakeSpan(order).first(count);
    const auto address = [&](uint16_t i) { return candidates[i].cell; };
    std::iota(by_address.begin(), by_address.end(), uint16_t{0});
    std::ranges::sort(by_address, {}, address);
    OwnerQueues::Get().ForEachNamed([&](Cell* cell) {
      const auto found = std::ranges::lower_bound(by_address, cell, {}, address);
      if (found != by_address.end() && address(*found) == cell) candidates[*found].named = true;
    });
    CellList& next = lists_[std::min(age + 1, kAges - 1)];
    for (const Candidate& candidate : candidates) {
      Cell& cell = *candidate.cell;
      const Cell::Verdict verdict = candidate.named ? Cell::Verdict::kWaits : cell.EndJudgement();
      if (verdict == Cell::Verdict::kWaits) {
        next.Append(cell);
        ++size_;
      }
      if (verdict == Cell::Verdict::kDead) dead.Append(cell);
    }
  }
}

CellList ZeroCountLists::TakeAll() {
  CellList all;
  for (CellList& list : lists_) all.PushAll(list);
  size_ = 0;
  due_ = {};
  ready_ = 0;
  return all;
}

}  // namespace ebb::rc::internal
