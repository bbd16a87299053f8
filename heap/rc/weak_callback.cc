#include "heap/rc/weak_callback.h"

#include "heap/rc/cell_table.h"
#include "heap/rc/owner.h"

namespace ebb::rc {

void WeakCallback::Register(internal::Cell& cell, absl::AnyInvocable<void() &&> function) {
  callback_ = std::make_shared<internal::Callback>(cell, std::move(function));
  cell.chunk().table->callbacks().Add(callback_);
}

void WeakCallback::Cancel() {
  if (!callback_->Take()) return;
  callback_->call = nullptr;
  internal::Cell& cell = callback_->cell;
  cell.chunk().table->callbacks().Remove(*callback_);
  if (cell.ReleaseWeak()) Owner::Free(cell);
}

}  // namespace ebb::rc
