#include "heap/balance.h"

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"

namespace ebb::internal {

using platform::Bytes;

void Balance::NoteFreed() {
  // Relaxed: see the class.
  freed_.store(FreedNow().count(), std::memory_order_relaxed);
}

Bytes Balance::FreedNow() const {
  return Load(left_) - Load(evacuated_) + spaces_.pinned().freed_bytes() +
         spaces_.large().freed_bytes();
}

Bytes Balance::allocated_bytes() const {
  return Load(allocated_) + spaces_.pinned().allocated_bytes() + spaces_.large().allocated_bytes();
}

Bytes Balance::Astray() const { return allocated_bytes() - spaces_.object_bytes() - FreedNow(); }

absl::Status Balance::Check(const copyspace::MutatorsStopped&) const {
  const Bytes astray = Astray();
  if (astray == Bytes(0)) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(
      "the heap's counters are at odds, by a bug of Ebb's: ", allocated_bytes().count(),
      " bytes were allocated, ", spaces_.object_bytes().count(), " are there, and ",
      FreedNow().count(), " were freed (", Load(left_).count(), " left behind by flips, ",
      Load(evacuated_).count(), " of them evacuated), so ", astray.count(), " are astray"));
}

void Balance::CheckAtCycle(const copyspace::MutatorsStopped& stopped) {
  const Bytes astray = Astray();
  if (astray == last_astray_) return;
  last_astray_ = astray;
  if (astray == Bytes(0)) return;
  faults_.fetch_add(1, std::memory_order_relaxed);  // see the class
  LOG(DFATAL) << Check(stopped);
}

}  // namespace ebb::internal
