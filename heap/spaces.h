// Spaces: the memory of one heap. Design: docs/design/heap.md#spaces

#ifndef EBB_HEAP_SPACES_H_
#define EBB_HEAP_SPACES_H_

#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "copyspace/copy_space.h"
#include "copyspace/geometry.h"
#include "copyspace/ledger.h"
#include "heap/large_space.h"
#include "heap/options.h"
#include "heap/pinned_space.h"
#include "platform/address_range.h"
#include "platform/fork.h"
#include "platform/system.h"

namespace ebb::internal {

// One reservation, cut into three ranges: the copy space (moving objects), the pinned space and the
// large space (objects marked in place); and the ledger that all three debit.
class Spaces {
 public:
  // `options` are validated and resolved (no zeros that stand for a default).
  static absl::StatusOr<std::unique_ptr<Spaces>> Create(platform::System& system,
                                                        const Options& options);
  ~Spaces();
  Spaces(const Spaces&) = delete;
  Spaces& operator=(const Spaces&) = delete;

  platform::System& system() { return system_; }
  copyspace::Ledger& ledger() { return ledger_; }
  copyspace::CopySpace& copy() { return *copy_; }
  PinnedSpace& pinned() { return *pinned_; }
  LargeSpace& large() { return *large_; }
  bool Contains(uintptr_t address) const { return range_.Contains(address); }

  // What mutators may not use, so that a cycle can move objects.
  platform::Bytes overdraft() const { return overdraft_; }

  // An object that is marked in place, of either space.
  bool TryMarkInPlace(copyspace::Reference object) {
    return pinned_->Contains(object) ? pinned_->TryMark(object) : large_->TryMark(object);
  }
  // Visits every object marked in place in this cycle.
  void ForEachMarkedInPlace(absl::FunctionRef<void(copyspace::Reference)> visit) const;
  // Gives the pages of swept pinned and large objects back to the system.
  absl::Status ReleaseSwept();

  // Bytes of objects, headers included; exact whenever no allocator is open.
  platform::Bytes object_bytes() const;
  // What allocations in place leave free in the ledger: evacuation needs it.
  platform::Bytes keep_free() const { return overdraft() + copy_->kept_in_ledger(); }
  absl::Status CheckInvariants() const;

  // Around a fork, as of the spaces.
  void AtFork(platform::ForkStep step);

 private:
  Spaces(platform::System& system, platform::AddressRange range, platform::Bytes limit,
         platform::Bytes overdraft);

  platform::System& system_;
  const platform::AddressRange range_;
  const platform::Bytes overdraft_;
  copyspace::Ledger ledger_;
  std::unique_ptr<copyspace::CopySpace> copy_;
  std::unique_ptr<PinnedSpace> pinned_;
  std::unique_ptr<LargeSpace> large_;
};

}  // namespace ebb::internal

#endif  // EBB_HEAP_SPACES_H_
