#include "heap/rc/callback_table.h"

namespace ebb::rc::internal {

void CallbackList::PushFront(std::shared_ptr<Callback> callback) {
  if (empty()) last_ = callback.get();
  callback->next = std::move(first_);
  first_ = std::move(callback);
  ++size_;
}

void CallbackList::Append(CallbackList list) {
  if (list.empty()) return;
  (empty() ? first_ : last_->next) = std::move(list.first_);
  last_ = list.last_;
  size_ += std::exchange(list.size_, 0);
}

std::shared_ptr<Callback> CallbackList::Pop() {
  std::shared_ptr<Callback> callback = std::move(first_);
  first_ = std::move(callback->next);
  --size_;
  return callback;
}

void CallbackList::Remove(const Callback& callback) {
  Callback* before = nullptr;
  std::shared_ptr<Callback>* link = &first_;
  while (*link != nullptr && link->get() != &callback) {
    before = link->get();
    link = &before->next;
  }
  if (*link == nullptr) return;
  if (last_ == &callback) last_ = before;
  *link = std::move((*link)->next);
  --size_;
}

void CallbackTable::Add(std::shared_ptr<Callback> callback) {
  Cell& cell = callback->cell;
  absl::MutexLock lock(&mu_);
  of_cell_[&cell].PushFront(std::move(callback));
  cell.RetainWeak();
  NoteSize();
}

void CallbackTable::Remove(const Callback& callback) {
  absl::MutexLock lock(&mu_);
  const auto list = of_cell_.find(&callback.cell);
  if (list == of_cell_.end()) return;
  list->second.Remove(callback);
  if (list->second.empty()) of_cell_.erase(list);
  NoteSize();
}

CallbackList CallbackTable::TakeOf(Cell& cell) {
  absl::MutexLock lock(&mu_);
  const auto list = of_cell_.find(&cell);
  if (list == of_cell_.end()) return {};
  CallbackList taken = std::move(list->second);
  of_cell_.erase(list);
  NoteSize();
  return taken;
}

void CallbackTable::NoteSize() {
  // Relaxed: see empty().
  size_.store(static_cast<int64_t>(of_cell_.size()), std::memory_order_relaxed);
}

}  // namespace ebb::rc::internal
